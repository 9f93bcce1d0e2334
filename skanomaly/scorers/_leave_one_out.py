"""Scores of the training rows as if each of them had been left out."""

from __future__ import annotations

import numpy as np

from ._neighbors import BLOCK_BYTES, SPARE_CANDIDATES, angle


class LeaveOneOutMetric:
    """The whitened space without one row: what S^(-1/2) becomes when row i is left out of S.

    Without row i the covariance loses a multiple of d_i d_i^T, where d_i is the row's deviation
    from the mean. By Sherman and Morrison's formula this changes inner products of whitened
    vectors to ``v.w + gain_i (d_i.v) (d_i.w)``, which is what stretching each vector to
    ``v + stretch_i (d_i.v) d_i`` does. The amount of shrinkage is kept.

    Without this, rows look more anomalous than new rows of the same distribution, the more so the
    fewer there are per dimension: each has raised the variance in its own direction.

    Parameters
    ----------
    whitened : float64 array (n, r)
        All training rows, whitened.
    weight : float
        Of the empirical covariance in the shrunk one, 1 - shrinkage.
    center : bool
        Whether the mean was subtracted: without row i it is d_i / (n - 1) lower.
    """

    def __init__(self, whitened: np.ndarray, weight: float, center: bool = False):
        self.shift = 1 / (len(whitened) - 1) if center else 0.0
        mean = np.zeros(whitened.shape[1]) if center else whitened.mean(axis=0)
        self.along_mean = whitened @ mean
        self.squared_norms = np.einsum("ij,ij->i", whitened, whitened)
        self.is_zero = np.all(whitened == 0, axis=1)
        self.deviations = whitened - mean
        squared_deviations = np.einsum("ij,ij->i", self.deviations, self.deviations)
        share = weight / (len(whitened) - 1)
        # a row with a direction of its own has no variance there without it
        remaining = np.maximum(1 - share * squared_deviations, 1e-9)
        self.gain = share / remaining
        self.stretch_factor = (remaining**-0.5 - 1) / np.maximum(squared_deviations, 1e-300)

    def stretch(self, vectors: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
        """Vector i in the space without row `rows[i]`."""
        deviations = self.deviations[rows]
        along = np.einsum("ij,ij->i", deviations, vectors) * self.stretch_factor[rows]
        return vectors + along[:, None] * deviations


def leave_one_out_angles(
    whitened: np.ndarray, n_neighbors: int, metric: LeaveOneOutMetric
) -> np.ndarray:
    """Angles (n, k), ascending, of each row to its k nearest others, in the metric without it.

    Parameters
    ----------
    whitened : float64 array (n, r)
        The rows that `metric` was made of.
    n_neighbors : int
        k, less than n.
    metric : LeaveOneOutMetric
    """
    n_rows = len(whitened)
    block = max(1, BLOCK_BYTES // (3 * whitened.itemsize * n_rows))
    n_candidates = min(n_neighbors + SPARE_CANDIDATES, n_rows - 1)
    parts = []
    for start in range(0, n_rows, block):
        chosen = slice(start, min(start + block, n_rows))
        similarity = _similarities(whitened, chosen, metric)
        similarity[np.arange(len(similarity)), np.arange(start, chosen.stop)] = -np.inf
        candidates = np.argpartition(similarity, -n_candidates, axis=1)[:, -n_candidates:]
        own = metric.stretch(whitened[chosen], chosen)
        shift = metric.shift * metric.deviations[chosen]
        others = (metric.stretch(whitened[rows] + shift, chosen) for rows in candidates.T)
        angles = np.stack([angle(own, other) for other in others], axis=1)
        parts.append(np.sort(angles, axis=1)[:, :n_neighbors])
    return np.concatenate(parts)


def _similarities(whitened: np.ndarray, chosen: slice, metric: LeaveOneOutMetric) -> np.ndarray:
    """Cosines of the chosen rows with all rows, up to a factor for each chosen row."""
    deviations, gain = metric.deviations[chosen], metric.gain[chosen, None]
    own = np.einsum("ij,ij->i", deviations, whitened[chosen])[:, None]
    product = whitened[chosen] @ whitened.T
    along = product - metric.along_mean  # deviations' products with all rows
    squared_norms = metric.squared_norms + 2 * metric.shift * along
    shift = metric.shift * np.einsum("ij,ij->i", deviations, deviations)[:, None]
    along += shift
    squared_norms += metric.shift * shift + gain * along**2
    product += metric.shift * own + gain * own * along
    product /= np.sqrt(np.maximum(squared_norms, 1e-300))
    product[np.ix_(metric.is_zero[chosen], metric.is_zero)] = (
        np.inf
    )  # zero vectors are at 0 from one another
    return product
