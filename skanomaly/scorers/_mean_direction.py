"""Whether samples have a mean direction, without which angles to the origin say little."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .._array_api import Array, as_float64, sample_rows, to_numpy

SAMPLES = 2_000  # looked at for the spread
LEAST = 4.0  # squared length of the mean, in those that noise gives it on average


def warn_without_mean_direction(estimator: Any, rows: Array, mean: Array) -> None:
    """Warn if the mean of the rows is so short that its direction is noise."""
    n_rows = rows.shape[0]
    some = to_numpy(as_float64(sample_rows(rows, SAMPLES)))
    with np.errstate(over="ignore", invalid="ignore"):
        noise = some.var(axis=0).sum() / n_rows
        is_noise = (to_numpy(mean) ** 2).sum() < LEAST * noise
    if is_noise and np.isfinite(noise):
        warnings.warn(
            f"the mean direction of the training samples is noise: {type(estimator).__name__} "
            "scores by angles at the origin, which say little about columns that are centred or "
            "standardised. Score by distances with NeighborDistance, or leave the centring out",
            UserWarning,
            stacklevel=2,
        )
