"""Training in several processes, as ``torchrun`` starts them, on torch's distributed engine.

Everything here also works in a single process, where it does nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def n_processes() -> int:
    return dist.get_world_size() if _is_running() else 1


def rank() -> int:
    return dist.get_rank() if _is_running() else 0


def local_rank() -> int:
    """Number of this process on its machine, and so of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


def join_processes(device: torch.device) -> None:
    """Connect with the other processes that ``torchrun`` started, if it did.

    The connection lasts until the program ends, since later fits need it too.
    """
    is_alone = int(os.environ.get("WORLD_SIZE", 1)) == 1
    if is_alone or _is_running() or not dist.is_torchelastic_launched():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # which nccl asks for
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")
    atexit.register(dist.destroy_process_group)


def share_of(n: int) -> slice:
    """The samples, of n in a batch, that this process works on."""
    bounds = [n * r // n_processes() for r in (rank(), rank() + 1)]
    return slice(*bounds)


def from_first_process(value: Any) -> Any:
    """The value that the first process has."""
    if n_processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def call_in_first_process(function: Callable[[], Any]) -> Any:
    """What the function returns, or raises, in the first process, which alone calls it."""
    if n_processes() == 1:
        return function()
    value = error = None
    if rank() == 0:
        try:
            value = function()
        except Exception as caught:
            error = caught
    value, error = from_first_process((value, error))
    if error is not None:
        raise error
    return value


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Sum of the processes' tensors; gradients flow back to each of them."""
    return _Sum.apply(x) if n_processes() > 1 else x


def standard_deviation(x: torch.Tensor) -> torch.Tensor:
    """Of each column of the rows of all processes."""
    n = sum_over_processes(torch.tensor(float(len(x)), device=x.device))
    mean = sum_over_processes(x.sum(dim=0)) / n
    return (sum_over_processes((x - mean).square().sum(dim=0)) / (n - 1)).sqrt()


def gather_rows(x: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Rows of all processes, one after another, and the position of this one's first row."""
    if n_processes() == 1:
        return x, 0
    counts = torch.zeros(n_processes(), dtype=torch.long, device=x.device)
    counts[rank()] = len(x)
    dist.all_reduce(counts)
    first = int(counts[: rank()].sum())
    rows = nn.functional.pad(x, (0, 0, first, int(counts.sum()) - first - len(x)))
    return sum_over_processes(rows), first


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """A copy with batch normalisation over all processes instead of each one's samples.

    In a single process it is the module itself.
    """
    if n_processes() == 1:
        return module
    module = copy.deepcopy(module)
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        if type(layer) not in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            raise TypeError(
                f"{type(layer).__name__} of the backbone cannot be synchronised between processes; "
                "train in one process, or replace it by torch's own batch normalisation"
            )
    if next(module.parameters()).device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for layer in layers:
        layer.__class__ = _SummingBatchNorm
    return module


def average_gradients(module: nn.Module) -> nn.Module:
    """The module whose backward pass averages gradients over the processes."""
    if n_processes() == 1:
        return module
    # buffers are equal already, since batch normalisation is synchronised
    return nn.parallel.DistributedDataParallel(
        module, broadcast_buffers=False, find_unused_parameters=True
    )


def no_averaging(module: nn.Module, *, unless: bool) -> contextlib.AbstractContextManager:
    """Keep the gradients of this process, for a later backward pass that averages them."""
    if unless or not isinstance(module, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return module.no_sync()


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


class _SummingBatchNorm(_BatchNorm):
    """Batch normalisation over all processes, on devices for which torch has none (CPUs)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        n = sum_over_processes(torch.tensor(float(x.numel() // x.shape[1]), device=x.device))
        mean = sum_over_processes(values.sum(dims)) / n
        centered = values - mean.view(shape)
        variance = sum_over_processes(centered.square().sum(dims)) / n
        self._track(mean.detach(), variance.detach() * n / (n - 1))
        normalised = centered * (variance.view(shape) + self.eps).rsqrt()
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(x.dtype)

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass

    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


def _is_running() -> bool:
    return dist.is_available() and dist.is_initialized()
