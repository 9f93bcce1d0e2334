"""index="faiss": candidates from an index, exact angles."""

import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skanomaly import MahalanobisCosine
from skanomaly.scorers._faiss import FaissRows


@pytest.fixture
def clusters(rng):
    """4,000 rows and 500 queries in 20 clusters: training sets for which such indices are made."""
    centers = rng.normal(size=(20, 16)) * 4
    points = centers[rng.integers(20, size=4500)] + rng.normal(size=(4500, 16))
    return points[:4000], points[4000:]


@pytest.mark.parametrize("parameters", [{}, {"whiten": False}, {"n_neighbors": 4}])
def test_recall_on_clusters(clusters, parameters):
    X, queries = clusters
    exact = MahalanobisCosine(**parameters).fit(X)
    approximate = MahalanobisCosine(index="faiss", **parameters).fit(X)
    scores, wanted = (d.score_samples(queries) for d in (approximate, exact))
    assert (scores <= wanted + 1e-6).all()  # what is missed can only be nearer
    assert np.isclose(scores, wanted, atol=1e-6).mean() > 0.97
    assert np.isclose(approximate.training_scores_, exact.training_scores_).mean() > 0.97
    assert_array_equal(approximate.score_samples(X), approximate.training_scores_)


def test_pickle(clusters):
    X, queries = clusters
    detector = MahalanobisCosine(index="faiss").fit(X)
    copy = pickle.loads(pickle.dumps(detector))
    assert_array_equal(copy.score_samples(queries), detector.score_samples(queries))


def test_all_rows_are_looked_at_where_lists_are_too_short(rng):
    X = rng.normal(size=(200, 3))
    stored = FaissRows(X)
    stored._index.nprobe = 1
    _, indices = stored.nearest(rng.normal(size=(5, 3)), 190)
    assert all(len(set(row)) == 190 for row in indices)


def test_few_rows_are_searched_exactly(table):
    exact, approximate = (MahalanobisCosine(index=i).fit(table) for i in ("exact", "faiss"))
    scores, wanted = (d.score_samples(table + 1) for d in (approximate, exact))
    assert_allclose(scores, wanted, atol=1e-7)
    assert_allclose(approximate.training_scores_, exact.training_scores_, atol=1e-7)


def test_missing_extra(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'skanomaly\[faiss\]'"):
        MahalanobisCosine(index="faiss").fit(table)


@pytest.mark.parametrize("whiten", [True, False])
def test_zero_vectors_find_one_another(rng, whiten):
    X = rng.normal(size=(100, 4)) + 1
    X[:5] = 0
    exact, approximate = (
        MahalanobisCosine(2, whiten=whiten, index=index).fit(X) for index in ("exact", "faiss")
    )
    assert_allclose(approximate.training_scores_[:5], exact.training_scores_[:5])
    assert_allclose(approximate.score_samples(X[:1] * 1.0), exact.score_samples(X[:1]))
