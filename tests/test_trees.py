"""Searches by a tree, in few columns, against comparing all rows."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skanomaly import MahalanobisCosine, NeighborDistance
from skanomaly._nearest_rows import NearestRows
from skanomaly.scorers import _trees
from skanomaly.scorers._leave_one_out import LeaveOneOut
from skanomaly.scorers._trees import TreeRows

DETECTORS = [
    MahalanobisCosine(),
    MahalanobisCosine(3),
    MahalanobisCosine(3, center=True),
    MahalanobisCosine(2, whiten=False),
    MahalanobisCosine(whiten=False, center=True),
    MahalanobisCosine(trim=0.1),
    NeighborDistance(),
    NeighborDistance(2, aggregation="largest", standardize=False),
]


def correlated(rng):
    return rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4)) + [8, 4, 2, 1]


def duplicated(rng):
    return np.tile(correlated(rng)[:100], (4, 1))


def tied(rng):
    return rng.integers(0, 3, (400, 3)) * 1.0


def with_zeros(rng):
    X = correlated(rng)
    X[:40] = 0
    return X


def heavy_tailed(rng):
    return rng.standard_t(1, size=(400, 3)) + 5


@pytest.fixture
def fit_without_tree(monkeypatch):
    def fit(detector, X):
        with monkeypatch.context() as patch:
            patch.setattr(_trees, "MAX_COLUMNS", 0)
            return clone(detector).fit(X)

    return fit


@pytest.mark.filterwarnings("ignore:only .* of the training samples differ")
@pytest.mark.filterwarnings("ignore:p-values are too small after a fit with trim")
@pytest.mark.filterwarnings("ignore:the mean direction")
@pytest.mark.parametrize("draw", [correlated, duplicated, tied, with_zeros, heavy_tailed])
@pytest.mark.parametrize("detector", DETECTORS, ids=str)
def test_same_scores_as_without_tree(rng, fit_without_tree, detector, draw):
    X = draw(rng)
    queries = np.concatenate([draw(rng), X[:20]])
    exhaustive = fit_without_tree(detector, X)
    by_tree = clone(detector).fit(X)
    assert isinstance(by_tree._neighbors, TreeRows)
    assert not isinstance(exhaustive._neighbors, TreeRows)
    for found, expected in (
        (by_tree.training_scores_, exhaustive.training_scores_),
        (by_tree.score_samples(queries), exhaustive.score_samples(queries)),
        (by_tree.kneighbors(queries)[0], exhaustive.kneighbors(queries)[0]),
    ):
        # where float32 looked for the nearest without a tree, it can only have missed one
        assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("n_columns", [_trees.MAX_COLUMNS, _trees.MAX_COLUMNS + 1])
def test_trees_are_for_few_columns(rng, n_columns):
    detector = NeighborDistance().fit(rng.normal(size=(30, n_columns)))
    assert isinstance(detector._neighbors, TreeRows) == (n_columns == _trees.MAX_COLUMNS)


@pytest.mark.parametrize("k", [1, 3, 29])
def test_nearest_rows_and_others(rng, monkeypatch, k):
    monkeypatch.setattr(_trees, "QUERY_ROWS", 4)
    rows, queries = rng.normal(size=(30, 4)), rng.normal(size=(11, 4))
    tree, stored = TreeRows(rows), NearestRows(rows)
    assert len(tree) == 30
    for found, expected in (
        (tree.nearest(queries, k), stored.nearest(queries, k)),
        (tree.nearest_others(k), stored.nearest_others(k)),
    ):
        assert_allclose(found[0], expected[0], rtol=1e-6)
        assert_array_equal(found[1], expected[1])
    assert_array_equal(tree.nearest(queries[3:4], k)[0], tree.nearest(queries, k)[0][3:4])


@pytest.mark.parametrize("center", [False, True])
def test_rows_that_change_the_space_most_are_compared_with_all(rng, center):
    """Their nearest is another one without them, and not among the candidates."""
    X = rng.normal(size=(60, 3)) + [4, 0, 0]
    X[:3] = [[400, 300, 0], [4, -500, 0], [4, 0, 600]]
    detector = MahalanobisCosine(2, center=center, shrinkage=None).fit(X)
    whitening = detector.whitening_
    space = LeaveOneOut(whitening, whitening.transform(X))
    angles = space.angles(slice(0, 60), np.tile(np.arange(60), (60, 1)))
    np.fill_diagonal(angles, np.inf)
    expected = -np.sort(angles, axis=1)[:, :2].mean(axis=1)
    assert_allclose(detector.training_scores_, expected, atol=1e-7)


def test_a_row_at_the_mean_is_seen_from_the_mean_without_each_other_row(rng):
    """Centred it is zero, and turns to any direction when another row is left out."""
    half = rng.normal(size=(30, 3))
    X = np.concatenate([half, -half, np.zeros((1, 3))])
    detector = MahalanobisCosine(center=True).fit(X)
    whitening = detector.whitening_
    space = LeaveOneOut(whitening, whitening.transform(X))
    angles = space.angles(slice(0, 61), np.tile(np.arange(61), (61, 1)))
    np.fill_diagonal(angles, np.inf)
    assert_allclose(detector.training_scores_[:-1], -angles.min(axis=1)[:-1], atol=1e-6)


def test_pickle(rng):
    X, queries = correlated(rng), correlated(rng)
    detector = MahalanobisCosine().fit(X)
    copy = pickle.loads(pickle.dumps(detector))
    assert_array_equal(copy.score_samples(queries), detector.score_samples(queries))
