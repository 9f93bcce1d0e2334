"""Approximate nearest rows in large training sets, with faiss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._array_api import Array, as_float64, like, namespace, take_along_rows, take_rows, to_numpy
from .._nearest_rows import NearestRows, leave_one_out

MIN_ROWS_PER_LIST = 39  # faiss's k-means wants no fewer
TRAINING_ROWS_PER_LIST = 64
N_PROBES = 32  # lists that are searched; their number grows with the square root of n


def import_faiss():
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "index='faiss' needs faiss: pip install 'skanomaly[faiss]', or pass index='exact'"
        ) from error
    return faiss


class FaissRows(NearestRows):
    """`NearestRows` whose search looks into an inverted file index, and may miss a nearest row."""

    def __init__(
        self,
        rows: Array,
        transform: Callable[[Array], Array] = as_float64,
        may_round: bool = False,
    ):
        import_faiss()
        super().__init__(rows, transform, may_round)
        self._index = _build_index(self._vectors())

    def __getstate__(self):
        centroids = self._index.quantizer.reconstruct_n(0, self._index.nlist)
        return {**super().__getstate__(), "centroids": centroids}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._index = _build_index(self._vectors(), state["centroids"])

    def _vectors(self) -> np.ndarray:
        return np.ascontiguousarray(to_numpy(self._rows[:, :-1]), dtype=np.float32)

    def nearest(self, queries: Array, k: int) -> tuple[Array, Array]:
        return self._measured(self._relative(queries), k)

    def nearest_others(self, k: int) -> tuple[Array, Array]:
        return leave_one_out(*self._measured(self._rows[:, :-1], k + 1), np.arange(len(self)))

    def _measured(self, relative: Array, k: int) -> tuple[Array, Array]:
        _, found = self._index.search(np.ascontiguousarray(to_numpy(relative), dtype=np.float32), k)
        # where the lists that were looked into held too few, all rows are
        (short,) = np.nonzero((found < 0).any(axis=1))
        if len(short):
            some = take_rows(relative, short)
            found[short] = to_numpy(super().nearest(as_float64(some) + self.origin, k)[1])
        index = like(found, relative)
        distances = self._distances(relative, index)
        order = namespace(index).argsort(distances, axis=1, stable=True)
        return take_along_rows(distances, order), take_along_rows(index, order)


def _build_index(rows: np.ndarray, centroids: np.ndarray | None = None):
    """An index of the rows, in lists around some centroids or around those that are found."""
    faiss = import_faiss()
    n_rows, n_features = rows.shape
    n_lists = max(1, min(int(n_rows**0.5), n_rows // MIN_ROWS_PER_LIST))
    quantizer = faiss.IndexFlatL2(n_features)
    if centroids is not None:
        n_lists = len(centroids)
        quantizer.add(centroids)  # which faiss then keeps
    index = faiss.IndexIVFFlat(quantizer, n_features, n_lists, faiss.METRIC_L2)
    index.own_fields = True
    quantizer.this.disown()
    # for very few rows faiss prints that it would like more
    index.cp.min_points_per_centroid = 1
    sample = np.random.default_rng(0).permutation(n_rows)[: n_lists * TRAINING_ROWS_PER_LIST]
    index.train(rows[sample])
    index.add(rows)
    index.nprobe = min(n_lists, N_PROBES)
    return index
