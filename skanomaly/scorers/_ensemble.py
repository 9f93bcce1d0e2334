"""One score per feature map, rescaled and summed."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from .._array_api import Array, like, namespace, to_numpy
from .._base import training_scores
from .._sklearn_compat import BaseComposition, StrOptions
from .._training_rows import TrainingRows, positions_in, replace_known
from ._center_cosine import CenterCosine
from ._groups import resolve_groups
from ._mahalanobis_cosine import MahalanobisCosine
from ._scorer import Scorer

DEGENERATE = 1e-8  # relative range of training scores that do not differ; rounding is less
ANGULAR = (MahalanobisCosine, CenterCosine)
HEAD_PREFIX = "head_layer"  # groups of this name are the projection head's layers


def _paper_scorers(ensemble: str, group: str) -> list:
    """The scores that an ensemble of the paper gives to a feature map (appendix C)."""
    nearest = [("k_cos", MahalanobisCosine(whiten=False)), ("k_cos_mah", MahalanobisCosine())]
    center = [("c_cos", CenterCosine(whiten=False)), ("c_cos_mah", CenterCosine())]
    if ensemble == "all":
        return nearest + center
    return center if group.startswith(HEAD_PREFIX) else nearest


class FeatureEnsemble(Scorer, BaseComposition):
    """Score several groups of columns on their own, rescale each score and sum (NSA section 2.5).

    Each score is mapped so that the training samples' leave-one-out scores span 0 to 1, and the
    anomaly score is the sum over all groups and scores; ``score_samples`` is its negative.

    Parameters
    ----------
    scorers : "ens", "all" or list of (name, detector[, groups]), default="ens"
        The scores of every group. "ens" is *Ens.* of appendix C: k-Cos and k-Cos (Mah) for
        convolutional feature maps and any other group, c-Cos and c-Cos (Mah) for groups whose
        name begins with "head_layer". "all" is all four for every group, as in the last of the
        rows *All blocks* of Table 6, which stands more anomalies among the training samples.
        In a list, each detector, anything with ``score_samples``,
        scores every group or those that are named; their parameters are searched as
        ``name__parameter``. Training samples are scored by detectors from elsewhere, such as
        KernelDensity, that are fitted on four fifths of them (cross-validation).
    groups : "auto" or dict of str to columns, default="auto"
        Columns are a slice, a list of positions or a list of column names. "auto" reads the groups
        from column names such as ``conv_block_1__17``, where ``conv_block_1`` is the group; without
        such names all columns are one group. Columns that are in no group are not used.
    trim : float in [0, 0.5), default=0.0
        Share of the training samples that is left out of the final fit: the most anomalous ones,
        found by repeated fits without labels. For training data that is polluted.
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
        "scorers": [StrOptions({"ens", "all"}), list],
        "groups": [StrOptions({"auto"}), dict],
    }

    def __init__(self, scorers="ens", *, groups="auto", trim=0.0, contamination="auto"):
        self.scorers = scorers
        self.groups = groups
        self.trim = trim
        self.contamination = contamination

    def get_params(self, deep=True):
        """Parameters of this estimator and, with `deep`, of its named scorers."""
        return self._get_params("_named_scorers", deep=deep)

    def set_params(self, **params):
        """Set parameters of this estimator or, as ``name__parameter``, of a named scorer."""
        if "scorers" in params:  # before those of the scorers that it names
            self.scorers = params.pop("scorers")
        return self._set_params("_named_scorers", **params)

    def explain(self, X):
        """What each score adds to a sample's anomaly score, and its nearest training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples like those of ``fit``.

        Returns
        -------
        explanation : Bunch
            ``members``, the m labels ``"group/score"``; ``contributions``, a float64 array
            (n_samples, m), whose rows sum to ``-score_samples(X)``; ``neighbors``, for each
            member that looks for nearest samples a pair (angles, indices) of arrays
            (n_samples, n_neighbors), as :meth:`MahalanobisCosine.kneighbors` returns.
        """
        return self._explain_groups(self._split(self._check_input(X, "explain")))

    def _validate_input(self, X, *, reset):
        X = super()._validate_input(X, reset=reset)
        if reset:
            self._check_scorers()
            names = getattr(self, "feature_names_in_", None)
            self.groups_ = resolve_groups(self.groups, names, X.shape[1])
            self._check_scored_groups()
        return X

    # Inside, rows are a dict with one array for each group, so that NSADetector can pass the maps
    # of an encoder as they are.

    def _fit_validated(self, X, known=None):
        super()._fit_validated(self._split(X), known)

    def _fit_groups(self, features: dict[str, Array]) -> None:
        """Fit on the feature maps themselves, instead of columns of one array."""
        self._validate_params()
        self._check_scorers()
        stops = np.cumsum([block.shape[1] for block in features.values()]).tolist()
        starts = [0, *stops[:-1]]
        self.groups_ = {g: slice(*s) for g, *s in zip(features, starts, stops, strict=True)}
        self.n_features_in_ = stops[-1]
        self._check_scored_groups()
        super()._fit_validated(features)

    def _score_samples(self, X):
        return self._recall_rows(self._split(X))

    def _recall_rows(self, features):
        return self._score_rows(features, self._known)

    def _explain_groups(self, features: dict[str, Array], own: np.ndarray | None = None) -> Bunch:
        """As `explain`; `own` tells which training sample each row is known to be, or -1."""
        contributions = self._contributions_of(features, self._known)
        if own is not None:
            own = self._positions_of_kept(own)
            contributions = replace_known(own, contributions, self._row_contributions)
        return Bunch(
            members=[f"{group}/{name}" for group, name, _ in self.members_],
            contributions=contributions,
            neighbors={
                f"{group}/{name}": self._neighbors_of(scorer, group, features[group], own)
                for group, name, scorer in self.members_
                if isinstance(scorer, MahalanobisCosine)
            },
        )

    def _positions_of_kept(self, index: np.ndarray) -> np.ndarray:
        """Positions among the rows that were not trimmed, or -1."""
        if self._kept is None:
            return index
        kept = to_numpy(self._kept)
        return np.where(np.isin(index, kept), np.searchsorted(kept, index), -1)

    def _split(self, X: Array) -> dict[str, Array]:
        xp = namespace(X)
        return {
            group: X[:, columns]
            if isinstance(columns, slice)
            else xp.take(X, like(columns, X), axis=1)
            for group, columns in self.groups_.items()
        }

    def _fit_rows(self, features, known):
        xp = namespace(next(iter(features.values())))
        members, ranges, contributions = [], [], []
        for group, rows in features.items():
            for name, scorer in self._scorers_of(group):
                fitted, anomaly = _fit_member(group, scorer, rows, known[group])
                members.append((group, name, fitted))
                ranges.append([float(xp.min(anomaly)), float(xp.max(anomaly))])
                contributions.append(_rescale(fitted, anomaly, *ranges[-1]))
        self.members_ = members
        self.ranges_ = like(np.array(ranges), contributions[0])
        self._row_contributions = xp.stack(contributions, axis=1)
        return -xp.sum(self._row_contributions, axis=1)

    def _score_rows(self, features, known=None):
        contributions = self._contributions_of(features, known)
        return -namespace(contributions).sum(contributions, axis=1)

    def _contributions_of(self, features: dict[str, Array], known: dict | None) -> Array:
        """Rescaled scores (n, members); rows that are `known` have their training scores."""
        index = {g: known[g].find(rows) for g, rows in features.items()} if known else {}
        columns = []
        for j, (group, _, scorer) in enumerate(self.members_):
            low, high = (float(self.ranges_[j, i]) for i in (0, 1))
            scores = _rescale(scorer, -_member_scores(scorer, features[group]), low, high)
            if known:
                scores = replace_known(index[group], scores, self._row_contributions[:, j])
            columns.append(scores)
        return namespace(columns[0]).stack(columns, axis=1)

    def _neighbors_of(
        self, scorer, group: str, rows: Array, own: np.ndarray | None
    ) -> tuple[Array, Array]:
        own = self._known[group].find(rows) if own is None else own
        angles, indices = scorer._kneighbors_rows(rows, own)
        return angles, positions_in(self._kept, indices)

    @staticmethod
    def _fingerprint(features):
        return {group: TrainingRows.of(rows) for group, rows in features.items()}

    @staticmethod
    def _subset(known, index):
        return {group: rows.subset(index) for group, rows in known.items()}

    @staticmethod
    def _take_rows(features, index):
        return {group: Scorer._take_rows(rows, index) for group, rows in features.items()}

    @property
    def _named_scorers(self):
        # scikit-learn's composition reads and writes pairs
        if not isinstance(self.scorers, list):
            return self.scorers
        return [entry[:2] if isinstance(entry, tuple) else entry for entry in self.scorers]

    @_named_scorers.setter
    def _named_scorers(self, pairs):
        self.scorers = [
            (*pair, *entry[2:]) for pair, entry in zip(pairs, self.scorers, strict=True)
        ]

    def _check_scorers(self) -> None:
        if isinstance(self.scorers, str):
            return
        if not self.scorers or not all(
            isinstance(entry, tuple) and len(entry) in (2, 3) for entry in self.scorers
        ):
            raise ValueError(
                f"scorers={self.scorers}; pass 'ens', 'all' or a list of (name, detector) or "
                "(name, detector, groups)"
            )
        for entry in self.scorers:
            if not isinstance(entry[0], str):
                raise ValueError(f"scorers has the name {entry[0]!r}; pass names that are str")
        self._validate_names([entry[0] for entry in self.scorers])
        for name, scorer, *_ in self.scorers:
            if not (hasattr(scorer, "fit") and hasattr(scorer, "score_samples")):
                raise TypeError(
                    f"scorer {name!r} is {type(scorer).__name__}, which lacks fit or "
                    "score_samples; pass an outlier detector or a density"
                    + (", LocalOutlierFactor with novelty=True" * hasattr(scorer, "novelty"))
                )

    def _check_scored_groups(self) -> None:
        named = [] if isinstance(self.scorers, str) else [e for e in self.scorers if len(e) == 3]
        for name, _, groups in named:
            unknown = sorted(set(_as_list(groups)) - set(self.groups_))
            if unknown or not groups:
                raise ValueError(
                    f"scorer {name!r} is for groups {groups!r}; pass some of {list(self.groups_)}"
                )

    def _scorers_of(self, group: str) -> list:
        if isinstance(self.scorers, str):
            return _paper_scorers(self.scorers, group)
        return [
            (name, scorer)
            for name, scorer, *groups in self.scorers
            if not groups or group in _as_list(groups[0])
        ]


def _as_list(groups: str | list[str]) -> list[str]:
    return [groups] if isinstance(groups, str) else list(groups)


def _fit_member(group: str, scorer: Any, rows: Array, known: TrainingRows) -> tuple:
    """A fitted copy of the scorer and the training samples' anomaly scores."""
    try:
        fitted = clone(scorer)
        if type(fitted) in ANGULAR:  # need not validate and fingerprint the rows again
            fitted._validate_params()
            fitted.n_features_in_ = rows.shape[1]
            fitted._fit_validated(rows, known)
            return fitted, -fitted.training_scores_
        in_memory = to_numpy(rows)
        if isinstance(fitted, FrozenEstimator):
            check_is_fitted(fitted)
        else:
            fitted.fit(in_memory)
        return fitted, -like(training_scores(fitted, in_memory), rows)
    except ValueError as error:
        raise ValueError(f"{type(scorer).__name__} on group {group!r}: {error}") from error


def _member_scores(scorer: Any, rows: Array) -> Array:
    """Scores of new rows in float64."""
    if type(scorer) in ANGULAR:
        return scorer._score_rows(rows)
    return like(np.asarray(scorer.score_samples(to_numpy(rows)), dtype=np.float64), rows)


def _rescale(scorer: Any, anomaly: Array, low: float, high: float) -> Array:
    # divided by a range that is rounding noise, a score would drown all others
    unit = 1.0 if type(scorer) in ANGULAR else max(abs(low), abs(high))
    return (anomaly - low) / (high - low if high - low > DEGENERATE * unit else 1.0)
