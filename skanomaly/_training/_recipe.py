"""How to train: numbers of epochs, optimizer, learning rate, precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda parameters, **options: torch.optim.SGD(
        parameters, momentum=0.9, nesterov=True, **options
    ),
}


@dataclass(frozen=True)
class Recipe:
    """How to train; the parameters of the same names in the estimators explain them."""

    max_epochs: int | None = 100
    max_time: float | None = None
    batch_size: int = 64
    accumulation_steps: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warmup: float = 0.0
    schedule: str = "cosine"
    precision: str = "auto"
    compile: bool = False

    def make_optimizer(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        # fused: one pass over the weights, on CPUs ten times as fast as the default
        return OPTIMIZERS[self.optimizer](
            parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )

    def learning_rate_at(self, progress: float, n_batches: int) -> float:
        """Learning rate of a step, when this share of the training is done.

        It rises linearly during the warm-up and then decays along a cosine, unless it is constant.
        """
        if progress < self.warmup:
            # the end of a step's share, so that the first step is not without effect
            total = (self.max_epochs or 0) * n_batches
            share = min(1.0, (progress + (1 / total if total else 0.0)) / self.warmup)
        elif self.schedule == "constant":
            share = 1.0
        else:
            decay = (progress - self.warmup) / (1 - self.warmup)
            share = (1 + math.cos(math.pi * decay)) / 2
        return self.learning_rate * share
