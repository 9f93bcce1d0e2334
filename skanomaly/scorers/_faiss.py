"""Approximate nearest neighbours by angle for large training sets, with faiss."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._array_api import Array, like, namespace, to_numpy
from ._neighbors import AngularNeighbors, PlainMetric
from ._search import Metric, nearest_of_pairs

N_CANDIDATES = 8  # beyond the neighbours asked for, whose exact angles are computed
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


class FaissNeighbors(AngularNeighbors):
    """`AngularNeighbors` whose candidates come from an inverted file index.

    The index may miss a nearest row; the angles of those that it finds are exact.
    """

    def __init__(self, rows: Array, transformation: Any = None):
        import_faiss()
        super().__init__(rows, transformation)
        self._index = _build_index(to_numpy(self.search_units(slice(None), _float32(rows))))
        self.units = None  # the index holds them

    def __getstate__(self):
        index = import_faiss().serialize_index(self._index)
        return {**super().__getstate__(), "_index": index}

    def __setstate__(self, state):
        vars(self).update(state)
        self._index = import_faiss().deserialize_index(self._index)

    def _search(self, units: Array, k: int) -> tuple[Array, Array]:
        return self._best_candidates(PlainMetric(self, units), units, k, skip_self=False)

    def _search_in(self, metric: Metric, k: int) -> tuple[Array, Array]:
        units = self.search_units(slice(None), _float32(self.rows))
        return self._best_candidates(metric, units, k, skip_self=True)

    def _best_candidates(
        self, metric: Metric, units: Array, k: int, skip_self: bool
    ) -> tuple[Array, Array]:
        n_candidates = min(k + skip_self + N_CANDIDATES, self._index.ntotal)
        queries = np.ascontiguousarray(to_numpy(units), dtype=np.float32)
        _, found = self._index.search(queries, n_candidates)
        own = np.arange(len(found))[:, None]
        counts = (found >= 0) & ~(skip_self & (found == own))
        # where the lists that were looked into held too few, all rows are candidates; and for zero
        # vectors, which have no list
        short = np.flatnonzero((counts.sum(axis=1) < k) | ~queries.any(axis=1))
        rows, columns = np.nonzero(counts)
        columns = found[rows, columns]
        if len(short):
            is_whole = ~np.isin(rows, short)
            every = np.tile(np.arange(self._index.ntotal), len(short))
            row = np.repeat(short, self._index.ntotal)
            other = ~(skip_self & (every == row))
            rows = np.concatenate([rows[is_whole], row[other]])
            columns = np.concatenate([columns[is_whole], every[other]])
        return nearest_of_pairs(metric, like(rows, units), like(columns, units), len(found), k)


def _float32(X: Array) -> Any:
    return namespace(X).float32


def _build_index(units: np.ndarray):
    faiss = import_faiss()
    n_rows, n_features = units.shape
    n_lists = max(1, min(int(n_rows**0.5), n_rows // MIN_ROWS_PER_LIST))
    quantizer = faiss.IndexFlatIP(n_features)
    index = faiss.IndexIVFFlat(quantizer, n_features, n_lists, faiss.METRIC_INNER_PRODUCT)
    index.own_fields = True
    quantizer.this.disown()
    # for very few rows faiss prints that it would like more
    index.cp.min_points_per_centroid = 1
    sample = np.random.default_rng(0).permutation(n_rows)[: n_lists * TRAINING_ROWS_PER_LIST]
    index.train(units[sample])
    index.add(units)
    index.nprobe = min(n_lists, N_PROBES)
    return index
