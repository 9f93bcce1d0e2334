"""FeatureEnsemble: groups, members, ranges and the sum."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine
from skanomaly._base import training_scores
from skanomaly._whitening import Whitening

GROUPS = {"conv_block_1": slice(0, 3), "head_layer_1": [3, 4]}


def test_sum_of_rescaled_scores(rng, table):
    """The paper's three steps, written out."""
    queries = rng.normal(size=(8, 5)) + 3
    expected = 0
    for detector, columns in [
        (MahalanobisCosine(whiten=False), slice(0, 3)),
        (MahalanobisCosine(), slice(0, 3)),
        (CenterCosine(whiten=False), slice(3, 5)),
        (CenterCosine(), slice(3, 5)),
    ]:
        train = -detector.fit(table[:, columns]).training_scores_
        score = -detector.score_samples(queries[:, columns])
        expected += (score - train.min()) / (train.max() - train.min())
    ensemble = FeatureEnsemble(groups=GROUPS).fit(table)
    assert_allclose(-ensemble.score_samples(queries), expected)
    assert_allclose(ensemble.transform(queries)[:, 0], expected)
    assert [(group, name) for group, name, _ in ensemble.members_] == [
        ("conv_block_1", "k_cos"),
        ("conv_block_1", "k_cos_mah"),
        ("head_layer_1", "c_cos"),
        ("head_layer_1", "c_cos_mah"),
    ]


def test_all_four_scores_of_every_group(table):
    nearest = [("k_cos", MahalanobisCosine(whiten=False)), ("k_cos_mah", MahalanobisCosine())]
    center = [("c_cos", CenterCosine(whiten=False)), ("c_cos_mah", CenterCosine())]
    four = FeatureEnsemble("all", groups=GROUPS).fit(table)
    listed = FeatureEnsemble(nearest + center, groups=GROUPS).fit(table)
    assert [member[:2] for member in four.members_] == [m[:2] for m in listed.members_]
    assert len(four.members_) == 8
    assert_allclose(four.score_samples(table + 1), listed.score_samples(table + 1))


@pytest.mark.parametrize("n_samples, k", [(2, 1), (60, 3), (2_200, 100)])
def test_robust_has_the_nearest_twentieth(rng, n_samples, k):
    X = rng.normal(size=(n_samples, 3)) + 5
    nearest = [("k_cos", MahalanobisCosine(k, whiten=False)), ("k_cos_mah", MahalanobisCosine(k))]
    center = [("c_cos", CenterCosine(whiten=False)), ("c_cos_mah", CenterCosine())]
    robust, listed = (FeatureEnsemble(s).fit(X) for s in ("robust", nearest + center))
    assert_allclose(robust.score_samples(X + 0.1), listed.score_samples(X + 0.1))


def test_an_outlier_in_training_hides_its_like_from_all_but_robust(rng):
    X = rng.normal(size=(100, 4)) + [9, 5, 3, 1]
    X[0] = [-5, 9, -3, 1]
    like, angles = X[:1] + 0.01, {}
    for name in ("all", "robust"):
        angles[name] = FeatureEnsemble(name).fit(X).explain(like).contributions[0, :2]
    assert (angles["all"] < 0.1).all() and (angles["robust"] > 0.5).all()


def test_training_scores_span_zero_to_one(table):
    ensemble = FeatureEnsemble([("k_cos", MahalanobisCosine())]).fit(table)
    assert_allclose(ensemble.training_scores_.max(), 0)
    assert_allclose(ensemble.training_scores_.min(), -1)


def test_groups_from_column_names(table):
    columns = ["a__0", "a__1", "b__0", "b__1", "b__2"]
    named = FeatureEnsemble().fit(pd.DataFrame(table, columns=columns))
    explicit = FeatureEnsemble(groups={"a": slice(0, 2), "b": slice(2, 5)}).fit(table)
    assert list(named.groups_) == ["a", "b"]
    assert_allclose(named.training_scores_, explicit.training_scores_)
    by_name = FeatureEnsemble(groups={"a": columns[:2], "b": columns[2:]})
    assert_allclose(
        by_name.fit(pd.DataFrame(table, columns=columns)).training_scores_,
        explicit.training_scores_,
    )


def test_any_detector_or_density(table):
    ensemble = FeatureEnsemble(
        [("forest", IsolationForest(random_state=0)), ("density", KernelDensity())], groups=GROUPS
    ).fit(table)
    assert len(ensemble.members_) == 4
    assert ensemble.score_samples(table).shape == (60,)


def test_parameters_of_members():
    ensemble = FeatureEnsemble([("near", MahalanobisCosine())])
    assert ensemble.set_params(near__n_neighbors=3).get_params()["near__n_neighbors"] == 3
    assert "scorers" in FeatureEnsemble().get_params()


def test_scores_for_named_groups(table):
    """Any mixture: one score for all groups, others for some."""
    scorers = [
        ("k_cos", MahalanobisCosine(whiten=False)),
        ("density", GaussianMixture(random_state=0), "head_layer_1"),
        ("c_cos", CenterCosine(), ["conv_block_1", "head_layer_1"]),
    ]
    ensemble = FeatureEnsemble(scorers, groups=GROUPS).fit(table)
    assert [f"{group}/{name}" for group, name, _ in ensemble.members_] == [
        "conv_block_1/k_cos",
        "conv_block_1/c_cos",
        "head_layer_1/k_cos",
        "head_layer_1/density",
        "head_layer_1/c_cos",
    ]
    changed = clone(ensemble).set_params(density__n_components=2, k_cos=CenterCosine())
    assert changed.scorers[1][1].n_components == 2
    assert isinstance(changed.scorers[0][1], CenterCosine)
    assert changed.scorers[1][2] == "head_layer_1"


@pytest.mark.parametrize(
    "member",
    [
        KernelDensity(bandwidth=0.5),
        GaussianMixture(2, random_state=0),
        OneClassSVM(nu=0.1),
        LocalOutlierFactor(novelty=True),
        make_pipeline(PCA(3), KernelDensity()),
        FeatureEnsemble(),
    ],
    ids=lambda member: type(member).__name__,
)
def test_densities_and_detectors_as_members(rng, table, member):
    """Thresholds hold for new samples, because no training sample scores itself."""
    X = rng.normal(size=(400, 5)) + [5, 4, 3, 2, 1]
    ensemble = FeatureEnsemble([("member", member)], contamination=0.1).fit(X)
    new = rng.normal(size=(1000, 5)) + [5, 4, 3, 2, 1]
    rate = (ensemble.predict(new) == -1).mean()
    assert abs(rate - 0.1) < 4 * (0.09 / 400 + 0.09 / 1000) ** 0.5  # threshold and test samples
    low, high = ensemble.ranges_[0]
    alone = clone(member).fit(X).score_samples(new)
    assert_allclose(ensemble.score_samples(new), (alone + low) / (high - low))


def test_explain(rng, table):
    ensemble = FeatureEnsemble(groups=GROUPS).fit(table)
    queries = np.concatenate([rng.normal(size=(6, 5)) + 3, table[:4]])
    explanation = ensemble.explain(queries)
    assert explanation.members == [
        "conv_block_1/k_cos",
        "conv_block_1/k_cos_mah",
        "head_layer_1/c_cos",
        "head_layer_1/c_cos_mah",
    ]
    assert_allclose(explanation.contributions.sum(axis=1), -ensemble.score_samples(queries))
    assert list(explanation.neighbors) == explanation.members[:2]
    alone = MahalanobisCosine().fit(table[:, :3])
    angles, indices = explanation.neighbors["conv_block_1/k_cos_mah"]
    assert_allclose(angles, alone.kneighbors(queries[:, :3])[0])
    assert_array_equal(indices, alone.kneighbors(queries[:, :3])[1])
    low, high = ensemble.ranges_[1]
    expected = (angles[:6, 0] - low) / (high - low)
    assert_allclose(explanation.contributions[:6, 1], expected)
    assert (indices[6:, 0] != np.arange(4)).all()  # not themselves


def test_explain_after_trimming_names_positions_in_X(rng):
    X = np.concatenate([-np.ones((1, 4)) * [9, 5, 7, 6], rng.normal(size=(50, 4)) + 9])
    ensemble = FeatureEnsemble(trim=0.02).fit(X)
    _, indices = ensemble.explain(X[[0, 7]] * 1.0001).neighbors["all/k_cos"]
    assert_array_equal(ensemble.explain(X[[7]]).contributions.shape, (1, 2))
    similarity = X @ X[7] / np.linalg.norm(X, axis=1)
    assert indices[1, 0] == 7  # a new sample, since its length differs
    assert ensemble.explain(X[[7]]).neighbors["all/k_cos"][1] == np.argsort(similarity)[-2]


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"groups": {}}, ValueError, "groups is empty"),
        (
            {"scorers": [MahalanobisCosine()]},
            ValueError,
            r"pass 'ens', 'all', 'robust' or a list of \(name, detector",
        ),
        (
            {"groups": {"a": "vw"}},
            ValueError,
            "group 'a' names the column 'v', but X has no column names",
        ),
        (
            {"groups": {"a": 3}},
            ValueError,
            "group 'a' is 3; pass a slice, positions below 5 or names",
        ),
        ({"groups": {"a": []}}, ValueError, "group 'a' has no columns"),
        ({"groups": {"a": slice(5, 9)}}, ValueError, "group 'a' has no columns"),
        ({"groups": {"a": [0, 5]}}, ValueError, "positions below 5"),
        ({"groups": {"a": [0.5]}}, ValueError, "positions below 5 or names of columns"),
        (
            {"groups": {"a": ["x", 1]}},
            ValueError,
            "names the column 'x', but X has no column names",
        ),
        (
            {"groups": {"a": ["x"]}},
            ValueError,
            "'a' names the column 'x', but X has no column names",
        ),
        (
            {"groups": {"a": slice("v", "x")}},
            ValueError,
            "pass a slice, positions below 5 or names",
        ),
        ({"groups": {0: [1]}}, ValueError, "groups has the key 0; pass names that are str"),
        ({"groups": {"a": [0, 1, 0]}}, ValueError, "groups 'a' and 'a' share column 0"),
        ({"scorers": [(1, CenterCosine())]}, ValueError, "the name 1; pass names that are str"),
        ({"groups": {"a": [0, 1], "b": slice(1, 3)}}, ValueError, "'a' and 'b' share column 1"),
        (
            {"scorers": [("a", CenterCosine(), "b")], "groups": {"c": [0]}},
            ValueError,
            r"scorer 'a' is for groups 'b'; pass some of \['c'\]",
        ),
        (
            {"scorers": [("a", CenterCosine(), [])], "groups": {"c": [0]}},
            ValueError,
            r"scorer 'a' is for groups \[\]; pass some of",
        ),
        ({"scorers": [("a", LocalOutlierFactor())]}, TypeError, "LocalOutlierFactor with novelty"),
        (
            {"scorers": [("a", FrozenEstimator(CenterCosine()))]},
            ValueError,
            "FrozenEstimator on group 'all': .*not fitted",
        ),
        ({"scorers": [("a", CenterCosine(), "c", 1)]}, ValueError, r"\(name, detector, groups\)"),
        (
            {"scorers": [("a", KernelDensity(kernel="tophat", bandwidth=0.1))]},
            ValueError,
            "KernelDensity has no finite score for training sample",
        ),
        ({"scorers": []}, ValueError, r"scorers=\[\]; pass 'ens', 'all', 'robust' or a list"),
        ({"scorers": [("a", object())]}, TypeError, "scorer 'a' is object, which lacks fit"),
        ({"scorers": "four"}, ValueError, "'scorers' parameter of FeatureEnsemble"),
        (
            {"scorers": [("near", MahalanobisCosine(60))]},
            ValueError,
            "MahalanobisCosine on group 'all': n_neighbors=60",
        ),
    ],
)
def test_bad_parameters(table, parameters, error, message):
    with pytest.raises(error, match=message):
        FeatureEnsemble(**parameters).fit(table)


def test_missing_columns(table):
    frame = pd.DataFrame(table, columns=list("vwxyz"))
    with pytest.raises(ValueError, match=r"group 'a' names the column 'q', but X has"):
        FeatureEnsemble(groups={"a": ["v", "q"]}).fit(frame)


@pytest.mark.parametrize("shape", [(2, 5), (30, 1)])
def test_scores_that_do_not_differ_do_not_drown_the_others(rng, shape):
    """Ranges of rounding noise: two samples tie, and in one dimension all angles are zero."""
    X = rng.normal(size=shape) + 5
    scores = FeatureEnsemble().fit(X).score_samples(rng.normal(size=(5, shape[1])) - 3)
    assert (np.abs(scores) < 100).all()


def test_constant_score_adds_nothing_for_training_samples():
    X = np.column_stack([np.ones(10), np.ones(10), np.linspace(1, 2, 10)])
    groups = {"constant": [0], "other": [1, 2]}
    ensemble = FeatureEnsemble([("k_cos", MahalanobisCosine(whiten=False))], groups=groups).fit(X)
    assert_allclose(ensemble.ranges_[0], 0)
    assert np.isfinite(ensemble.score_samples(X)).all()


def test_slices_of_any_kind(table):
    scores = [
        FeatureEnsemble(groups=groups).fit(table).training_scores_
        for groups in (
            {"a": [4, 3, 2, 1, 0]},
            {"a": slice(None, None, -1)},
            {"a": slice(0, 99)},
        )
    ]
    assert_allclose(scores[1], scores[0])
    assert_allclose(scores[2], scores[0])


def test_scorers_are_set_before_their_parameters(table):
    ensemble = FeatureEnsemble().set_params(
        scorers=[("near", MahalanobisCosine())], near__n_neighbors=3
    )
    assert ensemble.get_params()["near__n_neighbors"] == 3
    old = ensemble.scorers[0][1]
    ensemble.set_params(scorers=[("near", MahalanobisCosine())], near__n_neighbors=5)
    assert (old.n_neighbors, ensemble.scorers[0][1].n_neighbors) == (3, 5)


class OwnScores(MahalanobisCosine):
    def score_block(self, block):
        return super().score_block(block) * 2


def test_what_a_subclass_changes_counts(table):
    own = FeatureEnsemble([("own", OwnScores())]).fit(table)
    plain = FeatureEnsemble([("plain", MahalanobisCosine())]).fit(table)
    low, high = plain.ranges_[0]
    expected = (-2 * plain.members_[0][2].score_samples(table + 1) - low) / (high - low)
    assert_allclose(-own.score_samples(table + 1), expected)


BLOCKS = {"early": slice(0, 2), "late": slice(2, 5)}


@pytest.mark.parametrize("trim", [0.0, 0.1])
@pytest.mark.parametrize("scorers", ["all", [("density", KernelDensity())]])
def test_blocks_by_name_are_groups_of_columns(rng, table, scorers, trim):
    """A dict of blocks, or its items one by one, as of an encoder."""
    queries = np.concatenate([rng.normal(size=(7, 5)) + 2, table[:3]])
    of_columns = FeatureEnsemble(scorers, groups=BLOCKS, trim=trim).fit(table)
    blocks = {name: table[:, columns] for name, columns in BLOCKS.items()}
    asked = {name: queries[:, columns] for name, columns in BLOCKS.items()}
    for X in (blocks, iter(blocks.items())):
        of_blocks = FeatureEnsemble(scorers, trim=trim).fit(X)
        assert of_blocks.groups_ == BLOCKS and of_blocks.n_features_in_ == 5
        assert_allclose(of_blocks.training_scores_, of_columns.training_scores_)
        assert_allclose(of_blocks.score_samples(asked), of_columns.score_samples(queries))
        explanation, expected = of_blocks.explain(asked), of_columns.explain(queries)
        assert_allclose(explanation.contributions, expected.contributions)
        assert explanation.members == expected.members
    with pytest.raises(ValueError, match="groups name columns of one array"):
        FeatureEnsemble(scorers, groups={"some": [0, 4]}).fit(blocks)


@pytest.mark.parametrize(
    "blocks, message",
    [
        ({}, "X has no blocks"),
        ({"a": np.ones(4)}, r"block 'a' has shape \(4,\)"),
        ({"a": np.ones((1, 3))}, r"Found 1 sample\(s\) in block 'a'"),
        ({"a": np.eye(4), "b": np.ones((3, 2))}, "block 'b' has 3 samples, but others have 4"),
        ({"a": np.full((4, 2), np.nan)}, "block 'a' contains NaN"),
    ],
)
def test_bad_blocks(blocks, message):
    with pytest.raises(ValueError, match=message):
        FeatureEnsemble().fit(blocks)


def test_blocks_of_other_widths_are_refused(table):
    ensemble = FeatureEnsemble().fit({"a": table})
    with pytest.raises(ValueError, match=r"widths \{'b': 5\}, but .* was fitted on \{'a': 5\}"):
        ensemble.score_samples({"b": table})


@pytest.mark.parametrize("center", [False, True])
def test_a_whitening_is_fitted_and_applied_once(table, monkeypatch, center):
    """However many scores of a block need it."""
    calls = []
    for name in ("fit", "transform"):
        original = getattr(Whitening, name)
        monkeypatch.setattr(
            Whitening, name, lambda s, X, f=original, n=name: calls.append((n, len(X))) or f(s, X)
        )
    scorers = [("k", MahalanobisCosine(center=center)), ("k3", MahalanobisCosine(3, center=center))]
    scorers += [] if center else [("c", CenterCosine())]
    ensemble = FeatureEnsemble(scorers).fit(table)
    assert [c for c in calls if c[1] > 1] == [("fit", 60), ("transform", 60)]
    calls.clear()
    ensemble.score_samples(table[:9] + 0.1)
    assert calls == [("transform", 9)]


def test_frozen_members_score_other_samples(rng):
    """Leave-one-out scores of what they were fitted on are not those of these samples."""
    A, B = rng.normal(size=(2, 40, 3)) + 4
    frozen = FrozenEstimator(MahalanobisCosine().fit(A))
    ensemble = FeatureEnsemble([("a", frozen)]).fit(B)
    expected = frozen.score_samples(B)
    span = np.ptp(expected)
    assert_allclose(ensemble.training_scores_, (expected - expected.max()) / span)
    frozen = FrozenEstimator(FeatureEnsemble().fit(A))
    assert_allclose(training_scores(frozen, B), frozen.score_samples(B))


def test_fit_without_y_and_fitted_members(table):
    class Centre:
        def fit(self, X):
            self.mean_ = X.mean(axis=0)
            return self

        def score_samples(self, X):
            return -1e-12 * np.linalg.norm(X - self.mean_, axis=1)

        def get_params(self, deep=True):
            return {}

    ensemble = FeatureEnsemble([("centre", Centre())]).fit(table)
    assert_allclose(-ensemble.training_scores_.min(), 1)
    frozen = FrozenEstimator(GaussianMixture(random_state=0).fit(table + 1))
    ensemble = FeatureEnsemble([("frozen", frozen)]).fit(table)
    assert ensemble.members_[0][2] is frozen
    assert_allclose(
        -ensemble.training_scores_ * np.ptp(frozen.score_samples(table)),
        frozen.score_samples(table).max() - frozen.score_samples(table),
    )
