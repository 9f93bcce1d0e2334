"""FeatureEnsemble: groups, members, ranges and the sum."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import KernelDensity

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine

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


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"groups": {}}, ValueError, "groups is empty"),
        (
            {"scorers": [MahalanobisCosine()]},
            ValueError,
            r"pass 'ens' or a list of \(name, detector",
        ),
        ({"groups": {"a": "vw"}}, ValueError, "group 'a' is 'vw'; pass a slice, or a list of"),
        ({"groups": {"a": 3}}, ValueError, "group 'a' is 3; pass a slice, or a list of"),
        ({"groups": {"a": []}}, ValueError, "group 'a' has no columns"),
        ({"groups": {"a": slice(5, 9)}}, ValueError, "group 'a' has no columns"),
        ({"groups": {"a": [0, 5]}}, ValueError, "positions below 5"),
        ({"groups": {"a": ["x"]}}, ValueError, "positions below 5 or names of columns"),
        ({"groups": {"a": [0, 1], "b": slice(1, 3)}}, ValueError, "'a' and 'b' share column 1"),
        ({"scorers": []}, ValueError, r"scorers=\[\]; pass 'ens' or a list of \(name"),
        ({"scorers": [("a", object())]}, TypeError, "scorer 'a' is object, which lacks fit"),
        ({"scorers": "all"}, ValueError, "'scorers' parameter of FeatureEnsemble"),
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
    with pytest.raises(ValueError, match=r"group 'a' names columns that X lacks: \['q'\]"):
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
