"""What scorers share: fitting to a block, trimming, and the score as a feature."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from .._array_api import (
    BLOCK_BYTES,
    Array,
    is_dask,
    like,
    namespace,
    row_slices,
    take_rows,
    to_numpy,
)
from .._base import OutlierDetector, atomic_fit, training_scores
from .._dask import InMemoryTransformerMixin
from .._sklearn_compat import Interval
from .._training_rows import TrainingRows
from ._block import Block
from ._chunked_rows import remote_members, score_by_remote_rows
from ._chunks import fit_chunks

MAX_TRIM_ROUNDS = 5


class Scorer(ClassNamePrefixFeaturesOutMixin, InMemoryTransformerMixin, OutlierDetector):
    """A detector that is also a transformer: its anomaly score is a feature."""

    _n_features_out = 1
    _parameter_constraints: dict = {
        **OutlierDetector._parameter_constraints,
        "trim": [Interval(Real, 0, 0.5, closed="left")],
    }

    trim: float

    @property
    def _is_trimmed(self) -> bool:
        return self.trim > 0

    def transform(self, X):
        """Anomaly score of each sample as a feature: ``-score_samples(X)``, higher for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples like those of ``fit``.

        Returns
        -------
        anomaly_scores : float64 array of shape (n_samples, 1)
        """
        return -self._checked_scores(X, "transform")[:, None]

    def _result(self, X, method):
        if is_dask(X) and remote_members(self):
            return score_by_remote_rows(self, method, X)
        return super()._result(X, method)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # scores are float64 whatever the input
        tags.array_api_support = True
        return tags


class BlockScorer(Scorer):
    """A score of the vectors of one block.

    A subclass defines ``_fit_rows(block)``, which returns leave-one-out anomaly scores, and
    ``score_block(block)``, the anomaly scores of new rows.
    """

    @atomic_fit
    def fit(self, X, y=None):
        """Fit the score to the training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), dask.array or dask.dataframe
            Mostly normal samples, at least 2 and more than `n_neighbors`.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not finite, has too few samples, or does not suit the score: no variance to
            whiten, or a mean of zero that has no direction.

        Warns
        -----
        UserWarning
            If the score is an angle and the mean direction of the training samples is noise, or if
            fewer training samples differ than 1 / `contamination`.
        """
        if is_dask(X):
            return fit_chunks(self, X)
        X = self._validate_input(X, reset=True)
        self.fit_block(Block(X))
        self._finish_fit(self.training_scores_, TrainingRows.of(X))
        return self

    def fit_block(self, block: Block) -> Array:
        """Fit to the rows of a block, and return their leave-one-out anomaly scores."""
        self._validate_params()
        rows = block.rows

        def fit_kept(kept: np.ndarray) -> Array:
            is_all = len(kept) == rows.shape[0]
            return self._fit_rows(block if is_all else Block(take_rows(rows, kept)))

        anomaly, self._kept = fit_trimmed(
            rows.shape[0],
            self.trim,
            fit_kept,
            lambda index: self.score_block(Block(take_rows(rows, index))),
        )
        self.n_features_in_ = rows.shape[1]
        self._set_threshold(-anomaly)
        return anomaly

    def score_block(self, block: Block) -> Array:
        """Anomaly scores of new rows."""
        raise NotImplementedError

    def _score_samples(self, X: Array) -> Array:
        parts = row_slices(X.shape[0], 8 * X.shape[1], BLOCK_BYTES)
        return -namespace(X).concat([self.score_block(Block(X[part, :])) for part in parts])

    def _fit_rows(self, block: Block) -> Array:
        raise NotImplementedError


def fit_trimmed(
    n_rows: int,
    trim: float,
    fit: Callable[[np.ndarray], Array],
    score: Callable[[np.ndarray], Array],
) -> tuple[Array, Array | None]:
    """Fit on rows that are kept, leaving the share `trim` of them out.

    As in the concentration steps of the minimum covariance determinant, the least anomalous rows
    are kept for the next fit, until these are the same rows.

    Parameters
    ----------
    n_rows : int
        Number of training rows.
    trim : float in [0, 0.5)
        Share of them that is left out.
    fit : callable
        Fits to the rows at some positions; returns their leave-one-out anomaly scores, (n,), or
        (n, m) for several scores that are summed.
    score : callable
        Returns the anomaly scores of the rows at other positions.

    Returns
    -------
    anomaly : array (n_rows, ...)
        Scores of all rows.
    kept : int array or None
        Positions of the rows of the last fit; None if that was of all rows.
    """
    kept = np.arange(n_rows)
    anomaly = fit(kept)
    n_kept = max(2, n_rows - round(trim * n_rows))
    for _ in range(MAX_TRIM_ROUNDS if n_kept < n_rows else 0):
        totals = to_numpy(anomaly).reshape(n_rows, -1).sum(axis=1)
        best = np.sort(np.argsort(totals, kind="stable")[:n_kept])
        if np.array_equal(best, kept):
            break
        kept, left_out = best, np.setdiff1d(np.arange(n_rows), best)
        anomaly, xp = fit(kept), namespace(anomaly)
        order = like(np.argsort(np.concatenate([kept, left_out])), anomaly)
        anomaly = xp.take(xp.concat([anomaly, score(left_out)]), order, axis=0)
    return anomaly, None if len(kept) == n_rows else like(kept, anomaly)


def positions_in(kept: Array | None, index: Array) -> Array:
    """Positions in X of rows by their positions, an array of any shape, among those kept."""
    if kept is None:
        return index
    xp = namespace(index)
    return xp.reshape(xp.take(kept, xp.reshape(index, (-1,))), index.shape)


def fit_to_block(scorer: Any, block: Block) -> Array:
    """Fit any outlier detector to a block; leave-one-out anomaly scores of its rows."""
    if isinstance(scorer, BlockScorer):
        return scorer.fit_block(block)
    rows = to_numpy(block.rows)
    if isinstance(scorer, FrozenEstimator):
        check_is_fitted(scorer)
    else:
        scorer.fit(rows)
    return -like(training_scores(scorer, rows), block.rows)


def score_block(scorer: Any, block: Block) -> Array:
    """Anomaly scores of a block's rows, float64."""
    if isinstance(scorer, BlockScorer):
        return scorer.score_block(block)
    scores = np.asarray(scorer.score_samples(to_numpy(block.rows)), dtype=np.float64)
    return -like(scores, block.rows)
