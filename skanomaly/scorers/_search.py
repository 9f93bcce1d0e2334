"""Exact search for the smallest angles, tile by tile, in bounded memory.

A tile of cosines in float32 tells which columns may be among the k nearest of each row: those
within the rounding error of the k-th largest cosine seen so far. Only their angles are computed in
float64. Where float32 leaves too many, float64 takes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, Protocol

from threadpoolctl import ThreadpoolController

from .._array_api import Array, device, is_numpy_array, namespace, row_slices, spread

TILE_COLUMNS = 4096
TILE_BYTES = 16 * 2**20  # of cosines
MAX_PENDING = 2**18  # candidates whose angles are not computed yet
MANY_CANDIDATES = 32  # for each neighbour of a row, in one tile


class Metric(Protocol):
    """What is searched: rows i and columns j with an angle between them."""

    def columns(self, chosen: slice, dtype: Any) -> Any:
        """What `cosines` needs of a slice of columns."""

    def cosines(self, rows: slice, columns: Any) -> Array:
        """Cosines (rows, columns); -inf for pairs that do not count."""

    def tolerance(self, rows: slice, dtype: Any) -> Array | float:
        """Bound of the rounding error of these cosines: a number or an array (rows,)."""

    def angles(self, rows: Array, columns: Array) -> Array:
        """Angles of pairs, given by two index arrays, in float64."""


def smallest_angles(
    metric: Metric, n_rows: int, n_columns: int, k: int, reference: Array
) -> tuple[Array, Array]:
    """Angles (n_rows, k), ascending, and column indices of the k nearest columns of each row.

    Parameters
    ----------
    metric : Metric
        Gives the cosines and the angles.
    n_rows, n_columns : int
        Size of the search.
    k : int
        At most the number of columns that count for every row.
    reference : array
        Any array of the library and device that `metric` computes with.
    """
    xp = namespace(reference)
    dtype = xp.float32
    width = min(n_columns, TILE_COLUMNS)
    row_blocks = list(row_slices(n_rows, 4 * width, TILE_BYTES))
    found = [_Found(metric, rows, k, reference) for rows in row_blocks]
    with _parallel_map(found, reference) as run:
        for chosen in row_slices(n_columns, 1, TILE_COLUMNS):
            columns = metric.columns(chosen, dtype)
            add = partial(_Found.add_tile, columns=columns, first_column=chosen.start)
            crowded = [b for b, fits in zip(found, run(add, found), strict=True) if not fits]
            if crowded:
                dtype = xp.float64
                columns = metric.columns(chosen, dtype)
                add = partial(_Found.add_tile, columns=columns, first_column=chosen.start)
                list(run(add, crowded))
        angles, indices = zip(*run(_Found.nearest, found), strict=True)
    return xp.concat(angles), xp.concat(indices)


class _SingleThreadedBlas:
    """Limits numpy's BLAS, of which a process has one, to one thread while any search runs."""

    def __init__(self):
        self.lock = Lock()
        self.n_users = 0

    @contextmanager
    def __call__(self) -> Iterator[int]:
        """Yields the number of threads that BLAS had."""
        with self.lock:
            if self.n_users == 0:
                blas = ThreadpoolController().select(user_api="blas")
                self.n_threads = max((b.num_threads for b in blas.lib_controllers), default=1)
                self.limits = blas.limit(limits=1)
            self.n_users += 1
        try:
            yield self.n_threads
        finally:
            with self.lock:
                self.n_users -= 1
                if self.n_users == 0:
                    self.limits.restore_original_limits()


_single_threaded_blas = _SingleThreadedBlas()


@contextmanager
def _parallel_map(tasks: list, reference: Array) -> Iterator[Callable]:
    """`map` over threads, as many as the matrix products of numpy would otherwise use.

    Other libraries have threads of their own.
    """
    if not is_numpy_array(reference) or len(tasks) == 1:
        yield map
        return
    with _single_threaded_blas() as n_threads, ThreadPoolExecutor(n_threads) as pool:
        yield pool.map


def nearest_of_pairs(
    metric: Metric, rows: Array, columns: Array, n_rows: int, k: int
) -> tuple[Array, Array]:
    """As `smallest_angles`, among given pairs: at least k for each row."""
    found = _Found(metric, slice(0, n_rows), k, rows[:, None])
    unknown = namespace(rows).full_like(rows, namespace(rows).inf, dtype=found.bounds.dtype)
    found.add(_Hits(rows, columns, -unknown, unknown, found.bounds), 0)
    return found.nearest()


class _Hits(NamedTuple):
    """Pairs of a tile that may be among the k nearest, and the lower bounds after it."""

    rows: Array
    columns: Array
    least: Array  # cosines that the pairs may have
    greatest: Array
    bounds: Array

    @property
    def n_pairs(self) -> int:
        return self.rows.shape[0]


def _at_most_kth_largest(values: Array, k: int) -> Array:
    """A lower bound, close to it, of the k-th largest value of each row."""
    xp = namespace(values)
    if k == 1:
        return xp.max(values, axis=1)
    if k > values.shape[1]:
        return xp.full_like(values[:, 0], -xp.inf)
    while values.shape[1] >= 8 * k:  # the larger ones of disjoint pairs are values too
        half = values.shape[1] // 2
        values = xp.maximum(values[:, :half], values[:, half : 2 * half])
    return xp.sort(values, axis=1)[:, -k]


class _Found:
    """The k nearest columns of each row of a block, among the candidates added so far.

    ``bounds`` are lower bounds of each row's true k-th largest cosine.
    """

    def __init__(self, metric: Metric, rows: slice, k: int, reference: Array):
        xp = namespace(reference)
        self.metric, self.rows, self.k = metric, rows, k
        self.n_rows = rows.stop - rows.start
        self.bounds = xp.full(self.n_rows, -xp.inf, dtype=xp.float64, device=device(reference))
        # pairs with exact angles, ordered by row and angle
        none = xp.astype(xp.nonzero(self.bounds > 0)[0], xp.int64)
        self.settled = (none, none, xp.astype(none, xp.float64))
        self.pending: list[tuple[Array, ...]] = []
        self.n_pending = 0

    def candidates(self, cosines: Array) -> _Hits:
        """Pairs of a tile of cosines that may be among the k nearest."""
        xp = namespace(cosines)
        dtype = cosines.dtype
        tolerance = self.metric.tolerance(self.rows, dtype)
        largest = xp.astype(xp.max(cosines, axis=1), xp.float64)
        is_hit = largest >= self.bounds - tolerance
        (hit,) = xp.nonzero(is_hit)
        if hit.shape[0] < self.n_rows:
            cosines = xp.take(cosines, hit, axis=0)
        kth = xp.astype(_at_most_kth_largest(cosines, self.k), xp.float64)
        kth = spread(kth, is_hit, xp.full_like(largest, -xp.inf))
        bounds = xp.maximum(kth - tolerance, self.bounds)
        # one step down, so that rounding to the cosines' type excludes nothing
        least = xp.astype(xp.take(bounds - tolerance, hit), dtype) - xp.finfo(dtype).eps
        least = xp.clip(least, min=-xp.finfo(dtype).max)  # pairs at -inf do not count
        (flat,) = xp.nonzero(xp.reshape(cosines >= least[:, None], (-1,)))
        rows, columns = flat // cosines.shape[1], flat % cosines.shape[1]
        found = xp.astype(xp.take(xp.reshape(cosines, (-1,)), flat), xp.float64)
        error = xp.take(tolerance + xp.zeros_like(bounds), xp.take(hit, rows)) + xp.finfo(dtype).eps
        return _Hits(xp.take(hit, rows), columns, found - error, found + error, bounds)

    def add_tile(self, columns: Any, first_column: int) -> bool:
        """Look at a tile of columns; False, and nothing is added, if float32 leaves too many."""
        cosines = self.metric.cosines(self.rows, columns)
        hits = self.candidates(cosines)
        is_single = cosines.dtype == namespace(cosines).float32
        if is_single and hits.n_pairs > MANY_CANDIDATES * self.k * self.n_rows:
            return False
        self.add(hits, first_column)
        return True

    def add(self, hits: _Hits, first_column: int) -> None:
        self.bounds = hits.bounds
        for chosen in row_slices(hits.n_pairs, 1, MAX_PENDING):
            rows, columns, least, greatest = (values[chosen, ...] for values in hits[:4])
            self.pending.append((rows, columns + first_column, least, greatest))
            self.n_pending += chosen.stop - chosen.start
            if self.n_pending > MAX_PENDING:
                self._settle()

    def nearest(self) -> tuple[Array, Array]:
        self._settle()
        xp = namespace(self.bounds)
        _, columns, angles = self.settled
        shape = (self.n_rows, self.k)
        return xp.reshape(angles, shape), xp.reshape(columns, shape)

    def _settle(self) -> None:
        """Compute the angles of what is pending and keep the k smallest of each row."""
        if not self.pending:
            return
        xp = namespace(self.bounds)
        rows, columns, least, greatest = (
            xp.concat(parts) for parts in zip(*self.pending, strict=True)
        )
        self.pending, self.n_pending = [], 0
        likely = self._likely(rows, least, greatest)
        rows, columns = xp.take(rows, likely), xp.take(columns, likely)
        angles = self.metric.angles(rows + self.rows.start, columns)
        rows, columns, angles = (
            xp.concat(parts) for parts in zip(self.settled, (rows, columns, angles), strict=True)
        )
        order, rank = _rank_in_rows(rows, angles)
        order = xp.take(order, xp.nonzero(rank < self.k)[0])
        self.settled = tuple(xp.take(values, order) for values in (rows, columns, angles))

    def _likely(self, rows: Array, least: Array, greatest: Array) -> Array:
        """Which of the pairs may be among the k nearest, now that more are known."""
        xp = namespace(self.bounds)
        if self.k > 1:
            order, rank = _rank_in_rows(rows, -least)
            kth = xp.take(least, xp.take(order, xp.nonzero(rank == self.k - 1)[0]))
            every = xp.arange(self.n_rows, device=device(rows))
            ordered = xp.take(rows, order)
            first, last = (xp.searchsorted(ordered, every, side=side) for side in ("left", "right"))
            known = spread(kth, last - first >= self.k, self.bounds)
            self.bounds = xp.maximum(self.bounds, known)
        return xp.nonzero(greatest >= xp.take(self.bounds, rows))[0]


def _rank_in_rows(rows: Array, values: Array) -> tuple[Array, Array]:
    """The order of pairs by row and then value, and in that order their ranks in the row."""
    xp = namespace(rows)
    order = xp.argsort(values, stable=True)
    order = xp.take(order, xp.argsort(xp.take(rows, order), stable=True))
    rows = xp.take(rows, order)
    rank = xp.arange(rows.shape[0], device=device(rows)) - xp.searchsorted(rows, rows)
    return order, rank
