"""What every detector shares: sign, threshold and parameter validation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._training_rows import TrainingRows
from .inputs import check_table

AUTO_CONTAMINATION = 0.05


def atomic_fit(fit: Callable) -> Callable:
    """Check the parameters first; a fit that fails leaves the estimator as it was."""

    @functools.wraps(fit)
    def wrapper(self: Any, X: Any, y: Any = None) -> Any:
        self._validate_params()
        before = vars(self).copy()
        try:
            return fit(self, X, y)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return wrapper


class OutlierDetector(OutlierMixin, BaseEstimator):
    """Base class of the detectors.

    A subclass defines ``fit``, which ends with ``_finish_fit(X, training_scores)``, and
    ``_score_samples`` for input that is validated already. Higher scores mean more normal, as
    everywhere in scikit-learn; the papers' scores are the negative of ours.
    """

    _parameter_constraints: dict = {
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
    }

    contamination: str | float
    offset_: float
    training_scores_: np.ndarray
    _training_rows: TrainingRows

    def score_samples(self, X):
        """Score of each sample; higher is more normal.

        A sample that is identical to a training sample gets that one's leave-one-out score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples like those of ``fit``.

        Returns
        -------
        scores : float64 array of shape (n_samples,)

        Raises
        ------
        ValueError
            If X is not what was fitted, or has values that are not finite.
        """
        check_is_fitted(self)
        X = self._validate_input(X, reset=False)
        return self._training_rows.recall(X, self._score_samples(X), self.training_scores_)

    def decision_function(self, X):
        """``score_samples(X) - offset_``: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples like those of ``fit``.

        Returns
        -------
        decision : float64 array of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Label of each sample: +1 for normal, -1 for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples like those of ``fit``.

        Returns
        -------
        labels : int array of shape (n_samples,)
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _score_samples(self, X: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _validate_input(self, X, *, reset: bool) -> np.ndarray:
        """X as a finite float matrix; `reset` records its width and column names."""
        return check_table(self, X, reset=reset)

    def _finish_fit(self, X: np.ndarray, training_scores: np.ndarray) -> None:
        """Keep the scores of the training samples X, and put `contamination` of them below zero."""
        rate = self.contamination if isinstance(self.contamination, Real) else AUTO_CONTAMINATION
        self.training_scores_ = training_scores
        self.offset_ = float(np.percentile(training_scores, 100.0 * float(rate)))
        self._training_rows = TrainingRows(X)


def training_scores(detector: Any, X: Any) -> np.ndarray:
    """``score_samples`` of the samples X that the detector was fitted on."""
    for name in ("training_scores_", "negative_outlier_factor_"):  # ours, LocalOutlierFactor's
        if hasattr(detector, name):
            return getattr(detector, name)
    return detector.score_samples(X)
