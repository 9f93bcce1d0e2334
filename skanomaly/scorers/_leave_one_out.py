"""Scores of the training rows as if each of them had been left out."""

from __future__ import annotations

from typing import Any

from .._array_api import Array, device, namespace, row_slices, spread
from ._angles import angle, unit_rows
from ._neighbors import PAIR_BYTES, by_blocks, rounding

CANCELLING = 0.03  # lengths that differ by less, relative to their sum, may cancel


class LeaveOneOutMetric:
    """Angles in the whitened space without one row: S^(-1/2) when row i is left out of S.

    Without row i the covariance loses a multiple of d_i d_i^T, where d_i is the row's deviation
    from the mean. By Sherman and Morrison's formula this changes inner products of whitened
    vectors to ``v.w + gain_i (d_i.v) (d_i.w)``, which is what stretching each vector to
    ``v + stretch_i (d_i.v) d_i`` does. The amount of shrinkage is kept.

    Without this, rows look more anomalous than new rows of the same distribution, the more so the
    fewer there are per dimension: each has raised the variance in its own direction.

    Parameters
    ----------
    whitened : float64 array (n, r)
        Training rows, whitened.
    mean : float64 array (r,)
        Whitened mean of all `n_samples` training rows, zero if it was subtracted.
    n_samples : int
        Number of training rows, at least n.
    weight : float
        Of the empirical covariance in the shrunk one, 1 - shrinkage.
    center : bool
        Whether the mean was subtracted: without row i it is d_i / (n - 1) lower.
    """

    def __init__(
        self, whitened: Array, mean: Array, n_samples: int, weight: float, center: bool = False
    ):
        xp = namespace(whitened)
        self.whitened = whitened
        self.mean = mean
        self.shift = 1 / (n_samples - 1) if center else 0.0
        squared_deviations = by_blocks(lambda w: xp.sum((w - mean) ** 2, axis=1), whitened)
        self.own = by_blocks(lambda w: xp.sum((w - mean) * w, axis=1), whitened)
        self.along_mean = whitened @ mean
        self.squared_norms = by_blocks(lambda w: xp.sum(w * w, axis=1), whitened)
        self.is_zero = self.squared_norms == 0
        share = weight / (n_samples - 1)
        # a row with a direction of its own has no variance there without it
        remaining = xp.clip(1 - share * squared_deviations, min=1e-9)
        self.gain = share / remaining
        self.stretch_factor = (remaining**-0.5 - 1) / xp.clip(squared_deviations, min=1e-300)
        self.squared_deviations = squared_deviations

    def stretch(self, vectors: Array, deviations: Array, rows: slice | Array) -> Array:
        """Vector i in the space without the row at `rows[i]`, whose deviation is given."""
        xp = namespace(vectors)
        is_slice = isinstance(rows, slice)
        factor = self.stretch_factor[rows, ...] if is_slice else xp.take(self.stretch_factor, rows)
        along = xp.sum(deviations * vectors, axis=1) * factor
        return vectors + along[:, None] * deviations

    # what the search asks of a metric

    def columns(self, chosen: slice, dtype: Any) -> tuple[slice, Array]:
        xp = namespace(self.whitened)
        return chosen, xp.astype(self.whitened[chosen, ...], dtype).T

    def cosines(self, rows: slice, columns: tuple[slice, Array]) -> Array:
        xp = namespace(self.whitened)
        chosen, vectors = columns
        dtype = vectors.dtype

        def as_column(values: Array) -> Array:
            return xp.astype(values[rows, ...], dtype)[:, None]

        def as_row(values: Array) -> Array:
            return xp.astype(values[chosen, ...], dtype)[None, :]

        own, gain, shift = as_column(self.own), as_column(self.gain), self.shift
        product = xp.astype(self.whitened[rows, ...], dtype) @ vectors
        along = product - as_row(self.along_mean)  # deviations' products with the columns
        squared_norms = as_row(self.squared_norms) + 2 * shift * along
        deviations = shift * as_column(self.squared_deviations)
        along += deviations
        squared_norms += shift * deviations + gain * along**2
        product += shift * own + gain * own * along
        own_norms = as_column(self.squared_norms) + gain * own**2
        tiny = xp.finfo(dtype).smallest_normal
        product /= xp.sqrt(xp.clip(squared_norms, min=tiny))
        product /= xp.sqrt(xp.clip(own_norms, min=tiny))
        if self.shift:
            product = self._mend_cancellation(product, rows, chosen)
        # zero vectors are at 0 from one another
        both_zero = self.is_zero[rows, ...][:, None] & self.is_zero[chosen, ...][None, :]
        product = xp.where(both_zero, xp.ones_like(product), product)
        return self._without_self(product, rows, chosen)

    def _mend_cancellation(self, cosines: Array, rows: slice, columns: slice) -> Array:
        """Exact cosines where a column, seen from the mean without the row, almost vanishes."""
        xp = namespace(cosines)
        lengths = xp.sqrt(self.squared_norms[columns])[None, :]
        moved = self.shift * xp.sqrt(self.squared_deviations[rows])[:, None]
        may_cancel = xp.reshape(xp.abs(lengths - moved) < CANCELLING * (lengths + moved), (-1,))
        (flat,) = xp.nonzero(may_cancel)
        if flat.shape[0] == 0:
            return cosines
        width = cosines.shape[1]
        exact = self.angles(flat // width + rows.start, flat % width + columns.start)
        exact = xp.astype(xp.cos(exact), cosines.dtype)
        return xp.reshape(spread(exact, may_cancel, xp.reshape(cosines, (-1,))), cosines.shape)

    def tolerance(self, rows: slice, dtype: Any) -> Array:
        xp = namespace(self.whitened)
        amplification = 1 + xp.sqrt(self.gain[rows, ...] * self.squared_norms[rows, ...])
        return 4 * rounding(self.whitened, dtype) * amplification

    def angles(self, rows: Array, columns: Array) -> Array:
        """Angles of pairs of a row and another one, in float64."""
        xp = namespace(self.whitened)
        parts = []
        for pairs in row_slices(rows.shape[0], 8 * self.whitened.shape[1], PAIR_BYTES):
            left_out = rows[pairs, ...]
            own = xp.take(self.whitened, left_out, axis=0)
            other = xp.take(self.whitened, columns[pairs, ...], axis=0)
            deviations = own - self.mean
            own = self.stretch(own, deviations, left_out)
            other = self.stretch(other + self.shift * deviations, deviations, left_out)
            parts.append(angle(unit_rows(own), unit_rows(other)))
        return xp.concat(parts)

    @staticmethod
    def _without_self(cosines: Array, rows: slice, columns: slice) -> Array:
        if rows.stop <= columns.start or columns.stop <= rows.start:
            return cosines
        xp = namespace(cosines)
        row, column = (
            xp.arange(chosen.start, chosen.stop, device=device(cosines))
            for chosen in (rows, columns)
        )
        is_self = row[:, None] == column[None, :]
        return xp.where(is_self, xp.full_like(cosines, -xp.inf), cosines)
