"""One score per feature map, rescaled and summed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import _BaseComposition

from ..base import atomic_fit, training_scores
from ._cosine import CenterCosine, MahalanobisCosine, Scorer

DEGENERATE = 1e-8  # range of training scores that do not differ; angles are rounded by less
HEAD_PREFIX = "head_layer"  # groups of this name are the projection head's layers


def _paper_scorers(group: str) -> list:
    """The scores that the paper's *Ens.* gives to a feature map (appendix C)."""
    if group.startswith(HEAD_PREFIX):
        return [("c_cos", CenterCosine(whiten=False)), ("c_cos_mah", CenterCosine())]
    return [("k_cos", MahalanobisCosine(whiten=False)), ("k_cos_mah", MahalanobisCosine())]


class FeatureEnsemble(Scorer, _BaseComposition):
    """Score several groups of columns on their own, rescale each score and sum (NSA section 2.5).

    Each score is mapped so that the training samples' leave-one-out scores span 0 to 1, and the
    anomaly score is the sum over all groups and scores; ``score_samples`` is its negative.

    Parameters
    ----------
    scorers : "ens" or list of (name, detector), default="ens"
        The scores of every group. "ens" is the ensemble of appendix C: k-Cos and k-Cos (Mah) for
        convolutional feature maps and any other group, c-Cos and c-Cos (Mah) for groups whose
        name begins with "head_layer". A list gives the same detectors, anything with
        ``score_samples``, to every group; their parameters are searched as ``name__parameter``. The
        training scores of detectors from elsewhere are what they give, which is in general not
        leave-one-out: thresholds are then not false-positive rates.
    groups : "auto" or dict of str to columns, default="auto"
        Columns are a slice, a list of positions or a list of column names. "auto" reads the groups
        from column names such as ``conv_block_1__17``, where ``conv_block_1`` is the group; without
        such names all columns are one group.
    contamination : "auto" or float in (0, 0.5], default="auto"
        Share of the training samples beyond the threshold: on clean training data the
        false-positive rate. "auto" is 0.05.

    Attributes
    ----------
    groups_ : dict of str to int array or slice
        Columns of each group.
    members_ : list of (group, name, detector)
        The fitted detectors.
    ranges_ : float64 array of shape (n_members, 2)
        Least and greatest anomaly score of the training samples for each member.
    training_scores_ : float64 array of shape (n_samples,)
        ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import FeatureEnsemble
    >>> X = np.random.default_rng(0).normal(size=(200, 4)) + [8, 4, 2, 1]
    >>> groups = {"early": slice(0, 2), "late": [2, 3]}
    >>> detector = FeatureEnsemble(groups=groups, contamination=0.01).fit(X)
    >>> detector.predict([[8, 4, 2, 1], [8, 4, -2, -9]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **Scorer._parameter_constraints,
        "scorers": [StrOptions({"ens"}), list],
        "groups": [StrOptions({"auto"}), dict],
    }

    def __init__(self, scorers="ens", *, groups="auto", contamination="auto"):
        self.scorers = scorers
        self.groups = groups
        self.contamination = contamination

    def get_params(self, deep=True):
        """Parameters of this estimator and, with `deep`, of its named scorers."""
        return self._get_params("scorers", deep=deep)

    def set_params(self, **params):
        """Set parameters of this estimator and, as ``name__parameter``, of its scorers."""
        return self._set_params("scorers", **params)

    @atomic_fit
    def fit(self, X, y=None):
        """Fit every score on its group of columns.

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
            If X is not finite or too small, a group is empty or names columns that X lacks, or a
            score cannot be fitted on its group.
        """
        self._check_scorers()
        X = self._validate_input(X, reset=True)
        self.groups_ = self._resolve_groups()
        self.members_ = []
        ranges = []
        total = np.zeros(len(X))
        for group, columns in self.groups_.items():
            features = X[:, columns]
            for name, scorer in self._scorers_of(group):
                fitted, anomaly = _fit_member(group, scorer, features)
                self.members_.append((group, name, fitted))
                ranges.append((anomaly.min(), anomaly.max()))
                total += _rescale(anomaly, *ranges[-1])
        self.ranges_ = np.array(ranges)
        self._finish_fit(X, -total)
        return self

    def _score_samples(self, X):
        total = np.zeros(len(X))
        for (group, _, scorer), (low, high) in zip(self.members_, self.ranges_, strict=True):
            anomaly = -scorer.score_samples(X[:, self.groups_[group]])
            total += _rescale(anomaly, low, high)
        return -total

    def _check_scorers(self) -> None:
        if isinstance(self.scorers, str):
            return
        if not self.scorers or not all(
            isinstance(pair, tuple) and len(pair) == 2 for pair in self.scorers
        ):
            raise ValueError(
                f"scorers={self.scorers}; pass 'ens' or a list of (name, detector) pairs"
            )
        names = [name for name, _ in self.scorers]
        self._validate_names(names)
        for name, scorer in self.scorers:
            if not (hasattr(scorer, "fit") and hasattr(scorer, "score_samples")):
                raise TypeError(
                    f"scorer {name!r} is {type(scorer).__name__}, which lacks fit or "
                    "score_samples; pass an outlier detector or a density"
                )

    def _scorers_of(self, group: str) -> list:
        return _paper_scorers(group) if isinstance(self.scorers, str) else self.scorers

    def _resolve_groups(self) -> dict:
        names = getattr(self, "feature_names_in_", None)
        if isinstance(self.groups, Mapping):
            if not self.groups:
                raise ValueError("groups is empty; pass 'auto' or a dict of names to columns")
            return {g: self._resolve_columns(g, c, names) for g, c in self.groups.items()}
        if names is None or not all("__" in name for name in names):
            return {"all": slice(None)}
        prefixes = np.array([name.rpartition("__")[0] for name in names])
        return {str(g): np.flatnonzero(prefixes == g) for g in dict.fromkeys(prefixes)}

    def _resolve_columns(self, group: str, columns, names: np.ndarray | None):
        if isinstance(columns, slice):
            selected = np.arange(self.n_features_in_)[columns]
        else:
            selected = np.asarray(columns)
            if selected.ndim != 1:
                raise ValueError(
                    f"group {group!r} is {columns!r}; pass a slice, or a list of positions or names"
                )
            if selected.dtype.kind in "UO" and names is not None:
                missing = sorted(set(columns) - set(names))
                if missing:
                    raise ValueError(f"group {group!r} names columns that X lacks: {missing}")
                positions = {name: i for i, name in enumerate(names)}
                selected = np.array([positions[name] for name in columns])
        if selected.size == 0:
            raise ValueError(f"group {group!r} has no columns")
        if (
            selected.dtype.kind not in "iu"
            or not ((selected >= 0) & (selected < self.n_features_in_)).all()
        ):
            raise ValueError(
                f"group {group!r} is {columns!r}; pass a slice, positions below "
                f"{self.n_features_in_} or names of columns"
            )
        return columns if isinstance(columns, slice) else selected


def _fit_member(group: str, scorer, features: np.ndarray) -> tuple:
    """A fitted copy of the scorer and the training samples' anomaly scores."""
    try:
        fitted = clone(scorer).fit(features)
        return fitted, -training_scores(fitted, features)
    except ValueError as error:
        raise ValueError(f"{type(scorer).__name__} on group {group!r}: {error}") from error


def _rescale(anomaly: np.ndarray, low: float, high: float) -> np.ndarray:
    # divided by a range that is rounding noise, a score would drown all others
    return (anomaly - low) / (high - low if high - low > DEGENERATE else 1.0)
