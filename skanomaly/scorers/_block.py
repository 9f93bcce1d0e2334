"""A block of features, as scores see it."""

from __future__ import annotations

from .._array_api import Array
from .._whitening import Whitening


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
