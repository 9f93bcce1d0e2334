"""Nearest rows of few columns, by a tree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.neighbors import KDTree

from .._array_api import as_float64, by_blocks, is_numpy_array, row_slices
from .._nearest_rows import leave_one_out, parallel_map

# up to which a tree is faster on correlated columns by far, and on independent ones not much slower
MAX_COLUMNS = 10
QUERY_ROWS = 1_000  # that a thread looks up at once


def suit_a_tree(rows: np.ndarray) -> bool:
    """Whether a tree finds the nearest of such rows sooner than a matrix product."""
    return is_numpy_array(rows) and rows.shape[1] <= MAX_COLUMNS


class TreeRows:
    """The searches of `NearestRows`, with its parameters, by scikit-learn's k-d tree in float64."""

    def __init__(self, rows: np.ndarray, transform: Callable = as_float64):
        self._tree = KDTree(by_blocks(transform, rows))

    def __getstate__(self):
        return {"rows": np.asarray(self._tree.data)}

    def __setstate__(self, state):
        self._tree = KDTree(state["rows"])

    def __len__(self) -> int:
        return len(self._tree.data)

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """An origin, which is zero, and the stored rows, as of `NearestRows`."""
        rows = np.asarray(self._tree.data)
        return np.zeros(rows.shape[1]), rows

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances (m, k), ascending, to the k stored rows nearest to each query, and indices."""
        parts = list(row_slices(len(queries), 1, QUERY_ROWS))
        with parallel_map(parts, queries) as run:
            found = run(lambda part: self._tree.query(queries[part], k), parts)
            distances, indices = zip(*found, strict=True)
        return np.concatenate(distances), np.concatenate(indices)

    def nearest_others(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances (n, k), ascending, of each stored row to its k nearest others, and indices."""
        found = self.nearest(np.asarray(self._tree.data), k + 1)
        return leave_one_out(*found, np.arange(len(self)))
