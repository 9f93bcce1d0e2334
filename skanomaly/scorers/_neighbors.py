"""Exact nearest neighbours by angle, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np

BLOCK_BYTES = 64 * 2**20  # of similarities held at once
SPARE_CANDIDATES = 4  # looked at beyond the neighbours asked for


def scale_rows(X: np.ndarray) -> np.ndarray:
    """Rows times the power of two that brings their largest entry into [0.5, 1).

    This rounds nothing, and norms can no longer overflow or vanish.
    """
    _, exponent = np.frexp(np.abs(X).max(axis=1, keepdims=True))
    return np.ldexp(X, -exponent)


def angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Angle in radians, in [0, pi], between vectors along the last axis (Kahan's formula).

    Accurate to rounding for near-duplicates and near-opposites alike, where the arccos of the
    cosine loses half of the digits. A zero vector is at pi / 2 from all others and at 0 from
    another zero vector.
    """
    u, v = (w * _inverse(np.linalg.norm(w, axis=-1, keepdims=True)) for w in (u, v))
    return 2 * np.arctan2(np.linalg.norm(u - v, axis=-1), np.linalg.norm(u + v, axis=-1))


def _inverse(norms: np.ndarray) -> np.ndarray:
    """1 / norms, and 0 for the norm of a zero vector."""
    return np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)


class AngularNeighbors:
    """Angles to the nearest rows among `reference`.

    Candidates come from one matrix product in the dtype of the rows; their angles are then
    computed in float64. Where more rows than were looked at could be the nearest within rounding,
    all of these are.

    Parameters
    ----------
    reference : float32 or float64 array (n, d)
        Rows that are finite.
    """

    def __init__(self, reference: np.ndarray):
        self.reference = scale_rows(reference)
        self.inverse_norms = _inverse(np.linalg.norm(self.reference, axis=1))

    def nearest(self, queries: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """Angles (m, k), ascending, and indices (m, k) of the k nearest reference rows.

        Parameters
        ----------
        queries : float32 or float64 array (m, d)
            Rows that are finite.
        n_neighbors : int
            k, at most n.
        """
        block = max(1, BLOCK_BYTES // (self.reference.itemsize * len(self.reference)))
        parts = [
            self._nearest_in_block(scale_rows(queries[start : start + block]), n_neighbors)
            for start in range(0, len(queries), block)
        ]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def leave_one_out(self, n_neighbors: int) -> np.ndarray:
        """Angles (n, k), ascending, of each reference row to its k nearest others."""
        angles, indices = self.nearest(self.reference, n_neighbors + 1)
        is_self = indices == np.arange(len(angles))[:, None]
        is_self[~is_self.any(axis=1), -1] = True  # more than k duplicates: drop any of them
        return angles[~is_self].reshape(-1, n_neighbors)

    def _nearest_in_block(
        self, queries: np.ndarray, n_neighbors: int
    ) -> tuple[np.ndarray, np.ndarray]:
        n_reference, n_features = self.reference.shape
        n_candidates = min(n_neighbors + SPARE_CANDIDATES, n_reference)
        similarity = queries.astype(self.reference.dtype, copy=False) @ self.reference.T
        similarity *= self.inverse_norms
        candidates = np.argpartition(similarity, -n_candidates, axis=1)[:, -n_candidates:]
        angles, indices = self._nearest_among(candidates, queries, n_neighbors)
        if n_candidates < n_reference:
            worst = np.take_along_axis(similarity, candidates, axis=1).min(axis=1)
            worst = worst * _inverse(np.linalg.norm(queries, axis=1))
            # far above the rounding errors of a product of unit vectors
            rounding = 8 * np.finfo(similarity.dtype).eps * np.sqrt(n_features)
            furthest = np.cos(angles[:, -1])
            least = (furthest - rounding) * np.linalg.norm(queries, axis=1)
            for row in np.flatnonzero(furthest - worst < rounding):
                tied = np.flatnonzero(similarity[row] >= least[row])[None]
                angles[row], indices[row] = self._nearest_among(
                    tied, queries[row : row + 1], n_neighbors
                )
        return angles, indices

    def _nearest_among(
        self, candidates: np.ndarray, queries: np.ndarray, n_neighbors: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The nearest of the candidates (m, c), by angles in float64."""
        queries = queries.astype(np.float64)
        if len(queries) == 1:
            angles = angle(queries, self.reference[candidates[0]].astype(np.float64))[None]
        else:
            rows = (self.reference[column].astype(np.float64) for column in candidates.T)
            angles = np.stack([angle(queries, other) for other in rows], axis=1)
        order = np.argsort(angles, axis=1, kind="stable")[:, :n_neighbors]
        return np.take_along_axis(angles, order, 1), np.take_along_axis(candidates, order, 1)
