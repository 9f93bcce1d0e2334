"""Scores by the nearest training samples."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._array_api import Array, namespace
from .._nearest_rows import NearestRows, leave_one_out
from .._sklearn_compat import Interval, StrOptions
from ._block import Block
from ._block_scorer import BlockScorer, positions_in
from ._trees import TreeRows, suit_a_tree


class NeighborScorer(BlockScorer):
    """Mean distance to the k nearest training samples.

    A subclass defines ``_fit_space(block)``; ``_coordinates(block)``, and ``_vectors(rows)``, which
    makes of them, some at a time, the vectors that are compared; and ``_from_euclidean``, what
    their Euclidean distances mean.
    """

    _parameter_constraints: dict = {
        **BlockScorer._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "index": [StrOptions({"exact", "faiss"})],
    }

    n_neighbors: int
    index: str
    aggregation: str = "mean"
    _neighbors: Any  # NearestRows, or what has its method `nearest`

    def kneighbors(self, X):
        """Distances to the nearest training samples, and their positions.

        A sample that is a training sample is not its own neighbour.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples like those of ``fit``.

        Returns
        -------
        distances : float64 array of shape (n_samples, n_neighbors)
            Ascending: angles in radians, or Euclidean distances in standard deviations.
        indices : int array of shape (n_samples, n_neighbors)
            Positions in the X of ``fit``.
        """
        X = self._check_input(X, "kneighbors")
        return self.neighbors_of(X, self._find_known(X))

    def neighbors_of(self, X: Array, own: np.ndarray) -> tuple[Array, Array]:
        """As `kneighbors`, of validated samples; `own` is the training sample each is, or -1."""
        return self.explain_block(Block(X), own)[1]

    def explain_block(self, block: Block, own: np.ndarray) -> tuple[Array, tuple[Array, Array]]:
        """Anomaly scores of a block's rows as if they were new, and their `neighbors_of`."""
        vectors = self._vectors(self._coordinates(block))
        distances, indices = self._neighbors.nearest(vectors, self.n_neighbors + 1)
        distances = self._from_euclidean(distances)
        neighbors = leave_one_out(distances, positions_in(self._kept, indices), own)
        return self._aggregate(distances[:, :-1]), neighbors

    def nearest_samples(self, X: Array, own: np.ndarray) -> Array:
        """Position of the training sample nearest to each validated one; `own` as above."""
        return self.neighbors_of(X, own)[1][:, 0]

    def stored_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """An origin (d,) in float64 and the training vectors (n, d) relative to it."""
        return self._neighbors.stored()

    def _fit_rows(self, block: Block) -> Array:
        n_samples = block.rows.shape[0]
        if self.n_neighbors >= n_samples:
            raise ValueError(
                f"n_neighbors={self.n_neighbors} needs more than {n_samples} samples; "
                f"pass at most {n_samples - 1}"
            )
        self._fit_space(block)
        self._neighbors = self._make_index(block)
        return self._aggregate(self._leave_one_out(block))

    def _make_index(self, block: Block) -> NearestRows | TreeRows:
        rows = self._coordinates(block)
        if self.index == "exact" and suit_a_tree(rows):
            return TreeRows(rows, self._vectors)
        may_round = block.rows.dtype == namespace(block.rows).float32
        if self.index == "exact":
            return NearestRows(rows, self._vectors, may_round)
        from ._faiss import FaissRows

        return FaissRows(rows, self._vectors, may_round)

    def _leave_one_out(self, block: Block) -> Array:
        """Distances (n, k) of the training rows to the nearest others."""
        return self._from_euclidean(self._neighbors.nearest_others(self.n_neighbors)[0])

    def _distances_in_part(
        self, block: Block, part: Block | None, index: NearestRows, k: int, n_samples: int
    ) -> Array:
        """Distances (m, k) of some training rows to the nearest ones of a part of all n.

        `index` is that of the part; None is the block itself, whose rows are left out.
        """
        if part is None:
            return self._from_euclidean(index.nearest_others(k)[0])
        return self._from_euclidean(index.nearest(self._vectors(self._coordinates(block)), k)[0])

    def compute(self):
        """A copy whose training samples are in memory, after a fit to a Dask array.

        Returns
        -------
        detector : estimator
            Itself, if they are in memory already.
        """
        check_is_fitted(self)
        if not getattr(self._neighbors, "is_remote", False):
            return self
        computed = copy.copy(self)
        computed._neighbors = self._neighbors.compute()
        return computed

    def score_block(self, block: Block) -> Array:
        """Distances of new rows to the nearest training rows, aggregated."""
        vectors = self._vectors(self._coordinates(block))
        distances, _ = self._neighbors.nearest(vectors, self.n_neighbors)
        return self._aggregate(self._from_euclidean(distances))

    def _aggregate(self, distances: Array) -> Array:
        xp = namespace(distances)
        combine = xp.max if self.aggregation == "largest" else xp.mean
        return combine(distances, axis=1)

    def _fit_space(self, block: Block) -> None:
        raise NotImplementedError

    def _coordinates(self, block: Block) -> Array:
        return block.rows

    def _vectors(self, rows: Array) -> Array:
        raise NotImplementedError

    def _from_euclidean(self, distances: Array) -> Array:
        raise NotImplementedError
