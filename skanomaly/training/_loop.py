"""The training loop that every network of the package goes through."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import nn
from tqdm import tqdm

from ._device import autocast


def train(
    task: nn.Module,
    make_batch: Callable[[torch.Tensor], torch.Tensor],
    n_samples: int,
    *,
    max_epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    generator: torch.Generator,
    verbose: int = 0,
) -> list[dict[str, float]]:
    """Minimise the loss of `task` with AdamW and a cosine decay of the learning rate.

    Parameters
    ----------
    task : nn.Module
        Maps a batch to a dict of scalar tensors; ``"loss"`` is minimised, all are recorded.
    make_batch : callable
        Maps sample indices (a tensor on the generator's device) to the batch.
    n_samples : int
        Number of samples, at least 2. They are split evenly, so that no batch is much smaller
        than the others.
    max_epochs, batch_size, learning_rate, weight_decay : number
        The recipe.
    generator : torch.Generator
        Source of the order of the samples; its device is the one trained on.
    verbose : int
        1 shows one progress bar.

    Returns
    -------
    history : list of dict
        Per epoch the mean of every recorded scalar, and ``"seconds"``.

    Raises
    ------
    FloatingPointError
        If the loss is no longer finite.
    """
    device = generator.device
    # no batch of a single sample, which batch normalisation refuses
    n_batches = max(1, min(math.ceil(n_samples / batch_size), n_samples // 2))
    optimizer = torch.optim.AdamW(task.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, max_epochs * n_batches))
    history: list[dict[str, float]] = []
    task.train()
    with tqdm(total=max_epochs, desc="training", unit="epoch", disable=not verbose) as bar:
        for epoch in range(max_epochs):
            start = time.perf_counter()
            sums: dict[str, torch.Tensor] = {}
            order = torch.randperm(n_samples, generator=generator, device=device)
            for indices in order.tensor_split(n_batches):
                with autocast(device):
                    scalars = task(make_batch(indices))
                optimizer.zero_grad(set_to_none=True)
                scalars["loss"].backward()
                optimizer.step()
                schedule.step()
                for name, value in scalars.items():
                    share = value.detach() * (len(indices) / n_samples)
                    sums[name] = sums[name] + share if name in sums else share
            totals = {name: float(value) for name, value in sums.items()}
            if not math.isfinite(totals["loss"]):
                raise FloatingPointError(
                    f"the loss is {totals['loss']} in epoch {epoch + 1}: "
                    f"pass a learning_rate below {learning_rate:g}"
                )
            totals["seconds"] = time.perf_counter() - start
            history.append(totals)
            bar.set_postfix(
                loss=f"{totals['loss']:.4f}", samples=f"{n_samples / totals['seconds']:.0f}/s"
            )
            bar.update()
    task.eval()
    return history
