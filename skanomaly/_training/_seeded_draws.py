"""Random numbers of torch that depend on a seed alone, whatever other threads draw."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class SeededDraws(TorchDispatchMode):
    """A context in which all that this thread draws comes from generators of its own.

    It serves code that takes no generator, such as the initial weights of torch's layers, dropout
    and augmentations of other libraries. Torch's global generators, which all threads share, are
    neither used nor changed.

    Parameters
    ----------
    seed : int
        Of the generators, one for each device.

    Attributes
    ----------
    n_draws : int
        How often numbers were drawn.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed
        self.n_draws = 0
        self._generators: dict[str, torch.Generator] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        is_random = torch.Tag.nondeterministic_seeded in func.tags
        if not is_random or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        self.n_draws += 1
        if func is torch.ops.aten.native_dropout.default:  # takes no generator
            return self._drop_out(*args, **kwargs)
        overload = _with_generator(func)
        if overload is None:
            return func(*args, **kwargs)
        generator = self._generator(_device_of(args, kwargs))
        return overload(*args, **{**kwargs, "generator": generator})

    def state(self) -> dict[str, torch.Tensor]:
        """States of the generators, by the name of their device."""
        return {device: generator.get_state() for device, generator in self._generators.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a state; those of devices that are not here are left out."""
        for device, values in state.items():
            if device == "cpu" or torch.cuda.is_available():
                self._generator(torch.device(device)).set_state(values)

    def _generator(self, device: torch.device) -> torch.Generator:
        if str(device) not in self._generators:
            self._generators[str(device)] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[str(device)]

    def _drop_out(self, x: torch.Tensor, p: float, train: bool | None) -> Any:
        if train is False or p == 0:
            return x.clone(), torch.ones_like(x, dtype=torch.bool)
        kept = torch.empty_like(x).bernoulli_(1 - p, generator=self._generator(x.device))
        scale = 1 / (1 - p) if p < 1 else 0.0
        return x * kept * scale, kept.bool()


def _with_generator(func: Any) -> Any:
    """The overload of a random operation that takes a generator, if there is one."""
    if any(argument.name == "generator" for argument in func._schema.arguments):
        return func
    packet, name = func.overloadpacket, func._overloadname
    wanted = "generator" if name == "default" else f"{name}_generator"
    return getattr(packet, wanted) if wanted in packet.overloads() else None


def _device_of(args: tuple, kwargs: dict[str, Any]) -> torch.device:
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    tensors = (value for value in args if isinstance(value, torch.Tensor))
    return next((tensor.device for tensor in tensors), torch.device("cpu"))
