"""Scorers on arrays of other libraries: same results, in the caller's library and on its device."""

import pickle

import array_api_strict
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn import config_context

from skanomaly import (
    CenterCosine,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
)
from skanomaly._array_api import to_numpy

DETECTORS = [
    MahalanobisCosine(),
    MahalanobisCosine(3, center=True, n_components=3),
    MahalanobisCosine(whiten=False, trim=0.1),
    MahalanobisCosine(index="faiss"),
    NeighborDistance(),
    NeighborDistance(2, aggregation="largest", standardize=False),
    CenterCosine(),
    FeatureEnsemble(groups={"early": slice(0, 2), "head_layer_1": [3, 2, 4]}),
]
CONVERSIONS = {
    "torch": torch.asarray,
    "torch float32": lambda X: torch.asarray(X, dtype=torch.float32),
    "strict": array_api_strict.asarray,
    "strict device": lambda X: array_api_strict.asarray(
        X, device=array_api_strict.Device("device1")
    ),
}


def dispatch():
    return config_context(array_api_dispatch=True)


@pytest.mark.filterwarnings("ignore:p-values are too small after a fit with trim")
@pytest.mark.parametrize("detector", DETECTORS, ids=str)
@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_same_results_as_numpy(rng, table, detector, convert):
    queries = np.concatenate([rng.normal(size=(7, 5)) + 2, table[:3]])
    X, Q = convert(table), convert(queries)
    expected = detector.fit(to_numpy(X))
    wanted = {name: getattr(expected, name)(to_numpy(Q)) for name in METHODS}
    training_scores, offset = expected.training_scores_, expected.offset_
    # what is stored of float32 rows may be rounded to float16
    atol = 1e-6 if X.dtype != torch.float32 else 3e-3 * training_scores.std()
    with dispatch():
        fitted = detector.fit(X)
        for name in METHODS:
            result = getattr(fitted, name)(Q)
            assert type(result) is type(Q) and result.device == Q.device
            assert_allclose(to_numpy(result), wanted[name], atol=atol, err_msg=name)
        assert type(fitted.training_scores_) is type(X)
        assert_allclose(to_numpy(fitted.training_scores_), training_scores, atol=atol)
        assert_allclose(fitted.offset_, offset, atol=atol)


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_same_neighbours_and_contributions(rng, table, convert):
    X, Q = convert(table), convert(np.concatenate([rng.normal(size=(7, 5)) + 2, table[:3]]))
    wanted = FeatureEnsemble(trim=0.1).fit(to_numpy(X)).explain(to_numpy(Q))
    with dispatch():
        explanation = FeatureEnsemble(trim=0.1).fit(X).explain(Q)
    atol = 1e-6 if X.dtype != torch.float32 else 1e-3
    assert_allclose(to_numpy(explanation.contributions), wanted.contributions, atol=10 * atol)
    for member, (angles, indices) in wanted.neighbors.items():
        assert_allclose(to_numpy(explanation.neighbors[member][0]), angles, atol=atol)
        assert_allclose(to_numpy(explanation.neighbors[member][1]), indices)


METHODS = ("score_samples", "decision_function", "predict", "transform", "p_values")


@pytest.mark.parametrize("detector", DETECTORS, ids=str)
def test_pickles_hold_numpy_arrays(table, detector):
    with dispatch():
        fitted = detector.fit(torch.asarray(table))
        wanted = fitted.score_samples(torch.asarray(table + 0.1))
    data = pickle.dumps(fitted)
    assert b"torch" not in data
    assert_allclose(pickle.loads(data).score_samples(table + 0.1), wanted, atol=1e-12)


@pytest.mark.parametrize("method", [*METHODS, "explain"])
def test_another_library_is_refused(table, method):
    with dispatch():
        detector = FeatureEnsemble().fit(torch.asarray(table))
        message = (
            rf"FeatureEnsemble.{method}\(\) must use the same namespace .*: torch arrays on cpu"
        )
        with pytest.raises(ValueError, match=message):
            getattr(detector, method)(table)


def test_tensors_that_require_gradients(table):
    X = torch.asarray(table).requires_grad_()
    with dispatch():
        assert not MahalanobisCosine().fit(X).score_samples(X).requires_grad


def test_not_finite_is_named(table):
    X = torch.asarray(table)
    X[3, 1] = torch.nan
    with dispatch(), pytest.raises(ValueError, match=r"X\[3, 1\] is nan"):
        MahalanobisCosine().fit(X)


def test_without_dispatch_tensors_become_numpy_arrays(table):
    scores = MahalanobisCosine().fit(torch.asarray(table)).score_samples(torch.asarray(table))
    assert isinstance(scores, np.ndarray)


@pytest.mark.parametrize("detector", [MahalanobisCosine(), NSADetector()])
def test_the_tag_says_so(detector):
    is_scorer = isinstance(detector, MahalanobisCosine)
    assert detector.__sklearn_tags__().array_api_support == is_scorer
