"""What every detector shares: sign, threshold and parameter validation."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from ._array_api import Array, device, is_dask, is_same_kind, namespace, numpy_state, to_numpy
from ._dask import map_chunks
from ._sklearn_compat import Interval, StrOptions
from ._training_rows import TrainingRows, replace_known
from ._validation import check_table, read_samples
from .saving import SavableMixin

AUTO_CONTAMINATION = 0.05
N_FOLDS = 5  # for the training scores of third-party detectors


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


class OutlierDetector(SavableMixin, OutlierMixin, BaseEstimator):
    """Base class of the detectors.

    A subclass defines ``fit``, which ends with ``_finish_fit(training_scores, known)``, and
    ``_score_samples`` for validated samples, which takes them all for new ones. Higher scores mean
    more normal, as everywhere in scikit-learn; the papers' scores are the negative of ours.
    """

    _parameter_constraints: dict = {
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
    }

    contamination: str | float
    offset_: float
    training_scores_: Array
    _known: TrainingRows | None = None  # a part of an ensemble leaves them to it

    def score_samples(self, X):
        """Score of each sample; higher is more normal.

        A sample that is identical to a training sample gets that one's training score, for which
        it was left out.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or Dask collection
            Samples like those of ``fit``.

        Returns
        -------
        scores : float64 array of shape (n_samples,)
            For a ``dask.array``, a ``dask.dataframe`` or a ``dask.bag`` of paths a lazy one, with
            the same chunks: an array, a series or a bag.

        Raises
        ------
        ValueError
            If X is not what was fitted, or has values that are not finite.
        """
        return self._result(X, "score_samples")

    def decision_function(self, X):
        """``score_samples(X) - offset_``: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or Dask collection
            Samples like those of ``fit``.

        Returns
        -------
        decision : float64 array of shape (n_samples,)
        """
        return self._result(X, "decision_function")

    def predict(self, X):
        """Label of each sample: +1 for normal, -1 for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or Dask collection
            Samples like those of ``fit``.

        Returns
        -------
        labels : int array of shape (n_samples,)
        """
        return self._result(X, "predict")

    def p_values(self, X):
        """Conformal p-value of each sample; small for outliers.

        The share of training samples that score no higher, the sample itself counted in:
        ``(1 + #{training_scores_ <= score}) / (1 + n_training)``. For new samples of the
        distribution of the training samples, ``P(p <= t) <= t`` up to how much a leave-one-out
        score differs from that of a new sample. With ``scipy.stats.false_discovery_control``, the
        samples that remain below a level q are outliers but for a share of q. No anomalies are
        needed; the least p-value is 1 / (1 + n_training).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), images, or Dask collection
            Samples like those of ``fit``.

        Returns
        -------
        p_values : float64 array of shape (n_samples,)
            In (0, 1].

        Raises
        ------
        ValueError
            If X is not what was fitted, or has values that are not finite.

        Warns
        -----
        UserWarning
            If the most anomalous training samples were left out of the fit, by `trim`: p-values of
            new samples are then too small, since those that were kept fit too well.
        """
        check_is_fitted(self)
        self._warn_if_trimmed()
        return self._result(X, "p_values")

    def predict_frame(self, X):
        """A table of scores, p-values, labels and nearest training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Samples like those of ``fit``.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each sample, with the index of X if that is a DataFrame. Its columns are
            ``path``, the file, if X comes from files; ``score``, as ``score_samples``;
            ``p_value``, as ``p_values``; ``label``, as ``predict``; and, from detectors that
            search nearest training samples, ``nearest``: the position in the X of ``fit`` of the
            nearest one, or its file if X came from files. An ensemble takes the one that most of
            its members find.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError("predict_frame needs pandas: pip install pandas") from error
        check_is_fitted(self)
        self._warn_if_trimmed()
        X = read_samples(self, X, reset=False)
        checked = self._check_input(X, "predict_frame")
        known = self._find_known(checked)
        scores, nearest = self._scores_and_nearest(checked, known)
        scores = replace_known(known, scores, self.training_scores_)
        index = X.index if isinstance(X, DataFrame) else None
        columns = {
            "score": to_numpy(scores),
            "p_value": to_numpy(self._p_values(scores)),
            "label": to_numpy(self._labels(scores)),
        }
        if getattr(X, "paths", None) is not None:
            columns = {"path": X.paths, **columns}
        if nearest is not None:
            paths = getattr(self, "training_paths_", None)
            nearest = to_numpy(nearest)
            columns["nearest"] = nearest if paths is None else np.array(paths, object)[nearest]
        return DataFrame(columns, index=index)

    def _scores_and_nearest(self, X: Array, known: np.ndarray) -> tuple[Array, Array | None]:
        """Scores of validated samples as if they were new, and their nearest training samples.

        `known` tells which training sample each of them is, or -1.
        """
        nearest = self.nearest_samples(X, known) if hasattr(self, "nearest_samples") else None
        return self._score_samples(X), nearest

    def _result(self, X, method: str):
        """What the public method of that name returns; lazy for a Dask collection."""
        if is_dask(X):
            return map_chunks(self, method, X)
        scores = self._checked_scores(X, method)
        if method == "score_samples":
            return scores
        if method == "decision_function":
            return scores - self.offset_
        return self._labels(scores) if method == "predict" else self._p_values(scores)

    def _labels(self, scores: Array) -> Array:
        xp = namespace(scores)
        return 1 - 2 * xp.astype(scores < self.offset_, xp.int64)

    def _warn_if_trimmed(self) -> None:
        if self._is_trimmed:
            warnings.warn(
                "p-values are too small after a fit with trim, which leaves the most anomalous "
                "training samples out; fit with trim=0 for p-values that hold",
                UserWarning,
                stacklevel=3,
            )

    def _p_values(self, scores: Array) -> Array:
        xp = namespace(scores)
        n_below = xp.searchsorted(xp.sort(self.training_scores_), scores, side="right")
        return xp.astype(1 + n_below, xp.float64) / (1 + self.training_scores_.shape[0])

    def _checked_scores(self, X, method: str) -> Array:
        """Scores of input from the user, to the public method of that name."""
        X = self._check_input(X, method)
        return replace_known(self._find_known(X), self._score_samples(X), self.training_scores_)

    def _find_known(self, X: Array) -> np.ndarray:
        """Which training sample each validated sample is, or -1."""
        n_samples = (next(iter(X.values())) if isinstance(X, dict) else X).shape[0]
        return np.full(n_samples, -1) if self._known is None else self._known.find(X)

    def _check_input(self, X, method: str) -> Array:
        check_is_fitted(self)
        X = self._validate_input(X, reset=False)
        block = next(iter(X.values())) if isinstance(X, dict) else X
        if not is_same_kind(block, self.training_scores_):
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace "
                f"and the same device as those passed to fit(): {_describe(self.training_scores_)}"
                f", not {_describe(block)}. Convert them, or fit again"
            )
        return X

    def _score_samples(self, X: Array) -> Array:
        """Scores of validated samples as if they were new."""
        raise NotImplementedError

    def _validate_input(self, X, *, reset: bool) -> Array:
        """X as a finite float matrix; `reset` records its width and column names."""
        return check_table(self, X, reset=reset)

    def _finish_fit(self, scores: Array, known: TrainingRows) -> None:
        """Keep the leave-one-out scores of the training samples and set the threshold."""
        self._known = known
        self._set_threshold(known.share(scores))
        if known.n_distinct * self._rate < 1:
            warnings.warn(
                f"only {known.n_distinct} of the training samples differ: a threshold that flags "
                f"{self._rate:g} of them says little of new samples. Pass at least "
                f"{math.ceil(1 / self._rate)} samples that differ, or a larger contamination",
                UserWarning,
                stacklevel=2,
            )

    def _set_threshold(self, training_scores: Array) -> None:
        """Put the share `contamination` of the training samples below zero."""
        self.training_scores_ = training_scores
        self.offset_ = float(np.percentile(to_numpy(training_scores), 100.0 * self._rate))

    @property
    def _is_trimmed(self) -> bool:
        """Whether training samples were left out of the fit."""
        return False

    @property
    def _rate(self) -> float:
        return AUTO_CONTAMINATION if self.contamination == "auto" else float(self.contamination)

    def __getstate__(self):
        # arrays in host memory, so that what was fitted on a GPU loads where there is none
        return {**super().__getstate__(), **numpy_state(self)}


def _describe(X: Array) -> str:
    return f"{type(X).__module__.partition('.')[0]} arrays on {device(X)}"


def training_scores(detector: Any, X: Array) -> Array:
    """Scores of the samples X that the detector was fitted on, as if they were new to it.

    Those that our detectors and LocalOutlierFactor keep are leave-one-out. For others, five
    copies of the detector are fitted, each on four fifths of X, to score the rest.
    """
    if isinstance(detector, FrozenEstimator):  # was fitted on other samples
        return detector.score_samples(X)
    for name in ("training_scores_", "negative_outlier_factor_"):
        if hasattr(detector, name):
            return getattr(detector, name)
    in_sample = detector.score_samples(X)
    scores = np.empty(len(X))
    folds = KFold(min(N_FOLDS, len(X)), shuffle=True, random_state=0)
    for train, test in folds.split(X):
        copy = clone(detector).fit(X[train])
        held_out, measured = (copy.score_samples(X[rows]) for rows in (test, train))
        if not np.isfinite(held_out).all():
            raise ValueError(
                f"{type(detector).__name__} has no finite score for training sample "
                f"{test[np.argmin(np.isfinite(held_out))]} when fitted on others; pass parameters "
                "with which all samples have one, such as a larger bandwidth"
            )
        # some scores, such as OneClassSVM's, grow with the number of samples
        scores[test] = _match(held_out, measured, in_sample[train])
    return scores


def _match(scores: np.ndarray, measured: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Scores times and plus what gives `measured` the mean and deviation of `wanted`."""
    deviation = measured.std()
    scale = wanted.std() / deviation if deviation > 0 else 1.0
    return (scores - measured.mean()) * scale + wanted.mean()


def seed_parts(estimator: Any, random_state: np.random.RandomState) -> None:
    """Give a seed to every part of the estimator that has none."""
    seeds = {
        name: random_state.randint(np.iinfo(np.int32).max)
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    }
    estimator.set_params(**seeds)
