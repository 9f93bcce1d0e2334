"""Whitened training rows as if each of them had been left out."""

from __future__ import annotations

from .._angles import angle, unit_rows
from .._array_api import Array, by_blocks, namespace
from .._nearest_rows import largest_of_tiles, without_self
from .._whitening import Whitening

FAR = 100.0  # squared length of the mean, in mean squared deviations


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
        The rows' coordinates.
    """

    def __init__(self, whitening: Whitening, whitened: Array):
        xp = namespace(whitened)
        n_samples = whitened.shape[0]
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

    def stretch(self, vectors: Array, rows: slice) -> Array:
        """Vector i in the space without training row i of a slice."""
        deviations = self.whitened[rows, :] - self.mean
        along = namespace(vectors).sum(deviations * vectors, axis=1) * self.stretch_factor[rows]
        return vectors + along[:, None] * deviations

    def nearest_others(self, k: int) -> tuple[Array, Array]:
        """Angles (n, k), ascending, of each row to its k nearest others, and indices."""
        n_rows = self.whitened.shape[0]
        return largest_of_tiles(self._make_tile(), self.angles, n_rows, n_rows, k, self.whitened)

    def angles(self, rows: slice, columns: Array) -> Array:
        """Angles (n, k) of a slice of rows to k others each, in the space without the former."""
        xp = namespace(self.whitened)
        own = self.whitened[rows, :]
        deviations = own - self.mean
        own = unit_rows(self.stretch(own, rows))
        angles = []
        for j in range(columns.shape[1]):
            other = xp.take(self.whitened, columns[:, j], axis=0) + self.shift * deviations
            angles.append(angle(own, unit_rows(self.stretch(other, rows))))
        return xp.stack(angles, axis=1)

    def _make_tile(self):
        """A function that returns cosines at slices of rows and columns."""
        xp = namespace(self.whitened)
        # far from the origin, float32 would round the cosines of all rows to 1
        is_far = xp.sum(self.mean**2) > FAR * xp.mean(self.squared_deviations)
        dtype = xp.float64 if is_far else xp.float32
        tiny = xp.finfo(dtype).smallest_normal

        def converted(values: Array) -> Array:
            return xp.astype(values, dtype, copy=False)

        vectors, along_mean = converted(self.whitened), converted(self.whitened @ self.mean)
        norms = converted(by_blocks(lambda w: xp.sum(w * w, axis=1), self.whitened))
        gain, squares, shift = converted(self.gain), converted(self.squared_deviations), self.shift
        own = norms - along_mean  # d_i . w_i
        own_norms = xp.sqrt(xp.clip(norms + gain * own**2, min=tiny))
        is_zero = norms == 0  # such rows are at no angle to one another

        def tile(rows: slice, columns: slice) -> Array:
            product = vectors[rows, :] @ vectors[columns, :].T
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
            if xp.any(is_zero[rows]):
                both = is_zero[rows][:, None] & is_zero[columns][None, :]
                product = xp.where(both, xp.ones_like(product), product)
            return without_self(product, rows, columns)

        return tile
