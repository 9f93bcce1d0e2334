"""Nearest neighbours by angle among stored rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .._array_api import (
    Array,
    as_float64,
    device,
    namespace,
    numpy_state,
    product_eps,
    row_slices,
    spread,
    vector_norm,
)
from ._angles import angle, unit_rows
from ._search import Metric, smallest_angles

BLOCK_BYTES = 48 * 2**20  # of float64 rows worked on at once
USUAL = 1e15  # entries between this and its inverse need no care about overflow
PAIR_BYTES = 16 * 2**20  # of float64 rows whose angles are computed at once


def by_blocks(compute: Callable[[Array], Array], X: Array) -> Array:
    """`compute(X)` for a function of rows, some at a time."""
    return namespace(X).concat([compute(X[part, ...]) for part in _blocks(X)])


def column_means(X: Array) -> Array:
    """Mean row in float64, which cannot overflow."""
    xp = namespace(X)
    shrink = 2.0 ** -X.shape[0].bit_length()  # a power of two rounds nothing
    total = sum(xp.sum(as_float64(X[part, ...]) * shrink, axis=0) for part in _blocks(X))
    return total * (1 / (shrink * X.shape[0]))


def _blocks(X: Array) -> Iterator[slice]:
    return row_slices(X.shape[0], 8 * X.shape[1], BLOCK_BYTES)


def _inverse_norms(X: Array) -> Array:
    """Factors (n, 1) that scale rows to length 1; infinite if float32 could not hold squares."""
    xp = namespace(X)
    largest = xp.max(xp.abs(X), axis=1, keepdims=True)
    is_usual = (largest < USUAL) & (largest > 1 / USUAL)
    norms = vector_norm(as_float64(xp.where(is_usual, X, xp.ones_like(X))))
    unusual = xp.where(largest == 0, xp.zeros_like(norms), xp.full_like(norms, xp.inf))
    return xp.astype(xp.where(is_usual, 1 / norms, unusual), X.dtype)


class Centering:
    """The map x -> x - mean."""

    def __init__(self, mean: Array):
        self.mean = mean

    def transform(self, X: Array) -> Array:
        return as_float64(X) - self.mean

    __getstate__ = numpy_state


class AngularNeighbors:
    """Angles to the nearest rows among stored ones.

    Of rows that are transformed, float32 copies are stored to find candidates; the candidates'
    exact angles come from the rows as they were passed, which can so be shared. Rows without a
    transformation are scaled to length 1 while searching, which costs no memory.

    Parameters
    ----------
    rows : float32 or float64 array (n, d)
        Finite rows, not copied.
    transformation : object with ``transform(X)``, optional
        Maps rows and queries to float64 vectors, between which the angles are taken.
    """

    def __init__(self, rows: Array, transformation: Any = None):
        xp = namespace(rows)
        self.rows = rows
        self.transformation = transformation
        self.rows_are_transformed = False
        self.units = self.inverse_norms = None
        if transformation is None:
            self.inverse_norms = by_blocks(_inverse_norms, rows)
            if not xp.all(xp.isfinite(self.inverse_norms)):
                self.inverse_norms = None  # such rows are scaled with more care
        else:
            self.units = by_blocks(lambda X: xp.astype(self._units_of(X), xp.float32), rows)
            if 2 * self.units.shape[1] <= rows.shape[1]:
                self.rows = self.transformed()
                self.rows_are_transformed = True

    __getstate__ = numpy_state

    def nearest(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Angles (m, k), ascending, and indices (m, k) of the k nearest stored rows.

        Parameters
        ----------
        queries : float32 or float64 array (m, d)
            Rows that are finite.
        k : int
            At most the number of stored rows.
        """
        xp = namespace(queries)
        parts = [self._nearest(self._units_of(queries[part, ...]), k) for part in _blocks(queries)]
        return xp.concat([p[0] for p in parts]), xp.concat([p[1] for p in parts])

    def transformed(self) -> Array:
        """All stored rows after the transformation, in float64."""
        if self.rows_are_transformed:
            return self.rows
        return by_blocks(self.transformation.transform, self.rows)

    def leave_one_out(self, k: int, metric: Metric | None = None) -> tuple[Array, Array]:
        """Angles (n, k), ascending, and indices of each stored row's k nearest other rows.

        In the `metric` of the space without that row, if one is given.
        """
        if metric is not None:
            return self._search_in(metric, k)
        xp = namespace(self.rows)
        parts = [self._nearest(self.exact_units(part), k + 1) for part in _blocks(self.rows)]
        angles, indices = (xp.concat(values) for values in zip(*parts, strict=True))
        own = xp.arange(angles.shape[0], device=device(angles))[:, None]
        # among more than k duplicates it may be missing: drop any of them
        return drop_one(angles, indices, indices == own, otherwise=k)

    def exact_units(self, chosen: slice | Array) -> Array:
        """The chosen rows, transformed and of length 1, in float64."""
        xp = namespace(self.rows)
        is_slice = isinstance(chosen, slice)
        rows = self.rows[chosen, ...] if is_slice else xp.take(self.rows, chosen, axis=0)
        return self._units_of(rows, self.rows_are_transformed)

    def search_units(self, chosen: slice, dtype: Any) -> Array:
        """The same in the dtype of the search."""
        xp = namespace(self.rows)
        if self.units is not None and dtype == xp.float32:
            return self.units[chosen, ...]
        if self.inverse_norms is None or dtype != xp.float32:
            return xp.astype(self.exact_units(chosen), dtype)
        return xp.astype(self.rows[chosen, ...] * self.inverse_norms[chosen, ...], dtype)

    def _units_of(self, X: Array, is_transformed: bool = False) -> Array:
        if self.transformation is not None and not is_transformed:
            X = self.transformation.transform(X)
        return unit_rows(X)

    def _nearest(self, units: Array, k: int) -> tuple[Array, Array]:
        """As `nearest`, for queries of length 1 in float64.

        To a zero vector all others are equally near: it is answered without a search.
        """
        xp = namespace(units)
        is_zero = vector_norm(units)[:, 0] == 0
        (searched,) = xp.nonzero(~is_zero)
        if searched.shape[0] == units.shape[0]:
            return self._search(units, k)
        n_units = units.shape[0]
        zero_angles, zero_indices = self._nearest_to_zero(units[:1, :], k)
        angles, indices = (xp.broadcast_to(v, (n_units, k)) for v in (zero_angles, zero_indices))
        if searched.shape[0] == 0:
            return angles, indices
        found = self._search(xp.take(units, searched, axis=0), k)
        return spread(found[0], ~is_zero, angles), spread(found[1], ~is_zero, indices)

    def _nearest_to_zero(self, units: Array, k: int) -> tuple[Array, Array]:
        xp = namespace(units)
        parts = [self.search_units(part, xp.float32) for part in _blocks(self.rows)]
        is_other = xp.concat([xp.any(part != 0, axis=1) for part in parts])
        order = xp.argsort(xp.astype(is_other, xp.int64), stable=True)[:k]
        angles = xp.astype(xp.take(is_other, order), xp.float64) * (xp.pi / 2)
        return angles, order

    def _search(self, units: Array, k: int) -> tuple[Array, Array]:
        metric = PlainMetric(self, units)
        return smallest_angles(metric, units.shape[0], self.rows.shape[0], k, units)

    def _search_in(self, metric: Metric, k: int) -> tuple[Array, Array]:
        n_rows = self.rows.shape[0]
        return smallest_angles(metric, n_rows, n_rows, k, self.rows)


def drop_one(
    angles: Array, indices: Array, is_dropped: Array, otherwise: int | Array
) -> tuple[Array, Array]:
    """Neighbours (n, k) out of (n, k + 1): without the one marked, or the one at `otherwise`."""
    xp = namespace(angles)
    k = angles.shape[1] - 1
    column = xp.arange(k + 1, device=device(angles))[None, :]
    is_marked = xp.any(is_dropped, axis=1, keepdims=True)
    is_dropped = xp.where(is_marked, is_dropped, column == otherwise)
    (kept,) = xp.nonzero(xp.reshape(~is_dropped, (-1,)))
    flat = (xp.take(xp.reshape(values, (-1,)), kept) for values in (angles, indices))
    angles, indices = (xp.reshape(values, (-1, k)) for values in flat)
    return angles, indices


class PlainMetric:
    """Angles between queries of length 1 and stored rows."""

    def __init__(self, neighbors: AngularNeighbors, units: Array):
        xp = namespace(units)
        self.neighbors = neighbors
        self.units = units
        self.search_units = xp.astype(units, xp.float32)

    def columns(self, chosen: slice, dtype: Any) -> Array:
        return self.neighbors.search_units(chosen, dtype).T

    def cosines(self, rows: slice, columns: Array) -> Array:
        is_single = columns.dtype == self.search_units.dtype
        return (self.search_units if is_single else self.units)[rows, ...] @ columns

    def tolerance(self, rows: slice, dtype: Any) -> float:
        # the sum of d products of unit vectors; the worst case, d eps, never happens
        return rounding(self.units, dtype)

    def angles(self, rows: Array, columns: Array) -> Array:
        xp = namespace(rows)
        width = max(self.units.shape[1], self.neighbors.rows.shape[1])
        parts = [
            angle(
                xp.take(self.units, rows[pairs, ...], axis=0),
                self.neighbors.exact_units(columns[pairs, ...]),
            )
            for pairs in row_slices(rows.shape[0], 8 * width, PAIR_BYTES)
        ]
        return xp.concat(parts)


def rounding(X: Array, dtype: Any) -> float:
    """Error that a product of unit rows of X may have in `dtype`."""
    return product_eps(X, dtype) * (4 + X.shape[1] ** 0.5)
