"""Scorers fitted to Dask arrays are those fitted to the same rows in memory."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skanomaly import CenterCosine, MahalanobisCosine, NeighborDistance, load
from skanomaly._moments import ColumnMoments, Moments

from .workers import die_once

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

SCORERS = [
    CenterCosine(),
    CenterCosine(whiten=False),
    CenterCosine(shrinkage="oas", n_components=0.9),
    MahalanobisCosine(),
    MahalanobisCosine(3, whiten=False),
    MahalanobisCosine(2, center=True, shrinkage=0.1),
    NeighborDistance(),
    NeighborDistance(3, aggregation="largest", standardize=False),
]


@pytest.mark.parametrize("n_features", [4, 14])  # by trees, and by products
@pytest.mark.parametrize("scorer", SCORERS, ids=str)
def test_same_as_in_memory(scorer, n_features, rng):
    X = rng.normal(size=(83, n_features)) @ rng.normal(size=(n_features, n_features)) + 6
    X[40] = X[3]
    expected = scorer.fit(X)
    training, offset = expected.training_scores_, expected.offset_
    new = np.concatenate([X[:5], X[5:30] + 0.2])
    scores, p_values = scorer.score_samples(new), scorer.p_values(new)
    scorer.fit(da.from_array(X, chunks=((20, 1, 0, 30, 32), (n_features - 1, 1))))
    assert_allclose(scorer.training_scores_, training, rtol=0, atol=1e-6)
    assert abs(scorer.offset_ - offset) < 1e-6 and scorer.n_features_in_ == n_features
    assert_allclose(scorer.score_samples(new), scores, rtol=0, atol=1e-6)
    assert_allclose(scorer.p_values(new), p_values, rtol=0, atol=1e-12)


@pytest.mark.parametrize("magnitude", [1e-90, 1, 1e90])
def test_moments_merge_in_any_order(magnitude, rng):
    X = (rng.exponential(size=(60, 5)) + [9, 0, 0, -3, 1]) * magnitude
    X[50] *= 100
    whole = Moments.of(X)
    parts = [Moments.of(X[a:b]) for a, b in [(0, 1), (1, 30), (30, 60)]]
    for merged in (
        parts[0].merge(parts[1]).merge(parts[2]),
        parts[2].merge(parts[1].merge(parts[0])),
    ):
        assert merged.n_rows == 60
        for name in ("unit", "mean", "product", "cubes", "fourth"):
            assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-9, atol=1e-15)
    columns = ColumnMoments.of(X[:7]).merge(ColumnMoments.of(X[7:]))
    assert_allclose(columns.column_means, X.mean(axis=0), rtol=1e-12)
    assert_allclose(columns.deviations, X.std(axis=0), rtol=1e-12)


def test_frames_and_chunks_of_unknown_sizes(table):
    frame = pd.DataFrame(table).add_prefix("x")
    detector = NeighborDistance().fit(dd.from_pandas(frame, npartitions=3))
    assert list(detector.feature_names_in_) == list(frame)
    expected = NeighborDistance().fit(frame).training_scores_
    assert_allclose(detector.training_scores_, expected, atol=1e-6)
    X = da.from_array(table, chunks=(20, 5))
    detector = NeighborDistance().fit(X[X[:, 0] > 5])
    expected = NeighborDistance().fit(table[table[:, 0] > 5]).training_scores_
    assert_allclose(detector.training_scores_, expected, atol=1e-6)


def test_brought_into_memory_and_saved(table, tmp_path):
    detector = MahalanobisCosine(2).fit(da.from_array(table, chunks=(20, 5)))
    with pytest.raises(ValueError, match=r"with the workers of Dask; save what compute\(\)"):
        pickle.dumps(detector)
    computed = detector.compute()
    new = table + 0.1
    _, expected = MahalanobisCosine(2).fit(table).kneighbors(table)
    np.testing.assert_array_equal(detector.kneighbors(table)[1], expected)
    np.testing.assert_array_equal(computed.kneighbors(table)[1], expected)
    assert computed.compute() is computed
    computed.save(tmp_path / "model.skanomaly")
    loaded = load(tmp_path / "model.skanomaly")
    for copy in (loaded, pickle.loads(pickle.dumps(computed))):
        assert_allclose(copy.score_samples(new), detector.score_samples(new), atol=1e-12)
    assert_allclose(computed.score_samples(da.from_array(new)), detector.score_samples(new))


def test_what_cannot_be_fitted_is_refused(table):
    X = da.from_array(table, chunks=(20, 5))
    for scorer, message in (
        (NeighborDistance(trim=0.1), "trim=0.1 of a Dask array"),
        (NeighborDistance(index="faiss"), "index='faiss' of a Dask array"),
        (NeighborDistance(60), "at least 61 are needed"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.fit(X)
    with pytest.raises(ValueError, match=r"4 samples of 5 features .* at least 5 are needed"):
        CenterCosine().fit(X[:4])
    table[33, 2] = np.inf
    with pytest.raises(ValueError, match=r"chunk 1 of X: X contains NaN or infinity: X\[13, 2\]"):
        CenterCosine().fit(da.from_array(table, chunks=(20, 5)))


def test_worker_that_is_killed_in_the_middle_of_a_fit_changes_nothing(client, table, tmp_path):
    marker = tmp_path / "marker"
    X = da.from_array(table, chunks=(10, 5))
    detector = MahalanobisCosine()
    with client.as_current():
        detector.fit(X.map_blocks(die_once, str(marker), meta=X._meta))
        assert marker.exists()
        scores = detector.score_samples(table + 0.1)  # by rows that are with the workers
        computed = detector.compute()
    expected = MahalanobisCosine().fit(table)
    assert_allclose(detector.training_scores_, expected.training_scores_, atol=1e-6)
    for found in (scores, computed.score_samples(table + 0.1)):
        assert_allclose(found, expected.score_samples(table + 0.1), atol=1e-6)
