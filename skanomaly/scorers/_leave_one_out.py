"""Whitened training rows as if each of them had been left out."""

from __future__ import annotations

import numpy as np

from .._angles import angle, unit_rows
from .._array_api import Array, by_blocks, namespace, row_slices, take_rows
from .._nearest_rows import largest_of_tiles, without_self
from .._whitening import Whitening

FAR = 100.0  # squared length of the mean, in mean squared deviations
CANDIDATE_ROWS = 512  # whose angles are computed at once
NEGLIGIBLE = 1e-9  # radians


class LeaveOneOut:
    """Whitening without one row: S^(-1/2) when row i is left out of S.

    Without row i the covariance loses a multiple of d_i d_i^T, where d_i is the row's deviation
    from the mean. By Sherman and Morrison's formula this changes inner products of whitened
    vectors to ``v.w + gain_i (d_i.v) (d_i.w)``, which is what stretching each vector to
    ``v + stretch_i (d_i.v) d_i`` does. The amount of shrinkage is kept.

    Without this, rows look more anomalous than new rows of the same distribution, the more so the
    fewer there are per dimension: each has raised the variance in its own direction.

    Parameters
    ----------
    whitening : Whitening
        Fitted to all rows.
    whitened : float64 array (n, r)
        Coordinates of the rows, or of some of them.
    n_samples : int, optional
        Number of all rows, if these are some.
    """

    def __init__(self, whitening: Whitening, whitened: Array, n_samples: int | None = None):
        xp = namespace(whitened)
        n_samples = n_samples or whitened.shape[0]
        self.whitened = whitened
        self.mean = whitening.mean_
        # without row i the mean that was subtracted is d_i / (n - 1) lower
        self.shift = 1 / (n_samples - 1) if whitening.center else 0.0
        self.squared_deviations = by_blocks(
            lambda w: xp.sum((w - self.mean) ** 2, axis=1), whitened
        )
        share = (1 - whitening.shrinkage_) / (n_samples - 1)
        # a row with a direction of its own has no variance there without it
        remaining = xp.clip(1 - share * self.squared_deviations, min=1e-9)
        self.gain = share / remaining
        self.stretch_factor = (remaining**-0.5 - 1) / xp.clip(self.squared_deviations, min=1e-300)

    def stretch(self, vectors: Array, rows: slice | np.ndarray) -> Array:
        """Vector i in the space without training row i of a slice."""
        deviations = self.whitened[rows, :] - self.mean
        along = namespace(vectors).sum(deviations * vectors, axis=1) * self.stretch_factor[rows]
        return vectors + along[:, None] * deviations

    def nearest_others(
        self, k: int, rows: np.ndarray | None = None, others: Array | None = None
    ) -> Array:
        """Angles (n, k), ascending, of rows at ascending positions, or all, to their nearest.

        These are among the same rows, or among others that are whitened.
        """
        positions = np.arange(self.whitened.shape[0]) if rows is None else rows

        def measure(part: slice, columns: Array) -> Array:
            return self.angles(part if rows is None else rows[part], columns, others)

        tile = self._make_tile(positions, others)
        n_others = (self.whitened if others is None else others).shape[0]
        return largest_of_tiles(tile, measure, len(positions), n_others, k, self.whitened)[0]

    def nearest_of_candidates(self, k: int, angles: Array, candidates: Array) -> np.ndarray:
        """Angles (n, k), ascending, of each row to its k nearest others: numpy arrays only.

        `candidates` (n, more than k) are the nearest by the angle in the space with all rows, which
        are given, ascending. Another row can be nearer in the space without row i only if the two
        spaces differ enough. This is seldom so, and only then all rows are compared.
        """
        found = np.sort(self.candidate_angles(candidates), axis=1)[:, :k]
        if candidates.shape[1] == len(found) - 1:
            return found
        # a shift turns the other vector by no more than it turns the shortest one
        lengths = np.sqrt(self.squared_deviations)
        shortest = max(lengths.min(), np.finfo(np.float64).tiny)
        ratio = self.shift * lengths / shortest
        turn = np.where(ratio < 1, np.arcsin(np.minimum(ratio, 1)), np.pi)
        # and a stretch by c divides the tangent of half the angle by no more (Wielandt)
        half = np.maximum(angles[:, -1] - turn, 0) / 2
        stretch = 1 + self.stretch_factor * self.squared_deviations
        least = 2 * np.arctan(np.tan(half) / stretch)
        (unsure,) = np.nonzero(found[:, -1] > least + NEGLIGIBLE)
        if len(unsure):
            found[unsure] = self.nearest_others(k, unsure)
        return found

    def candidate_angles(self, candidates: Array) -> Array:
        """Angles (n, k) of each row to its candidates, in the space without it."""
        parts = row_slices(candidates.shape[0], 1, CANDIDATE_ROWS)
        return namespace(candidates).concat([self.angles(p, candidates[p, :]) for p in parts])

    def angles(
        self, rows: slice | np.ndarray, columns: Array, others: Array | None = None
    ) -> Array:
        """Angles (n, k) of a slice of rows to k others each, in the space without the former."""
        xp = namespace(self.whitened)
        others = self.whitened if others is None else others
        own = self.whitened[rows, :]
        deviations = own - self.mean
        own = unit_rows(self.stretch(own, rows))
        angles = []
        for j in range(columns.shape[1]):
            other = xp.take(others, columns[:, j], axis=0) + self.shift * deviations
            angles.append(angle(own, unit_rows(self.stretch(other, rows))))
        return xp.stack(angles, axis=1)

    def _make_tile(self, positions: np.ndarray, others: Array | None):
        """A function that returns cosines of rows at these positions to all, for slices of both."""
        columns_are_rows = others is None
        others = self.whitened if others is None else others
        xp = namespace(self.whitened)
        # far from the origin, float32 would round the cosines of all rows to 1
        is_far = xp.sum(self.mean**2) > FAR * xp.mean(self.squared_deviations)
        dtype = xp.float64 if is_far else xp.float32
        tiny = xp.finfo(dtype).smallest_normal

        def converted(values: Array) -> Array:
            return xp.astype(values, dtype, copy=False)

        def prepared(w: Array) -> tuple[Array, Array, Array]:
            norms = by_blocks(lambda w: xp.sum(w * w, axis=1), w)
            return converted(w), converted(w @ self.mean), converted(norms)

        vectors, along_mean, norms = prepared(others)
        is_zero = norms == 0  # such rows are at no angle to one another
        own_vectors, own_along, own_squared, gain, squares = (
            take_rows(values, positions)
            for values in (
                *((vectors, along_mean, norms) if columns_are_rows else prepared(self.whitened)),
                converted(self.gain),
                converted(self.squared_deviations),
            )
        )
        own_is_zero = own_squared == 0
        own = own_squared - own_along  # d_i . w_i
        own_norms = xp.sqrt(xp.clip(own_squared + gain * own**2, min=tiny))
        shift = self.shift

        def tile(rows: slice, columns: slice) -> Array:
            product = own_vectors[rows, :] @ vectors[columns, :].T
            along = product - along_mean[columns][None, :]  # d_i . w_j
            lengths = norms[columns][None, :]
            if shift:  # w_j seen from the mean without row i
                lengths = lengths + 2 * shift * along + shift**2 * squares[rows][:, None]
                along += shift * squares[rows][:, None]
                product += shift * own[rows][:, None]
            product += (gain * own)[rows][:, None] * along
            along *= along
            lengths = lengths + gain[rows][:, None] * along
            product /= xp.sqrt(xp.clip(lengths, min=tiny))
            product /= own_norms[rows][:, None]
            if xp.any(own_is_zero[rows]):
                both = own_is_zero[rows][:, None] & is_zero[columns][None, :]
                product = xp.where(both, xp.ones_like(product), product)
            return without_self(product, positions[rows], columns) if columns_are_rows else product

        return tile
