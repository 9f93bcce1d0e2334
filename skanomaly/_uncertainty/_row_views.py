"""Random views of rows of tables and of embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch

Views = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class RowViews:
    """Random views of rows, whose share of changed coordinates is uniform in [0, 1].

    Called as ``views(rows, generator)`` with rows of any leading shape.

    Parameters
    ----------
    kind : {"uniform", "marginal", "noise", "mask"}
        What a changed coordinate becomes: uniform between the bounds; the same coordinate of
        another row of the batch; itself plus standard normal noise; or 0, the mean of a
        standardised column.
    low, high : tensor
        Bounds, of a shape that fits the rows'.
    """

    def __init__(self, kind: str, low: torch.Tensor, high: torch.Tensor):
        self.kind = kind
        self.low = low
        self.high = high

    def __call__(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        def uniform(*shape):
            return torch.rand(shape, generator=generator, device=rows.device, dtype=rows.dtype)

        changed = uniform(*rows.shape) < uniform(*rows.shape[:-1], 1)
        if self.kind == "uniform":
            other = self.low + (self.high - self.low) * uniform(*rows.shape)
        elif self.kind == "marginal":
            donors = (uniform(*rows.shape) * len(rows)).long().clamp(max=len(rows) - 1)
            other = rows.gather(0, donors)
        elif self.kind == "noise":
            other = rows + torch.empty_like(rows).normal_(generator=generator)
        else:
            other = torch.zeros_like(rows)
        return torch.where(changed, other, rows)


ROW_VIEWS = ("uniform", "marginal", "noise", "mask")
