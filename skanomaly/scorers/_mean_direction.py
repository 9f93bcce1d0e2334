"""Whether samples have a mean direction, without which angles to the origin say little."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .._array_api import Array, to_numpy

LEAST = 4.0  # squared length of the mean, in those that noise gives it on average


def warn_without_mean_direction(
    estimator: Any, mean: Array, total_variance: float, n_rows: int
) -> None:
    """Warn if the mean of the rows is so short that its direction is noise."""
    noise = total_variance / n_rows
    with np.errstate(over="ignore", invalid="ignore"):
        is_noise = (to_numpy(mean) ** 2).sum() < LEAST * noise
    if is_noise and np.isfinite(noise):
        warnings.warn(
            f"the mean direction of the training samples is noise: {type(estimator).__name__} "
            "scores by angles at the origin, which say little about columns that are centred or "
            "standardised. Score by distances with NeighborDistance, or leave the centring out",
            UserWarning,
            stacklevel=2,
        )
