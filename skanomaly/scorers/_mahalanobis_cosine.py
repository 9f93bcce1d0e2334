"""Angle to the nearest training samples: k-Cos and k-Cos (Mah)."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from .._array_api import Array, like, namespace
from .._sklearn_compat import Interval, StrOptions
from .._training_rows import TrainingRows, positions_in
from ._leave_one_out import LeaveOneOutMetric
from ._neighbors import AngularNeighbors, Centering, column_means, drop_one
from ._scorer import Scorer
from ._whitening import WHITENING_CONSTRAINTS, fit_whitening

# radians; rounding moves the same float64 row by less
COINCIDENCE = 1e-8


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
    n_components : int, float in (0, 1) or None, default=None
        Whiten only the leading eigenvectors of the covariance, this many or as many as hold this
        share of the variance, and ignore the other directions. None keeps all.
    index : {"exact", "faiss"}, default="exact"
        How nearest samples are found. "faiss", an extra for training sets of 10^5 samples and
        more, looks only into the clusters of samples that are nearest to the query: it may miss a
        nearest sample. The angles of those it finds are exact.
    trim : float in [0, 0.5), default=0.0
        Share of the training samples that is left out of the final fit: the most anomalous ones,
        found by repeated fits without labels. For training data that is polluted.
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
        **WHITENING_CONSTRAINTS,
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "whiten": ["boolean"],
        "center": ["boolean"],
        "index": [StrOptions({"exact", "faiss"})],
    }

    def __init__(
        self,
        n_neighbors=1,
        *,
        whiten=True,
        center=False,
        shrinkage="ledoit_wolf",
        n_components=None,
        index="exact",
        trim=0.0,
        contamination="auto",
    ):
        self.n_neighbors = n_neighbors
        self.whiten = whiten
        self.center = center
        self.shrinkage = shrinkage
        self.n_components = n_components
        self.index = index
        self.trim = trim
        self.contamination = contamination

    def kneighbors(self, X):
        """Angles to the nearest training samples, and which these are.

        A query that coincides with a training sample skips it, as its score does. Angles are those
        of the space whitened with all training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples like those of ``fit``.

        Returns
        -------
        angles : float64 array of shape (n_samples, n_neighbors)
            In radians, ascending.
        indices : int array of shape (n_samples, n_neighbors)
            Positions in the X of ``fit``.
        """
        X = self._check_input(X, "kneighbors")
        return self._kneighbors_rows(X, positions_in(self._kept, like(self._known.find(X), X)))

    def _kneighbors_rows(self, X: Array, own: Array) -> tuple[Array, Array]:
        """As `kneighbors`; `own` tells which training sample each query is known to be, or -1."""
        xp = namespace(X)
        k = self.n_neighbors
        angles, indices = self._neighbors.nearest(X, k + 1)
        indices = positions_in(self._kept, positions_in(self._stored, indices))
        # one of the k + 1 is too many: the query itself, or else the furthest
        is_own = indices == like(own, X)[:, None]
        first_or_last = k * xp.astype(angles[:, :1] >= COINCIDENCE, xp.int64)
        return drop_one(angles, indices, is_own, otherwise=first_or_last)

    def _fit_rows(self, X: Array, known: TrainingRows) -> Array:
        xp = namespace(X)
        n_samples = X.shape[0]
        if self.n_neighbors >= n_samples:
            raise ValueError(
                f"n_neighbors={self.n_neighbors} needs more than {n_samples} samples; "
                f"pass at most {n_samples - 1}"
            )
        self.mean_ = column_means(X)
        self.whitening_ = fit_whitening(self, X) if self.whiten else None
        # copies beyond those that can be neighbours would only tie
        stored, place = known.limit_copies(self.n_neighbors + 1)
        self._stored = like(stored, X) if len(stored) < n_samples else None
        self._neighbors = self._make_neighbors(
            X if self._stored is None else self._take_rows(X, stored)
        )
        angles = self._leave_one_out_angles(n_samples)
        self._stored_scores = -xp.mean(angles, axis=1)
        return xp.take(self._stored_scores, like(place, X))

    def _make_neighbors(self, rows: Array) -> AngularNeighbors:
        transformation: Any = self.whitening_
        if transformation is None and self.center:
            transformation = Centering(self.mean_)
        if self.index == "exact":
            return AngularNeighbors(rows, transformation)
        from ._faiss import FaissNeighbors

        return FaissNeighbors(rows, transformation)

    def _leave_one_out_angles(self, n_samples: int) -> Array:
        metric = None
        if self.whitening_ is not None:
            mean = self.whitening_.transform(self.mean_[None, :])[0, :]
            metric = LeaveOneOutMetric(
                self._neighbors.transformed(),
                mean,
                n_samples,
                1 - self.whitening_.shrinkage_,
                self.center,
            )
        return self._neighbors.leave_one_out(self.n_neighbors, metric)[0]

    def _score_rows(self, X: Array) -> Array:
        xp = namespace(X)
        angles, nearest = self._neighbors.nearest(X, self.n_neighbors)
        coincident = xp.take(self._stored_scores, nearest[:, 0])
        return xp.where(angles[:, 0] < COINCIDENCE, coincident, -xp.mean(angles, axis=1))
