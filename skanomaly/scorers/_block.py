"""A block of features, as scores see it."""

from __future__ import annotations

import functools

import numpy as np

from .._array_api import (
    BLOCK_BYTES,
    Array,
    as_float64,
    column_means,
    row_slices,
    sample_rows,
    to_numpy,
)
from .._moments import ColumnMoments
from .._whitening import Whitening

VARIANCE_ROWS = 2_000  # looked at for the total variance


class Block:
    """Features of some samples, and what whitenings make of them.

    Scores with the same whitening share the fitted map and the whitened rows.

    Parameters
    ----------
    rows : float array (n, c)
        One vector per sample.
    """

    def __init__(self, rows: Array):
        self.rows = rows
        self._fitted: dict[tuple, Whitening] = {}
        self._whitened: dict[int, Array] = {}

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.rows.shape[0]

    def column_means(self) -> Array:
        """Mean row in float64."""
        return column_means(self.rows)

    def columns(self) -> ColumnMoments:
        """Mean and deviation of each column."""
        parts = row_slices(self.n_rows, 8 * self.rows.shape[1], BLOCK_BYTES)
        return functools.reduce(
            ColumnMoments.merge, (ColumnMoments.of(self.rows[part, :]) for part in parts)
        )

    def total_variance(self) -> float:
        """Sum of the variances of the columns, of some rows; infinite if it overflows."""
        some = to_numpy(as_float64(sample_rows(self.rows, VARIANCE_ROWS)))
        with np.errstate(over="ignore", invalid="ignore"):
            return float(some.var(axis=0).sum())

    def fit_whitening(self, **options) -> Whitening:
        """The whitening with these options that is fitted to the rows."""
        key = tuple(sorted(options.items()))
        if key not in self._fitted:
            self._fitted[key] = Whitening(**options).fit(self.rows)
        return self._fitted[key]

    def whitened(self, whitening: Whitening) -> Array:
        """The rows' coordinates, float64."""
        if id(whitening) not in self._whitened:
            self._whitened[id(whitening)] = whitening.transform(self.rows)
        return self._whitened[id(whitening)]
