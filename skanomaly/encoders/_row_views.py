"""Random views of rows of tables and of embeddings."""

from __future__ import annotations

from collections.abc import Callable

import torch

Views = Callable[[torch.Tensor, torch.Generator], torch.Tensor]

ROW_VIEWS = ("uniform", "marginal", "noise", "mask")


class ColumnCorruption:
    """Replace entries of a table by entries of the same column from other rows of the batch.

    These are the views of SCARF [1]_. Call ``corruption(rows, generator)`` with rows of shape
    (n, n_features).

    Parameters
    ----------
    rate : float, default=0.3
        Probability that an entry is replaced.

    See Also
    --------
    ImageAugmentation : Random views of images.

    References
    ----------
    .. [1] D. Bahri, H. Jiang, Y. Tay and D. Metzler, "SCARF: Self-Supervised Contrastive Learning
       using Random Feature Corruption", ICLR 2022. https://arxiv.org/abs/2106.15147
    """

    def __init__(self, rate: float = 0.3):
        self.rate = rate

    def __call__(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        replaced = _uniform(rows, rows.shape, generator) < self.rate
        return torch.where(replaced, _from_other_rows(rows, generator), rows)


class RowViews:
    """Random views of rows. The share of changed coordinates is uniform in [0, 1].

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
        share = (*rows.shape[:-1], 1)
        changed = _uniform(rows, rows.shape, generator) < _uniform(rows, share, generator)
        if self.kind == "uniform":
            other = self.low + (self.high - self.low) * _uniform(rows, rows.shape, generator)
        elif self.kind == "marginal":
            other = _from_other_rows(rows, generator)
        elif self.kind == "noise":
            other = rows + torch.empty_like(rows).normal_(generator=generator)
        else:
            other = torch.zeros_like(rows)
        return torch.where(changed, other, rows)


def _uniform(
    rows: torch.Tensor, shape: tuple[int, ...], generator: torch.Generator
) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=rows.device, dtype=rows.dtype)


def _from_other_rows(rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """For each entry, that of a random row in the same column."""
    donors = torch.randint(len(rows), rows.shape, generator=generator, device=rows.device)
    return rows.gather(0, donors)
