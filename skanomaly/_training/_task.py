"""What the loop trains."""

from __future__ import annotations

import torch
from torch import nn

from . import distributed


class Task(nn.Module):
    """What is trained: a network together with its loss."""

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """The samples, of a batch, that this process must read."""
        return index[distributed.share_of(len(index))]

    def n_terms(self, n: int) -> int:
        """Number of terms whose mean is the loss of a batch of n samples."""
        return n

    def prepare(self, samples: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
        """What ``forward`` gets of the samples that were read for a batch of n."""
        return samples

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """``"loss"``, the mean over this process's share of the terms, and others to record."""
        raise NotImplementedError

    def after_step(self, progress: float) -> None:
        """Called after each step of the optimizer with the share of the training that is done."""

    def summarise(self, means: dict[str, torch.Tensor]) -> dict[str, float]:
        """What ``history_`` keeps of the means over an epoch."""
        return {name: float(value) for name, value in means.items()}
