"""Which stored rows are nearest: one matrix product, tile by tile, in bounded memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from ._array_api import (
    Array,
    as_float64,
    by_blocks,
    device,
    is_numpy_array,
    like,
    namespace,
    row_slices,
    sample_rows,
    take_along_rows,
    to_numpy,
    top_columns,
    vector_norm,
)

TILE_ROWS, TILE_COLUMNS = 512, 8192  # 16 MiB of float32
ORIGIN_ROWS = 1_000  # looked at for the middle of the rows
DENSITY_ROWS = 256  # looked at for the distance of neighbours
DENSE = 0.1  # of the spread; float64 tells apart neighbours that are nearer
LARGEST_HALF = 6e4  # of what float16 holds
NEGLIGIBLE = 1e-3  # of the standard deviation of distances to neighbours
GROUP = 8  # columns of a tile of which only the largest value is looked at first

Tile = Callable[[slice, slice], Array]
Measure = Callable[[slice, Array], Array]
Comparison = Callable[[slice, slice], np.ndarray]


class NearestRows:
    """Stored rows, and a search for those that are nearest by Euclidean distance.

    Rows are kept once, relative to a middle one, since what they have in common would cost digits;
    in float32, or in float64 if most neighbours are so near that float32 could confuse them.
    Of unit vectors the nearest are those at the smallest angle.

    Parameters
    ----------
    rows : float array (n, d)
        Finite rows.
    transform : callable
        Makes of some rows the vectors that are stored.
    may_round : bool, default=False
        Round what is stored to float16, which halves saved models, if the distances to neighbours
        hardly change: by a thousandth of their standard deviation, root mean square.
    """

    def __init__(
        self,
        rows: Array,
        transform: Callable[[Array], Array] = as_float64,
        may_round: bool = False,
    ):
        xp = namespace(rows)
        some = transform(sample_rows(rows, ORIGIN_ROWS))
        # the median, since a gross error must not take it away from the others
        self.origin = xp.sort(some, axis=0)[some.shape[0] // 2, :]
        self._is_rounded = False

        def store(dtype: Any) -> None:
            vectors = by_blocks(lambda X: xp.astype(self._from_origin(transform(X)), dtype), rows)
            self._rows = _with_squares(vectors)

        store(xp.float32)
        some = sample_rows(some, DENSITY_ROWS)
        distances, index = (
            found[:, -1] for found in self.nearest_where(some, min(2, len(self)), None)
        )
        if self._is_too_dense(some, distances):
            store(xp.float64)
        elif may_round and self._can_round(some, distances, index):
            self._rows = by_blocks(lambda X: _with_squares(_round(X[:, :-1])), self._rows)
            self._is_rounded = True

    def _is_too_dense(self, some: Array, distances: Array) -> bool:
        """Whether float32 confuses neighbours: rows in clusters that are small beside the spread.

        Rounding moves half of a squared distance by some 1e-7 of the rows' squared lengths.
        """
        xp = namespace(some)
        spread = xp.mean(xp.sum((some - self.origin) ** 2, axis=1))
        quartile = xp.sort(distances)[distances.shape[0] // 4]
        return bool(quartile**2 < DENSE**2 * spread)

    def _can_round(self, some: Array, distances: Array, index: Array) -> bool:
        """Whether the distances of some rows to their neighbours hardly change."""
        xp = namespace(some)
        if not hasattr(xp, "float16") or xp.max(xp.abs(self._rows)) > LARGEST_HALF:
            return False
        rounded = _round(xp.take(self._rows[:, :-1], index, axis=0))
        change = vector_norm(self._from_origin(some) - as_float64(rounded))[:, 0] - distances
        return bool(xp.mean(change**2) <= NEGLIGIBLE**2 * xp.var(distances))

    def __getstate__(self):
        rows = to_numpy(self._rows[:, :-1])
        return {
            "origin": to_numpy(self.origin),
            "rows": rows.astype(np.float16) if self._is_rounded else rows,
        }

    def __setstate__(self, state):
        rows = state["rows"]
        self.origin = state["origin"]
        self._is_rounded = rows.dtype == np.float16
        self._rows = _with_squares(rows.astype(np.float32) if self._is_rounded else rows)

    def __len__(self) -> int:
        return self._rows.shape[0]

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """The origin (d,), float64, and the stored rows (n, d) relative to it, float32 or 64."""
        return to_numpy(self.origin), to_numpy(self._rows[:, :-1])

    def nearest(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Distances (m, k), ascending, to the k stored rows nearest to each query, and indices."""
        return self.nearest_where(queries, k, None)

    def nearest_where(
        self, queries: Array, k: int, may_compare: Comparison | None
    ) -> tuple[Array, Array]:
        """As `nearest`, among some of the stored rows.

        ``may_compare(queries, stored)`` returns a mask for a slice of both. None compares all.
        """
        relative = self._relative(queries)
        queries = self._with_ones(relative)
        xp = namespace(queries)

        def tile(rows: slice, columns: slice) -> Array:
            product = _products(queries[rows, :], self._rows[columns, :])
            if may_compare is None:
                return product
            mask = like(may_compare(rows, columns), product)
            return xp.where(mask, product, xp.full_like(product, -xp.inf))

        def measure(rows: slice, index: Array) -> Array:
            return self._distances(relative[rows, :], index)

        return largest_of_tiles(tile, measure, queries.shape[0], len(self), k, queries)

    def nearest_others(self, k: int) -> tuple[Array, Array]:
        """Distances (n, k), ascending, of each stored row to its k nearest others, and indices."""

        def tile(rows: slice, columns: slice) -> Array:
            own = self._with_ones(self._rows[rows, :-1])
            positions = np.arange(rows.start, rows.stop)
            return without_self(_products(own, self._rows[columns, :]), positions, columns)

        def measure(rows: slice, index: Array) -> Array:
            return self._distances(self._rows[rows, :-1], index)

        return largest_of_tiles(tile, measure, len(self), len(self), k, self._rows)

    def _distances(self, relative: Array, index: Array) -> Array:
        """Distances (m, k) of relative rows to stored ones, which lose no digits to a product."""
        xp = namespace(relative)
        columns = []
        for j in range(index.shape[1]):
            stored = xp.take(self._rows, index[:, j], axis=0)
            columns.append(vector_norm(as_float64(relative - stored[:, :-1])))
        return xp.concat(columns, axis=1)

    @staticmethod
    def _with_ones(rows: Array) -> Array:
        xp = namespace(rows)
        return xp.concat([rows, xp.ones_like(rows[:, :1])], axis=1)

    def _relative(self, rows: Array) -> Array:
        xp, dtype = namespace(rows), self._rows.dtype
        return by_blocks(lambda X: xp.astype(self._from_origin(X), dtype), rows)

    def _from_origin(self, rows: Array) -> Array:
        return as_float64(rows) - self.origin


def _with_squares(rows: Array) -> Array:
    """Rows y with -|y|^2 / 2 as one more column.

    Since |x - y|^2 / 2 = |x|^2 / 2 - (x.y - |y|^2 / 2), one product tells the nearest.
    """
    xp = namespace(rows)

    def extended(rows: Array) -> Array:
        squares = xp.sum(as_float64(rows) ** 2, axis=1, keepdims=True)
        return xp.concat([rows, xp.astype(-squares / 2, rows.dtype)], axis=1)

    return by_blocks(extended, rows)


def _products(queries: Array, rows: Array) -> Array:
    if queries.shape[0] == 1 and is_numpy_array(rows):
        # BLAS would wake threads for it that then get in the way of torch's
        return np.einsum("ij,j->i", rows, queries[0, :])[None, :]
    return queries @ rows.T


def _round(rows: Array) -> Array:
    """Rows as float16 holds them."""
    xp = namespace(rows)
    return xp.astype(xp.astype(rows, xp.float16), rows.dtype)


def largest_of_tiles(
    tile: Tile, measure: Measure, n_rows: int, n_columns: int, k: int, reference: Array
) -> tuple[Array, Array]:
    """The k largest values of each row of a matrix, measured again.

    Parameters
    ----------
    tile : callable
        Returns the matrix at a slice of rows and one of columns.
    measure : callable
        Returns what is wanted of a slice of rows and of k columns (n, k) for each of them.
    n_rows, n_columns : int
        Shape of the matrix.
    k : int
        At most `n_columns`.
    reference : array
        Any array of the library and device that the tiles are of.

    Returns
    -------
    measured : array (n_rows, k)
        Ascending.
    index : int array (n_rows, k)
        Columns.
    """
    xp = namespace(reference)

    def search(rows: slice) -> tuple[Array, Array]:
        best = index = None
        for columns in row_slices(n_columns, 1, TILE_COLUMNS):
            values, found = _largest(tile(rows, columns), k)
            found = found + columns.start
            if best is not None:
                values = xp.concat([best, values], axis=1)
                found = xp.concat([index, found], axis=1)
                values, found = _take_largest(values, found, k)
            best, index = values, found
        measured = measure(rows, index)
        if k == 1:
            return measured, index
        order = xp.argsort(measured, axis=1, stable=True)
        return take_along_rows(measured, order), take_along_rows(index, order)

    blocks = list(row_slices(n_rows, 1, TILE_ROWS))
    with parallel_map(blocks, reference) as run:
        measured, index = zip(*run(search, blocks), strict=True)
    return xp.concat(measured), xp.concat(index)


def _largest(tile: Array, k: int) -> tuple[Array, Array]:
    """Values and columns of the k largest entries of each row, or of all, in no order."""
    xp = namespace(tile)
    n_groups = tile.shape[1] // GROUP
    if k == 1 or n_groups <= 4 * k:
        columns = top_columns(tile, min(k, tile.shape[1]))
        return take_along_rows(tile, columns), columns
    # the k largest are in the k groups with the largest maxima, or among the last columns
    grouped = xp.reshape(tile[:, : n_groups * GROUP], (-1, GROUP, n_groups))
    groups = top_columns(xp.max(grouped, axis=1), k)
    members = xp.arange(GROUP, device=device(tile)) * n_groups
    columns = xp.reshape(groups[:, :, None] + members, (tile.shape[0], -1))
    rest = xp.arange(n_groups * GROUP, tile.shape[1], device=device(tile))
    rest = xp.broadcast_to(rest[None, :], (tile.shape[0], rest.shape[0]))
    columns = xp.concat([columns, rest], axis=1)
    return _take_largest(take_along_rows(tile, columns), columns, k)


def _take_largest(values: Array, columns: Array, k: int) -> tuple[Array, Array]:
    top = top_columns(values, min(k, values.shape[1]))
    return take_along_rows(values, top), take_along_rows(columns, top)


def without_self(tile: Array, rows: np.ndarray, columns: slice) -> Array:
    """The tile, at ascending rows, with minus infinity on the diagonal of the whole matrix."""
    if rows[0] >= columns.stop or rows[-1] < columns.start:
        return tile
    xp = namespace(tile)
    mask = rows[:, None] == np.arange(columns.start, columns.stop)
    return xp.where(like(mask, tile), xp.full_like(tile, -xp.inf), tile)


def leave_one_out(distances: Array, index: Array, own: np.ndarray) -> tuple[Array, Array]:
    """Distances (n, k) and indices of k neighbours out of k + 1.

    Without the position `own` of the row itself; where it is not among them, such as behind
    duplicates, or -1, without the furthest.
    """
    xp = namespace(index)
    is_own = index == like(own, index)[:, None]
    order = xp.argsort(xp.astype(is_own, xp.int64), axis=1, stable=True)[:, :-1]
    return take_along_rows(distances, order), take_along_rows(index, order)


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")  # looks through all that is loaded


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
                blas = _blas()
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
def parallel_map(blocks: list, reference: Array) -> Iterator[Callable]:
    """`map` over threads, as many as numpy's matrix products would otherwise use.

    So the selection runs on all cores too. Other libraries have threads of their own.
    """
    if not is_numpy_array(reference) or len(blocks) == 1:
        yield map
        return
    with _single_threaded_blas() as n_threads, ThreadPoolExecutor(n_threads) as pool:
        yield pool.map
