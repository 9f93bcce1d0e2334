"""What the scorers share: they are transformers too, and can trim their training samples."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from .._array_api import Array, like, namespace, to_numpy
from .._base import OutlierDetector, atomic_fit
from .._sklearn_compat import Interval
from .._training_rows import TrainingRows, replace_known

MAX_TRIM_ROUNDS = 5


class Scorer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierDetector):
    """A detector that is also a transformer: its anomaly score is a feature.

    A subclass defines ``_fit_rows(X, known)``, which returns leave-one-out scores, and
    ``_score_rows(X)``, the scores of new samples. After fit, ``_known`` and ``_row_scores`` are
    about the rows that were not trimmed, ``_kept`` tells where in X these are.
    """

    _n_features_out = 1
    _parameter_constraints: dict = {
        **OutlierDetector._parameter_constraints,
        "trim": [Interval(Real, 0, 0.5, closed="left")],
    }

    trim: float

    @atomic_fit
    def fit(self, X, y=None):
        """Fit the scores to the training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Mostly normal samples, at least 2 and more than any number of neighbours asked for.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not finite, has too few samples, or does not suit the score: no variance to
            whiten, a mean of zero that has no direction, groups without columns.
        """
        X = self._validate_input(X, reset=True)
        # a copy, since scores are computed from these rows when X may have changed
        self._fit_validated(namespace(X).asarray(X, copy=True))
        return self

    def transform(self, X):
        """The paper's score as a feature: ``-score_samples(X)``, higher for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples like those of ``fit``.

        Returns
        -------
        anomaly_scores : float64 array of shape (n_samples, 1)
        """
        return -self._checked_scores(X, "transform")[:, None]

    def _fit_validated(self, X: Any, known: Any = None) -> None:
        """Fit on rows that are kept, leaving the share `trim` of them out.

        As for the concentration steps of the minimum covariance determinant, the rows with the
        highest scores are kept for the next fit, until these are the same rows.
        """
        known = self._fingerprint(X) if known is None else known
        self._known, self._row_scores = known, self._fit_rows(X, known)
        scores = self._row_scores
        n_rows = scores.shape[0]
        n_kept = n_rows - int(self.trim * n_rows)
        previous: np.ndarray | None = None
        for _ in range(MAX_TRIM_ROUNDS if n_kept < n_rows else 0):
            kept = np.sort(np.argsort(-to_numpy(scores), kind="stable")[:n_kept])
            if previous is not None and np.array_equal(kept, previous):
                break
            previous = kept
            self._known = self._subset(known, kept)
            self._row_scores = self._fit_rows(self._take_rows(X, kept), self._known)
            is_kept = np.isin(np.arange(n_rows), kept)
            left_out = self._take_rows(X, np.flatnonzero(~is_kept))
            scores = _interleave(self._row_scores, self._recall_rows(left_out), is_kept)
        # positions of the fitted rows in X; None if all were
        self._kept = None if previous is None else like(previous, scores)
        self._finish_fit(scores)

    def _score_samples(self, X: Array) -> Array:
        return self._recall_rows(X)

    def _recall_rows(self, X: Any) -> Array:
        """Scores of rows, which for fitted ones are leave-one-out."""
        return replace_known(self._known.find(X), self._score_rows(X), self._row_scores)

    def _fit_rows(self, X: Any, known: Any) -> Array:
        raise NotImplementedError

    def _score_rows(self, X: Any) -> Array:
        raise NotImplementedError

    # rows are those of one array, but for the ensemble

    _fingerprint = staticmethod(TrainingRows.of)

    @staticmethod
    def _subset(known: Any, index: np.ndarray) -> Any:
        return known.subset(index)

    @staticmethod
    def _take_rows(X: Any, index: np.ndarray) -> Any:
        return namespace(X).take(X, like(index, X), axis=0)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # scores are float64 whatever the input
        tags.array_api_support = True
        return tags


def _interleave(where_true: Array, where_false: Array, mask: np.ndarray) -> Array:
    """One array whose entries come, in order, from two, as the mask says."""
    xp = namespace(where_true)
    order = np.argsort(np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)]))
    return xp.take(xp.concat([where_true, where_false]), like(order, where_true))
