"""Dask collections are scored by chunks, on threads and on a cluster of processes."""

import os

import fsspec
import joblib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from skanomaly import (
    CenterCosine,
    DUMDetector,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
    OneClassKFold,
    PatchCosine,
    PretrainedEncoder,
    read_images,
)
from skanomaly.scorers._block_scorer import Scorer

from .counting import CountingEncoder
from .registry import identify, make_one_of_each_class
from .workers import die_once

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
db = pytest.importorskip("dask.bag")

METHODS_IN_MEMORY = [
    "transform",
    "transform_blocks",
    "predict_frame",
    "explain",
    "kneighbors",
    "heatmaps",
    "rank_certainty",
    "shift_test",
    "partial_fit",
]
METHODS = ["score_samples", "decision_function", "predict", "p_values"]


def make_counted(log):
    """A detector that writes down in which processes it is unpickled.

    Its class is pickled with it, so that workers need not import this module.
    """

    class Counted(CenterCosine):
        def __setstate__(self, state):
            super().__setstate__(state)
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")

    return Counted()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "detector",
    [MahalanobisCosine(), FeatureEnsemble(), NSADetector(), NeighborDistance()],
    ids=lambda detector: type(detector).__name__,
)
def test_array_is_scored_lazily_in_its_chunks(detector, method, table):
    X = np.concatenate([table[:7], table + 0.3])  # some are training samples
    expected = getattr(detector.fit(table), method)(X)
    lazy = getattr(detector, method)(da.from_array(X, chunks=(13, 2)))
    assert isinstance(lazy, da.Array) and lazy.shape == (67,)
    assert lazy.chunks == ((13, 13, 13, 13, 13, 2),)
    found = lazy.compute(scheduler="threads")
    assert found.dtype == lazy.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_chunks_of_unknown_sizes_and_of_none(table):
    detector = MahalanobisCosine().fit(table)
    X = da.from_array(table, chunks=(20, 5))
    some = X[X[:, 0] > np.median(table[:, 0])]
    none = X[X[:, 0] > 100]
    scores = detector.score_samples(some)
    assert np.isnan(scores.shape[0]) and scores.ndim == 1
    expected = detector.score_samples(table[table[:, 0] > np.median(table[:, 0])])
    np.testing.assert_allclose(scores.compute(), expected, atol=1e-12)
    assert detector.predict(none).compute().shape == (0,)
    assert detector.predict(none).compute().dtype == np.int64


@pytest.mark.parametrize("method", METHODS)
def test_frame_keeps_its_index(method, table):
    frame = pd.DataFrame(table, index=np.arange(60) * 3).add_prefix("x")
    detector = NeighborDistance().fit(frame)
    lazy = getattr(detector, method)(dd.from_pandas(frame, npartitions=4))
    assert isinstance(lazy, dd.Series) and lazy.npartitions == 4 and lazy.name == method
    found = lazy.compute()
    assert found.dtype == lazy.dtype and found.index.equals(frame.index)
    np.testing.assert_allclose(found, getattr(detector, method)(frame), atol=1e-12)
    nothing = dd.from_pandas(frame, npartitions=2).query("x0 > 100")
    assert len(getattr(detector, method)(nothing).compute()) == 0


def save_images(images, folder):
    paths = [str(folder / f"{i:02}.png") for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.fixture
def image_detector(images):
    return NSADetector(PretrainedEncoder("mobilenet_v3_small", weights=None, image_size=32)).fit(
        images
    )


def test_bag_of_paths(images, image_detector, tmp_path):
    paths = save_images(255 - images, tmp_path)
    lazy = image_detector.score_samples(db.from_sequence(paths, npartitions=3))
    assert isinstance(lazy, db.Bag) and lazy.npartitions == 3
    expected = image_detector.score_samples(255 - images)
    np.testing.assert_allclose(lazy.compute(scheduler="threads"), expected, rtol=1e-5)
    labels = image_detector.predict(db.from_sequence(paths, npartitions=3))
    assert labels.compute(scheduler="threads") == image_detector.predict(paths).tolist()
    empty = db.from_sequence(paths, npartitions=3).filter(lambda path: "none" in path)
    assert image_detector.predict(empty).compute(scheduler="threads") == []


def test_images_behind_a_protocol_are_read_once_by_fsspec(images, image_detector, monkeypatch):
    system = fsspec.filesystem("memory")
    urls = [f"memory://photos/{i}.png" for i in range(len(images))]
    for url, image in zip(urls, images, strict=True):
        with fsspec.open(url, "wb") as file:
            Image.fromarray(image).save(file, format="PNG")
    reads, cat_file = [], type(system).cat_file
    monkeypatch.setattr(
        type(system), "cat_file", lambda self, path: reads.append(path) or cat_file(self, path)
    )
    read = read_images(urls)
    assert read.paths == urls and np.array_equal(read.pixels, images)
    assert sorted(reads) == sorted(f"/photos/{i}.png" for i in range(len(images)))
    scores = image_detector.score_samples(db.from_sequence(urls, npartitions=2))
    expected = image_detector.score_samples(images)
    np.testing.assert_allclose(scores.compute(scheduler="threads"), expected, rtol=1e-5)
    assert np.array_equal(read_images(urls[3]).pixels, images[3:4])
    with pytest.raises(ValueError, match="1 of 2 images"):
        read_images([urls[0], "memory://photos/none.png"])
    system.rm("/photos", recursive=True)


def test_arrays_of_images(images, image_detector):
    lazy = image_detector.score_samples(da.from_array(images, chunks=(10, 6, 12)))
    assert lazy.chunks == ((10, 10, 4),)
    np.testing.assert_allclose(
        lazy.compute(scheduler="threads"), image_detector.score_samples(images), rtol=1e-5
    )
    with pytest.raises(ValueError, match="was fitted on"):
        image_detector.score_samples(da.zeros((10, 5, 5), dtype=np.uint8))


def test_what_the_shape_tells_is_refused_before_computing(table):
    detector = MahalanobisCosine().fit(table)
    with pytest.raises(ValueError, match="X has 4 features, but MahalanobisCosine is expecting 5"):
        detector.predict(da.zeros((10, 4)))
    detector.fit(pd.DataFrame(table).add_prefix("x"))
    frame = pd.DataFrame(table).add_prefix("y")
    with pytest.raises(ValueError, match="feature names should match"):
        detector.predict(dd.from_pandas(frame, npartitions=2))
    with pytest.raises(TypeError, match=r"X is a dask\.\S+Series; pass a dask.array, a"):
        detector.predict(dd.from_pandas(frame, npartitions=2)["y0"])
    with pytest.raises(NotFittedError):
        MahalanobisCosine().p_values(da.zeros((10, 4)))
    trimmed = MahalanobisCosine(trim=0.1).fit(table)
    with pytest.warns(UserWarning, match="p-values are too small") as warned:
        trimmed.p_values(da.ones((10, 5))).compute()
    assert len(warned) == 1


def count_loads(loads, table):
    """Dask collections of a table that write down when they are loaded, and of what kind."""

    def load(part):
        loads.append(len(part))
        return part

    frame = pd.DataFrame(table).add_prefix("x")
    return {
        "array": da.from_array(table, chunks=(20, 5)).map_blocks(load, meta=np.empty((0, 0))),
        "dataframe": dd.from_pandas(frame, npartitions=3).map_partitions(load, meta=frame[:0]),
        "bag": db.from_sequence(list(table), npartitions=3).map_partitions(load),
    }


@pytest.mark.parametrize("estimator", make_one_of_each_class(), ids=identify)
def test_nothing_is_loaded_silently(estimator, table):
    loads = []
    collections = count_loads(loads, table)
    fitted = clone(estimator).fit(table)
    name = type(estimator).__name__
    for kind, X in collections.items():
        takes_dask = isinstance(estimator, (Scorer, DUMDetector))
        if kind == "bag" or not takes_dask:
            for method in ("fit", "fit_predict", "fit_transform"):
                if hasattr(estimator, method):
                    end = ", which" if takes_dask and method == "fit_transform" else "; "
                    with pytest.raises(TypeError, match=f"X is a dask.{kind}{end}"):
                        getattr(clone(estimator), method)(X)
        for method in METHODS_IN_MEMORY:
            if hasattr(estimator, method):
                with pytest.raises(TypeError, match=f"X is a dask.{kind}, which .* of {name} "):
                    getattr(fitted, method)(X)
    assert not loads


def test_neither_are_blocks_maps_nor_files(table):
    X = da.from_array(table)
    with pytest.raises(TypeError, match=r"block 'a' is a dask\.array; fit FeatureEnsemble to a"):
        FeatureEnsemble().fit({"a": X})
    with pytest.raises(TypeError, match=r"X is a dask\.array; fit PatchCosine to a sample"):
        PatchCosine().fit(da.zeros((4, 2, 3, 3)))
    with pytest.raises(TypeError, match=r"pass what is in memory: source\.compute\(\)"):
        read_images(db.from_sequence(["a.png"]))


def test_errors_name_the_chunk(table):
    detector = MahalanobisCosine().fit(table)
    table[33, 2] = np.nan
    scores = detector.score_samples(da.from_array(table, chunks=(15, 5)))
    with pytest.raises(ValueError, match=r"chunk 2 of X: X contains NaN or infinity: X\[3, 2\]"):
        scores.compute()
    frame = dd.from_pandas(pd.DataFrame(table), npartitions=4)
    with pytest.raises(ValueError, match="partition 2 of X: X contains NaN"):
        detector.score_samples(frame).compute()


def test_model_is_sent_to_a_worker_once(client, table, tmp_path):
    log = tmp_path / "log"
    detector = make_counted(str(log)).fit(table)
    X = da.from_array(np.tile(table, (10, 1)), chunks=(10, 5))  # 60 tasks
    found = client.compute(detector.score_samples(X)).result()
    np.testing.assert_allclose(found, detector.score_samples(np.tile(table, (10, 1))))
    processes = [int(pid) for pid in log.read_text().split()]
    workers = {*client.run(os.getpid).values()}
    counts = {pid: processes.count(pid) for pid in processes}
    assert workers & set(counts) and max(counts.values()) == 1, counts


def test_worker_that_is_killed_changes_nothing(client, table, tmp_path):
    detector = MahalanobisCosine().fit(table)
    X = np.tile(table, (10, 1)) + 0.1
    chunks = da.from_array(X, chunks=(20, 5))
    marker = tmp_path / "marker"
    lazy = detector.score_samples(chunks.map_blocks(die_once, str(marker), meta=chunks._meta))
    found = client.compute(lazy).result(timeout=60)
    assert marker.exists()
    np.testing.assert_array_equal(found, detector.score_samples(chunks).compute())


def test_search_on_the_cluster_trains_an_encoder_once_a_fold(client, table, tmp_path):
    X, y = np.concatenate([table, table[:10] + 9]), np.repeat([1, -1], [60, 10])
    log = tmp_path / "log"
    (tmp_path / "cache").mkdir()
    detector = NSADetector(
        CountingEncoder(str(log)), NeighborDistance(), memory=str(tmp_path / "cache")
    )
    search = GridSearchCV(
        detector,
        {"scorer__n_neighbors": [1, 2, 5, 9]},
        cv=OneClassKFold(3),
        scoring="roc_auc",
        refit=False,
    )
    with client.as_current(), joblib.parallel_config("dask"):
        search.fit(X, y)
        scores = cross_val_score(detector, X, y, cv=OneClassKFold(3), scoring="roc_auc")
    assert log.read_text().count("trained") == 3
    found = search.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, search.fit(X, y).cv_results_["mean_test_score"])
    assert scores.shape == (3,) and (scores > 0.9).all()
