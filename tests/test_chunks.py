"""Scorers fitted to Dask arrays are those fitted to the same rows in memory."""

import pickle
import threading
import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.neighbors import KernelDensity

from skanomaly import (
    CenterCosine,
    DUMDetector,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    load,
)
from skanomaly._dask import draw_samples
from skanomaly._moments import ColumnMoments, Moments

from .workers import ENDED, STARTED, die_once, wait_for_the_end

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
db = pytest.importorskip("dask.bag")

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


GROUPS = {"early": slice(0, 4), "late": [4, 6, 5, 9, 13]}
ENSEMBLES = [
    FeatureEnsemble(groups=GROUPS),
    FeatureEnsemble("robust"),
    FeatureEnsemble(
        [("far", NeighborDistance(), "late"), ("center", CenterCosine())], groups=GROUPS
    ),
]


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=["ens", "robust", "list"])
def test_ensemble_is_that_in_memory(ensemble, rng):
    X = rng.normal(size=(83, 14)) @ rng.normal(size=(14, 14)) + 6
    new = np.concatenate([X[:5], X[5:30] + 0.2])
    expected = clone(ensemble).fit(X)
    loads = []
    lazy = da.from_array(X, chunks=((20, 1, 0, 30, 32), (13, 1)))
    ensemble.fit(lazy.map_blocks(lambda chunk: loads.append(1) or chunk, meta=lazy._meta))
    assert [member[:2] for member in ensemble.members_] == [m[:2] for m in expected.members_]
    assert_allclose(ensemble.training_scores_, expected.training_scores_, rtol=0, atol=1e-6)
    assert_allclose(ensemble.ranges_, expected.ranges_, rtol=0, atol=1e-6)
    for detector in (ensemble, ensemble.compute()):
        assert_allclose(detector.score_samples(new), expected.score_samples(new), atol=1e-6)
        explained, wanted = detector.explain(new), expected.explain(new)
        assert_allclose(explained.contributions, wanted.contributions, atol=1e-6)
        for name, (_, indices) in wanted.neighbors.items():
            np.testing.assert_array_equal(explained.neighbors[name][1], indices)
    assert ensemble.compute().compute().n_features_in_ == 14


def test_ensemble_of_a_frame_has_its_groups(table):
    names = ["a__0", "b__0", "a__1", "b__1", "b__2"]
    frame = pd.DataFrame(table, columns=names)
    lazy = FeatureEnsemble().fit(dd.from_pandas(frame, npartitions=3))
    expected = FeatureEnsemble().fit(frame)
    assert list(lazy.groups_) == ["a", "b"] and list(lazy.feature_names_in_) == names
    assert_allclose(lazy.score_samples(frame + 0.1), expected.score_samples(frame + 0.1), atol=1e-6)


@pytest.mark.parametrize(
    "detector",
    [MahalanobisCosine(2), NeighborDistance(), FeatureEnsemble("all")],
    ids=["angles", "distances", "ensemble"],
)
def test_dask_collections_are_scored_where_the_rows_are(detector, table, monkeypatch):
    for module in ("_block_scorer", "_ensemble"):  # a few rows at a time
        monkeypatch.setattr(f"skanomaly.scorers.{module}.BLOCK_BYTES", 8 * 5 * 6)
    detector.fit(da.from_array(table, chunks=(20, 5)))
    computed = detector.compute()
    new = np.concatenate([table[:7], table + 0.1])
    lazy = da.from_array(new, chunks=((20, 0, 47), (2, 3)))
    for method in ("score_samples", "predict", "p_values", "decision_function"):
        found, expected = getattr(detector, method)(lazy), getattr(computed, method)(new)
        assert found.chunks == ((20, 47),) and found.dtype == expected.dtype
        assert_allclose(found.compute(), expected, rtol=0, atol=1e-9)
    frame = dd.from_pandas(pd.DataFrame(new, index=np.arange(67) * 2), npartitions=3)
    series = detector.score_samples(frame).compute()
    assert series.index.equals(frame.compute().index) and series.name == "score_samples"
    assert_allclose(series, computed.score_samples(new), atol=1e-9)
    with pytest.raises(TypeError, match=r"X is a dask\.bag, and .* score by what compute\(\)"):
        detector.score_samples(db.from_sequence([1]))
    with pytest.raises(ValueError, match="X has 4 features"):
        detector.score_samples(lazy[:, :4])
    some = lazy[lazy[:, 0] > 1000 * (lazy[:, 1] > 0)]  # of unknown sizes, all empty
    assert detector.score_samples(some).compute().shape == (0,)
    new[30, 2] = np.nan
    with pytest.raises(ValueError, match=r"chunk 2 of X: X contains NaN .* X\[10, 2\]"):
        detector.score_samples(da.from_array(new, chunks=((20, 0, 47), 5))).compute()


def test_what_cannot_be_fitted_is_refused(table):
    X = da.from_array(table, chunks=(20, 5))
    for scorer, message in (
        (NeighborDistance(trim=0.1), "trim=0.1 of a Dask array"),
        (NeighborDistance(60), "at least 61 are needed"),
        (FeatureEnsemble(trim=0.1), "trim=0.1 of a Dask array"),
        (FeatureEnsemble([("a", CenterCosine(trim=0.1))]), "scorer 'a': trim=0.1 of a Dask"),
        (FeatureEnsemble([("a", NeighborDistance(60))]), "group 'all': Found 60 samples"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.fit(X)
    with pytest.raises(TypeError, match="scorer 'density' is KernelDensity, which cannot be"):
        FeatureEnsemble([("density", KernelDensity())]).fit(X)
    with pytest.raises(TypeError, match=r"X is a dask\.bag; pass a dask.array"):
        CenterCosine().fit(db.from_sequence([1]))
    with pytest.raises(ValueError, match=r"4 samples of 5 features .* at least 5 are needed"):
        CenterCosine().fit(X[:4])
    table[33, 2] = np.inf
    with pytest.raises(ValueError, match=r"chunk 1 of X: X contains NaN or infinity: X\[13, 2\]"):
        CenterCosine().fit(da.from_array(table, chunks=(20, 5)))


def test_index_of_each_chunk_by_faiss(rng):
    pytest.importorskip("faiss")
    rows = rng.normal(size=(3500, 16)) @ rng.normal(size=(16, 16)) + 4
    X, new = rows[:3000], rows[3000:]
    exact = MahalanobisCosine(3).fit(X)
    detector = MahalanobisCosine(3, index="faiss").fit(da.from_array(X, chunks=(1000, 16)))
    wanted = exact.kneighbors(new)[1]
    for one in (detector, detector.compute()):
        found = one.kneighbors(new)[1]
        assert (found[:, :, None] == wanted[:, None]).any(axis=2).mean() > 0.97
        assert np.isclose(one.training_scores_, exact.training_scores_).mean() > 0.97


def test_samples_are_drawn_at_random_from_all_chunks(table):
    X = np.arange(100.0)[:, None] * [1, -1]
    lazy = da.from_array(X, chunks=((0, 6, 1, 63, 30), 1))
    drawn = np.array([draw_samples(lazy, 20, seed)[:, 0] for seed in range(150)])
    assert (np.diff(drawn) > 0).all()  # none twice, in their order
    counts = np.bincount(drawn.astype(int).ravel(), minlength=100)  # 30 +- 4.9 each
    assert abs(counts - 30).max() < 5 * 4.9
    assert abs(counts[:7].mean() - 30) < 5 * 4.9 / 7**0.5
    np.testing.assert_array_equal(draw_samples(lazy[lazy[:, 0] >= 0], 20, 3)[:, 0], drawn[3])
    np.testing.assert_array_equal(draw_samples(lazy, 200, 0), X)
    frame = pd.DataFrame(table, index=np.arange(60) * 2).add_prefix("x")
    pd.testing.assert_frame_equal(draw_samples(dd.from_pandas(frame, npartitions=3), 60, 0), frame)


def test_uncertainty_of_drawn_samples(table, monkeypatch):
    frame = pd.DataFrame(table).add_prefix("x")
    lazy = dd.from_pandas(frame, npartitions=3)
    detector = DUMDetector(max_epochs=3, n_estimators=2, random_state=0)
    expected = clone(detector).fit(frame)
    np.testing.assert_array_equal(detector.fit(lazy).training_scores_, expected.training_scores_)
    assert list(detector.feature_names_in_) == list(frame)
    assert_allclose(detector.score_samples(lazy).compute(), expected.score_samples(frame))
    monkeypatch.setattr("skanomaly.dum.DASK_SAMPLES", 30)
    detector.fit(da.from_array(table, chunks=(25, 3)))
    assert detector.training_scores_.shape == (30,) and detector.n_features_in_ == 5
    again = clone(detector).fit(da.from_array(table, chunks=(25, 3)))
    np.testing.assert_array_equal(again.training_scores_, detector.training_scores_)


@pytest.mark.parametrize("detector", [CenterCosine(), DUMDetector()], ids=["scorer", "dum"])
def test_nothing_is_fitted_before_transform_refuses(detector, table):
    with pytest.raises(TypeError, match=r"X is a dask\.array, which this method of"):
        detector.fit_transform(da.from_array(table))
    assert not hasattr(detector, "offset_")


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


def test_scheduler_that_goes_away_ends_the_fit(table):
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    X = da.from_array(table, chunks=(10, 5))
    X = X.map_blocks(wait_for_the_end, meta=X._meta)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0"}
    detector = CenterCosine()
    timeout = {"distributed.comm.timeouts.connect": "2s"}  # for which a client looks for it
    with (
        dask.config.set(timeout),
        distributed.LocalCluster(processes=False, protocol="tcp", **options) as cluster,
    ):

        def close():
            STARTED.wait(30)
            cluster.sync(cluster.scheduler.close)

        thread = threading.Thread(target=close)
        with distributed.Client(cluster) as client, client.as_current():
            thread.start()
            start = time.monotonic()
            with pytest.raises(distributed.client.FutureCancelledError):
                detector.fit(X)
            assert STARTED.is_set() and time.monotonic() - start < 20
        ENDED.set()
        thread.join()
    assert not hasattr(detector, "training_scores_")


def test_ensemble_on_the_cluster(client, table):
    X = da.from_array(table, chunks=(20, 5))
    with client.as_current():
        detector = FeatureEnsemble().fit(X)
        found = detector.score_samples(X + 0.1).compute()
    assert_allclose(found, FeatureEnsemble().fit(table).score_samples(table + 0.1), atol=1e-6)
