"""One score per feature map, rescaled and summed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from scipy.stats import mode
from sklearn.base import clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from .._array_api import (
    BLOCK_BYTES,
    Array,
    as_float64,
    is_dask,
    like,
    namespace,
    row_slices,
    take_rows,
    to_numpy,
)
from .._base import atomic_fit
from .._dask import refuse_dask
from .._sklearn_compat import BaseComposition, StrOptions
from .._training_rows import TrainingRows, replace_known
from .._validation import check_block
from ._block import Block
from ._block_scorer import (
    BlockScorer,
    Scorer,
    fit_to_block,
    fit_trimmed,
    positions_in,
    score_block,
)
from ._center_cosine import CenterCosine
from ._chunked_rows import remote_members
from ._ensemble_chunks import fit_members_to_chunks
from ._groups import resolve_groups
from ._mahalanobis_cosine import MahalanobisCosine

DEGENERATE = 1e-8  # relative range of training scores that do not differ; rounding is less
HEAD_PREFIX = "head_layer"  # groups of this name are the projection head's layers
NEIGHBOR_SHARE = 0.05  # of the training samples, for "robust"; outliers have fewer of their kind
MAX_NEIGHBORS = 100


def _named_ensemble(ensemble: str, group: str, n_samples: int) -> list:
    """The scores that an ensemble, of the paper (appendix C) or "robust", gives to a group."""
    share = NEIGHBOR_SHARE if ensemble == "robust" else 0
    k = min(MAX_NEIGHBORS, max(1, int(share * n_samples)))
    nearest = [("k_cos", MahalanobisCosine(k, whiten=False)), ("k_cos_mah", MahalanobisCosine(k))]
    center = [("c_cos", CenterCosine(whiten=False)), ("c_cos_mah", CenterCosine())]
    if ensemble == "ens":
        return center if group.startswith(HEAD_PREFIX) else nearest
    return nearest + center


class FeatureEnsemble(Scorer, BaseComposition):
    r"""Sum of the rescaled scores of several blocks of features (NSA section 2.5).

    The blocks are groups of columns of one array, or a dict of str to arrays (n_samples, width)
    such as the ``transform_blocks`` of an encoder returns.

    Each score S of each group is rescaled so that the leave-one-out scores of the training samples
    :math:`x_m` span 0 to 1. The anomaly score of a sample y is the sum

    .. math:: \sum_S \frac{S(y) - \min_m S(x_m)}{\max_m S(x_m) - \min_m S(x_m)}

    over all groups and scores, and ``score_samples`` its negative.

    Parameters
    ----------
    scorers : "ens", "all", "robust" or list of (name, detector[, groups]), default="ens"
        The scores of every group. "ens" is *Ens.* of appendix C: c-Cos and c-Cos (Mah) for groups
        whose name begins with "head_layer", k-Cos and k-Cos (Mah) for all others. "all" is all
        four for every group, as in the last of the rows *All blocks* of Table 6, and tolerates
        more anomalies among the training samples. "robust" tolerates many: all four with the
        nearest 5% of the training samples, 1 to 100, instead of the nearest. In a list, each
        detector scores every group, or those that are named. It may be anything with
        ``score_samples``, also a fitted one as ``sklearn.frozen.FrozenEstimator(detector)``.
        Parameters of the detectors are searched as ``name__parameter``. Third-party detectors,
        such as KernelDensity, score each fifth of the training samples by a copy that is fitted on
        the other four fifths.
    groups : "auto" or dict of str to columns, default="auto"
        Columns are a slice, a list of positions or a list of column names. "auto" reads the groups
        from column names such as ``conv_block_1__17``, where ``conv_block_1`` is the group; without
        such names all columns are one group. Columns in no group are not used.
    trim : float in [0, 0.5), default=0.0
        Share of the training samples that is left out of the final fit: the most anomalous ones,
        found by repeated fits without labels. For training data that contains anomalies.
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
        Leave-one-out ``score_samples`` of the training samples.
    offset_ : float
        Threshold of ``predict`` on ``score_samples``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array of str
        Column names, if the training samples had any.

    See Also
    --------
    MahalanobisCosine, CenterCosine, NeighborDistance : Scores of one block.
    NSADetector : Scores the blocks of an encoder by such an ensemble.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA): compact
       distributions for robust self-supervised Anomaly Detection", 2022, section 2.5 and
       appendix C. `arXiv:2203.10344 <https://arxiv.org/abs/2203.10344>`_

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
        "scorers": [StrOptions({"ens", "all", "robust"}), list],
        "groups": [StrOptions({"auto"}), dict],
    }

    def __init__(self, scorers="ens", *, groups="auto", trim=0.0, contamination="auto"):
        self.scorers = scorers
        self.groups = groups
        self.trim = trim
        self.contamination = contamination

    members_: list[tuple[str, str, Any]]
    n_features_in_: int

    @property
    def takes_blocks(self) -> bool:
        """Whether X may be a dict of blocks; explicit groups are columns of one array."""
        return self.groups == "auto"

    def get_params(self, deep=True):
        """Parameters of this estimator and, with `deep`, of its named scorers."""
        return self._get_params("_named_scorers", deep=deep)

    def set_params(self, **params):
        """Set parameters of this estimator or, as ``name__parameter``, of a named scorer."""
        if "scorers" in params:  # before those of the scorers that it names
            self.scorers = params.pop("scorers")
        return self._set_params("_named_scorers", **params)

    @atomic_fit
    def fit(self, X, y=None):
        """Fit the scores of every group to the training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), dict of str to such arrays, or Dask array
            Mostly normal samples, at least 2 and more than the largest `n_neighbors`. An iterator
            of (name, array) pairs is taken as a dict whose blocks can be freed one by one. Of
            a ``dask.array`` or ``dask.dataframe`` the groups are columns.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is not finite, has too few samples, or does not suit a score.
        """
        self._check_scorers()
        if is_dask(X):
            anomaly, known = fit_members_to_chunks(self, X)
            self._kept = None
            return self._finish_ensemble(self._rescale_training(anomaly), known)
        known = TrainingRows()
        blocks: Any = known.add_blocks(self._blocks(X, reset=True))
        if self.trim:
            blocks = dict(blocks)
            n_rows = next(iter(blocks.values())).shape[0]
            contributions, self._kept = fit_trimmed(
                n_rows,
                self.trim,
                lambda kept: self._fit_members(_take_rows(blocks, kept)),
                lambda index: self._contributions(dict(_take_rows(blocks, index))),
            )
        else:
            contributions, self._kept = self._fit_members(blocks), None
        return self._finish_ensemble(contributions, known.close())

    def compute(self):
        """A copy whose training samples are in memory, after a fit to a Dask array.

        Returns
        -------
        detector : FeatureEnsemble
            Itself, if they are in memory already.
        """
        check_is_fitted(self)
        if not remote_members(self):
            return self
        computed = copy.copy(self)
        computed.members_ = [
            (group, name, scorer.compute() if hasattr(scorer, "explain_block") else scorer)
            for group, name, scorer in self.members_
        ]
        return computed

    def _finish_ensemble(self, contributions: Array, known: TrainingRows):
        # in float32, since they only explain the scores
        xp = namespace(contributions)
        self._training_contributions = xp.astype(contributions, xp.float32)
        self._finish_fit(-xp.sum(contributions, axis=1), known)
        return self

    def explain(self, X, *, training_index=None):
        """Contribution of each score to a sample's anomaly score, and the nearest training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or dict of str to such arrays
            Samples like those of ``fit``.
        training_index : int array of shape (n_samples,), optional
            Position of the training sample that each sample is, or -1 for new samples. By default
            training samples are recognised.

        Returns
        -------
        explanation : Bunch
            ``members``, the m labels ``"group/score"``; ``contributions``, a float64 array
            (n_samples, m), whose rows sum to ``-score_samples(X)``; ``neighbors``, for each
            member that searches nearest samples a pair (distances, indices) of arrays
            (n_samples, n_neighbors), as :meth:`MahalanobisCosine.kneighbors` returns.
        """
        blocks = self._check_input(X, "explain")
        own = self._find_known(blocks) if training_index is None else np.asarray(training_index)
        contributions, neighbors = self._explain(blocks, own)
        contributions = replace_known(own, contributions, as_float64(self._training_contributions))
        members = [f"{group}/{name}" for group, name, _ in self.members_]
        return Bunch(members=members, contributions=contributions, neighbors=neighbors)

    def nearest_samples(self, X, own: np.ndarray) -> np.ndarray | None:
        """Position of the training sample that most members find nearest; `own` as above."""
        blocks = X if isinstance(X, dict) else self._check_input(X, "predict_frame")
        _, neighbors = self._explain(blocks, own)
        found = [to_numpy(index[:, 0]) for _, index in neighbors.values()]
        return mode(np.stack(found, axis=1), axis=1).mode if found else None

    def _explain(self, blocks: dict[str, Array], own: np.ndarray) -> tuple[Array, dict]:
        """Contributions (n, members) of rows as if they were new, and members' neighbours."""
        place = own
        if self._kept is not None:  # members know the positions among the rows that were kept
            kept = to_numpy(self._kept)
            place = np.minimum(np.searchsorted(kept, own), len(kept) - 1)
            place = np.where(kept[place] == own, place, -1)
        columns, neighbors = [], {}
        for group, name, scorer, block in self._members_of(blocks):
            if not hasattr(scorer, "explain_block"):
                columns.append(score_block(scorer, block))
                continue
            anomaly, (distances, index) = scorer.explain_block(block, place)
            columns.append(anomaly)
            neighbors[f"{group}/{name}"] = distances, positions_in(self._kept, index)
        return self._rescale(namespace(columns[0]).stack(columns, axis=1)), neighbors

    def _score_samples(self, X: dict[str, Array]) -> Array:
        xp = namespace(next(iter(X.values())))
        n_rows = next(iter(X.values())).shape[0]
        width = sum(rows.shape[1] for rows in X.values())
        parts = [
            self._contributions({name: rows[part, :] for name, rows in X.items()})
            for part in row_slices(n_rows, 8 * width, BLOCK_BYTES)
        ]
        return -xp.sum(xp.concat(parts), axis=1)

    def _validate_input(self, X, *, reset):
        return dict(self._blocks(X, reset))

    def _blocks(self, X, reset: bool) -> Iterator[tuple[str, Array]]:
        """Checked blocks of X by name, each as soon as it is there."""
        is_dict = isinstance(X, dict) and not issparse(X)  # some sparse arrays are dicts too
        if is_dict or isinstance(X, Iterator):
            return self._check_blocks(X.items() if is_dict else X, reset)
        X = super()._validate_input(X, reset=reset)
        if reset:
            names = getattr(self, "feature_names_in_", None)
            self.groups_ = resolve_groups(self.groups, names, X.shape[1])
        return _split(X, self.groups_)

    def _check_blocks(self, pairs: Iterable, reset: bool) -> Iterator[tuple[str, Array]]:
        if not self.takes_blocks:
            raise ValueError("groups name columns of one array, but X is a dict of blocks")
        groups: dict[str, slice] = {}
        n_features, n_samples = 0, None
        for name, rows in pairs:
            refuse_dask(self, rows, reset=reset, name=f"block {name!r}")
            rows = check_block(name, rows, n_samples=n_samples, min_samples=1 + reset)
            n_samples = rows.shape[0]
            groups[name] = slice(n_features, n_features + rows.shape[1])
            n_features += rows.shape[1]
            yield name, rows
        if not groups:
            raise ValueError("X has no blocks; pass a dict of at least one name to an array")
        if reset:
            self.groups_, self.n_features_in_ = groups, n_features
            self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        elif groups != self.groups_:
            widths, fitted = (
                {name: s.stop - s.start for name, s in g.items()} for g in (groups, self.groups_)
            )
            raise ValueError(
                f"X has blocks of the widths {widths}, but FeatureEnsemble was fitted on {fitted}"
            )

    def _fit_members(self, blocks: Iterable[tuple[str, Array]]) -> Array:
        """Fit all scorers; their rescaled leave-one-out anomaly scores (n, members)."""
        self.members_ = []
        columns = []
        for group, rows in blocks:
            block = Block(rows)
            for name, scorer in self._scorers_of(group, rows.shape[0]):
                fitted = clone(scorer)
                try:
                    columns.append(fit_to_block(fitted, block))
                except ValueError as error:
                    raise ValueError(
                        f"{type(scorer).__name__} on group {group!r}: {error}"
                    ) from error
                self.members_.append((group, name, fitted))
        self._check_scored_groups()
        return self._rescale_training(namespace(columns[0]).stack(columns, axis=1))

    def _rescale_training(self, anomaly: Array) -> Array:
        xp = namespace(anomaly)
        self.ranges_ = xp.stack([xp.min(anomaly, axis=0), xp.max(anomaly, axis=0)], axis=1)
        return self._rescale(anomaly)

    def _contributions(self, blocks: dict[str, Array]) -> Array:
        """Rescaled anomaly scores (n, members) of new rows."""
        columns = [score_block(scorer, block) for *_, scorer, block in self._members_of(blocks)]
        return self._rescale(namespace(columns[0]).stack(columns, axis=1))

    def _members_of(self, blocks: dict[str, Array]) -> Iterator[tuple[str, str, Any, Block]]:
        """Members with their blocks, which those of a group share."""
        for group, rows in blocks.items():
            block = Block(rows)
            yield from ((g, *member, block) for g, *member in self.members_ if g == group)

    def _rescale(self, anomaly: Array) -> Array:
        """Anomaly scores (n, members) in units of the range of the training samples' ones."""
        low, span = (like(values, anomaly) for values in self._lows_and_spans())
        return (anomaly - low) / span

    def _lows_and_spans(self) -> tuple[np.ndarray, np.ndarray]:
        """Each member's least anomaly score of the training samples, and what it is divided by."""
        low, high = to_numpy(self.ranges_).T
        is_ours = [isinstance(scorer, BlockScorer) for *_, scorer in self.members_]
        # divided by a range that is rounding noise, a score would drown all others
        unit = np.where(is_ours, 1.0, np.maximum(np.abs(low), np.abs(high)))
        return low, np.where(high - low > DEGENERATE * unit, high - low, 1.0)

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
                f"scorers={self.scorers}; pass 'ens', 'all', 'robust' or a list of (name, "
                "detector) or (name, detector, groups)"
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

    def _scorers_of(self, group: str, n_samples: int) -> list:
        if isinstance(self.scorers, str):
            return _named_ensemble(self.scorers, group, n_samples)
        return [
            (name, scorer)
            for name, scorer, *groups in self.scorers
            if not groups or group in _as_list(groups[0])
        ]


def _as_list(groups: str | list[str]) -> list[str]:
    return [groups] if isinstance(groups, str) else list(groups)


def _split(X: Array, groups: dict) -> Iterator[tuple[str, Array]]:
    for group, columns in groups.items():
        is_slice = isinstance(columns, slice)
        yield (
            group,
            X[:, columns] if is_slice else namespace(X).take(X, like(columns, X), axis=1),
        )


def _take_rows(blocks: dict[str, Array], index: np.ndarray) -> Iterator[tuple[str, Array]]:
    return ((name, take_rows(rows, index)) for name, rows in blocks.items())


class Term(NamedTuple):
    """One of the anomaly scores that a scorer adds up: ``(score - low) / span``."""

    columns: Any  # of the features, a slice or positions
    scorer: Any
    low: float
    span: float


def terms_of(scorer: Any) -> list[Term]:
    """The anomaly scores that a fitted scorer adds up; one, if it is no ensemble."""
    if not isinstance(scorer, FeatureEnsemble):
        return [Term(slice(None), scorer, 0.0, 1.0)]
    return [
        Term(scorer.groups_[group], member, float(low), float(span))
        for (group, _, member), low, span in zip(
            scorer.members_, *scorer._lows_and_spans(), strict=True
        )
    ]
