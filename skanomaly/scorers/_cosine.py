"""Angular scores: to the nearest training samples, and to the centre of the training set."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions

from ..base import OutlierDetector, atomic_fit
from ._leave_one_out import LeaveOneOutMetric, leave_one_out_angles
from ._neighbors import AngularNeighbors, angle, scale_rows
from ._whitening import SHRINKAGES, Whitening

# radians; rounding moves the same float64 row by less
COINCIDENCE = 1e-8


class Scorer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierDetector):
    """A detector that is also a transformer: its anomaly score is a feature."""

    _n_features_out = 1

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
        return -self.score_samples(X)[:, None]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # scores are float64 whatever the input
        return tags


class MahalanobisCosine(Scorer):
    r"""Angle to the nearest training samples, after whitening (NSA section 2.5, equation 2).

    ``whiten=True`` is the paper's *k-Cos (Mah)*, ``whiten=False`` its *k-Cos*. With u and v the
    whitened training and test sample, the anomaly score is the mean of the k smallest angles

    .. math:: \arccos \frac{u \cdot v}{\|u\| \|v\|}

    and ``score_samples`` its negative, in [-pi, 0] radians. A query in the direction of a training
    sample (within 1e-8 rad) is scored as that sample. Training samples have leave-one-out scores:
    by the nearest other sample, in the space whitened without them. A zero vector has no direction:
    its angle is pi / 2 to every other vector and 0 to another zero vector.

    Parameters
    ----------
    n_neighbors : int, default=1
        Number k of nearest training samples, less than the number of training samples.
    whiten : bool, default=True
        Whiten with the shrunk covariance of the training samples.
    center : bool, default=False
        Subtract the training mean first, as equation 2 prints it. Without, the covariance is
        still that of the centred samples.
    shrinkage : {"ledoit_wolf", "oas"}, float in [0, 1] or None, default="ledoit_wolf"
        Weight of the identity in the covariance. None and 0 are the pseudo-inverse, which is
        noise when there are fewer samples than features.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05.

    Attributes
    ----------
    training_scores_ : float64 array of shape (n_samples,)
        ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    whitening_ : Whitening or None
        The fitted map, None without whitening.
    mean_ : float64 array of shape (n_features,)
        Training mean.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import MahalanobisCosine
    >>> X = np.random.default_rng(0).normal(size=(200, 3)) + [8, 4, 2]
    >>> detector = MahalanobisCosine(contamination=0.01).fit(X)
    >>> detector.predict([[8, 4, 2], [2, 4, 8]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **Scorer._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "whiten": ["boolean"],
        "center": ["boolean"],
        "shrinkage": [StrOptions(set(SHRINKAGES)), Interval(Real, 0, 1, closed="both"), None],
    }

    def __init__(
        self,
        n_neighbors=1,
        *,
        whiten=True,
        center=False,
        shrinkage="ledoit_wolf",
        contamination="auto",
    ):
        self.n_neighbors = n_neighbors
        self.whiten = whiten
        self.center = center
        self.shrinkage = shrinkage
        self.contamination = contamination

    @atomic_fit
    def fit(self, X, y=None):
        """Store the whitened training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Mostly normal samples, at least n_neighbors + 1.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not finite, has too few samples, or no variance to whiten.
        """
        X = self._validate_input(X, reset=True)
        if self.n_neighbors >= len(X):
            raise ValueError(
                f"n_neighbors={self.n_neighbors} needs more than {len(X)} samples; "
                f"pass at most {len(X) - 1}"
            )
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        self.whitening_ = _fit_whitening(X, self.shrinkage, self.center) if self.whiten else None
        rows = self._rows(X)
        self._neighbors = AngularNeighbors(rows)
        if self.whitening_ is None:
            angles = self._neighbors.leave_one_out(self.n_neighbors)
        else:
            metric = LeaveOneOutMetric(rows, 1 - self.whitening_.shrinkage_, self.center)
            angles = leave_one_out_angles(rows, self.n_neighbors, metric)
        self._finish_fit(X, -angles.mean(axis=1))
        return self

    def _score_samples(self, X):
        angles, nearest = self._neighbors.nearest(self._rows(X), self.n_neighbors)
        scores = -angles.mean(axis=1)
        known = angles[:, 0] < COINCIDENCE
        scores[known] = self.training_scores_[nearest[known, 0]]
        return scores

    def _rows(self, X: np.ndarray) -> np.ndarray:
        if self.whitening_ is not None:
            return self.whitening_.transform(X)
        return X - self.mean_ if self.center else X


class CenterCosine(Scorer):
    r"""Angle to the mean of the training samples, after whitening (NSA section 2.5).

    ``whiten=True`` is the paper's *c-Cos (Mah)*, ``whiten=False`` its *c-Cos*. As printed, with
    the mean subtracted, the whitened mean is the zero vector and has no direction; here both
    sample and mean are whitened without centring, S^(-1/2) y and S^(-1/2) mu. ``score_samples``
    is the negative angle, in [-pi, 0] radians. The score is cheap and robust to polluted
    training data, but not for standardised columns: their mean is zero but for rounding, and its
    direction noise. A sample that is identical to a training sample is scored as that one: by the
    mean of the others, in the space whitened without it.

    Parameters
    ----------
    whiten : bool, default=True
        Whiten with the shrunk covariance of the training samples.
    shrinkage : {"ledoit_wolf", "oas"}, float in [0, 1] or None, default="ledoit_wolf"
        Weight of the identity in the covariance. None and 0 are the pseudo-inverse.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05.

    Attributes
    ----------
    training_scores_ : float64 array of shape (n_samples,)
        ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    whitening_ : Whitening or None
        The fitted map, None without whitening.
    mean_ : float64 array of shape (n_features,)
        Training mean.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import CenterCosine
    >>> X = np.random.default_rng(0).normal(size=(200, 3)) + [8, 4, 2]
    >>> detector = CenterCosine(contamination=0.01).fit(X)
    >>> detector.predict([[8, 4, 2], [2, 4, 8]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **Scorer._parameter_constraints,
        "whiten": ["boolean"],
        "shrinkage": MahalanobisCosine._parameter_constraints["shrinkage"],
    }

    def __init__(self, *, whiten=True, shrinkage="ledoit_wolf", contamination="auto"):
        self.whiten = whiten
        self.shrinkage = shrinkage
        self.contamination = contamination

    @atomic_fit
    def fit(self, X, y=None):
        """Estimate mean and covariance.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Mostly normal samples, at least 2.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not finite, has one sample, no variance to whiten, or a mean of zero.
        """
        X = self._validate_input(X, reset=True)
        self.mean_ = X.mean(axis=0, dtype=np.float64)
        self.whitening_ = _fit_whitening(X, self.shrinkage, center=False) if self.whiten else None
        rows, center = self._whitened(X), self._whitened(self.mean_[None])
        if not center.any():
            raise ValueError(
                "the training mean is the zero vector, which has no direction; "
                "pass samples that are not centred, or use MahalanobisCosine(center=True)"
            )
        self._center = scale_rows(center)
        # the mean without row i, seen in the space whitened without row i
        others = center - (rows - center) / (len(rows) - 1)
        if self.whitening_ is not None:
            metric = LeaveOneOutMetric(rows, 1 - self.whitening_.shrinkage_)
            rows, others = (metric.stretch(v, slice(None)) for v in (rows, others))
        self._finish_fit(X, -angle(scale_rows(rows), scale_rows(others)))
        return self

    def _score_samples(self, X):
        return -angle(scale_rows(self._whitened(X)), self._center)

    def _whitened(self, X: np.ndarray) -> np.ndarray:
        if self.whitening_ is None:
            return X.astype(np.float64, copy=False)
        return self.whitening_.transform(X)


def _fit_whitening(X: np.ndarray, shrinkage: str | float | None, center: bool) -> Whitening:
    whitening = Whitening(shrinkage, center).fit(X)
    if len(whitening.scale_) == 0:
        raise ValueError(
            f"all {len(X)} samples are equal, there is no variance to whiten; "
            "pass whiten=False or samples that differ"
        )
    return whitening
