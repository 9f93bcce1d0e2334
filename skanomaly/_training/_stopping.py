"""Ending a training early, on signals that need no labels."""

from __future__ import annotations

import math

History = list[dict[str, float]]
BETTER = {"loss": -1, "kappa": 1, "embedding_std": 1}  # whether smaller or larger values are


class EarlyStopping:
    """Stop when a recorded value has not improved for some epochs.

    Pass it in ``callbacks``. It keeps no state of its own, so that it can be reused and a
    training that resumes stops where it would have stopped.

    Parameters
    ----------
    monitor : {"loss", "kappa", "embedding_std"}, default="loss"
        "loss" stops when it no longer falls. "kappa", the concentration of the embedding's
        directions, stops when it no longer rises: NSA's section 2.2 finds that detection decays
        as contrastive training spreads the embedding. "embedding_std" stops when the spread no
        longer rises.
    patience : int, default=10
        Epochs without improvement.
    tolerance : float, default=1e-3
        Changes up to this share of the best value are no improvement.

    Raises
    ------
    ValueError
        If `monitor` is not known, `patience` is below 1 or `tolerance` is negative.

    Examples
    --------
    >>> from skanomaly import EarlyStopping
    >>> stop = EarlyStopping(patience=2)
    >>> [stop([{"loss": loss} for loss in losses]) for losses in ([2, 1], [2, 1, 1, 1])]
    [False, True]
    """

    def __init__(self, monitor: str = "loss", *, patience: int = 10, tolerance: float = 1e-3):
        if monitor not in BETTER:
            raise ValueError(f"monitor={monitor!r} is not known; pass one of {list(BETTER)}")
        if patience < 1:
            raise ValueError(f"patience={patience}; pass at least 1")
        if not tolerance >= 0:
            raise ValueError(f"tolerance={tolerance}; pass 0 or more")
        self.monitor = monitor
        self.patience = patience
        self.tolerance = tolerance

    def __call__(self, history: History) -> bool:
        best, best_epoch = -math.inf, 0
        for epoch, record in enumerate(history):
            value = BETTER[self.monitor] * record[self.monitor]
            if epoch == 0 or value > best + self.tolerance * abs(best):
                best, best_epoch = value, epoch
        return len(history) - 1 - best_epoch >= self.patience

    def __repr__(self) -> str:
        return (
            f"EarlyStopping({self.monitor!r}, patience={self.patience}, tolerance={self.tolerance})"
        )
