"""The benchmarks of speed and memory, and those of DUM on images."""

import functools
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import roc_auc_score

from benchmarks import (
    clusters,
    dum_images,
    files,
    growth,
    memory,
    models,
    pretrained,
    report_dum_images,
    report_speed,
    serving,
    speed,
    training,
)
from benchmarks.memory import PeakMemory, in_new_process
from benchmarks.records import Records
from skanomaly import DUMDetector, MahalanobisCosine

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak memory is read from Linux's /proc"
)
MODULES = (dum_images, growth, models, speed, training)


@pytest.fixture
def options():
    return SimpleNamespace(small=True, data=None, sets=None, methods=None, seeds=None)


@pytest.fixture
def images(monkeypatch):
    """Images of ten classes in place of the public sets: class c has a bright row c."""

    def read_images(name, split, folder):
        rng = np.random.default_rng(split == "test")
        y = np.repeat(np.arange(10), 60)
        X = rng.integers(0, 100, (len(y), 12, 12), dtype=np.uint8)
        X[np.arange(len(y)), y] += 100
        return (np.repeat(X[..., None], 3, axis=-1) if name == "cifar10" else X), y

    for module in MODULES:
        monkeypatch.setattr(module, "read_images", read_images)
    return read_images


@pytest.fixture
def records(tmp_path):
    return Records("x", tmp_path)


class TestTrainingSpeed:
    def test_all_contestants(self, options, images, records, monkeypatch):
        pytest.importorskip("lightly")
        monkeypatch.setattr(training, "FASTEST", "float32")
        monkeypatch.setattr(training, "SMALL", training.SMALL._replace(rounds=1))
        training.training_speed(options, records)
        rows = records.rows.set_index(["method", "statistic"])
        methods = ["skanomaly", "lightly", "bare network", "matrix product"]
        assert rows.index.unique("method").tolist() == methods
        assert (rows["images_per_second"] > 0).all()
        assert (rows.loc["lightly", "times_lightly"] == 1).all()
        assert (rows.loc["bare network", "times_bare_network"] == 1).all()

    def test_ratios_are_within_a_round(self):
        rates = pd.DataFrame([[2, 1, 4], [6, 2, 4], [4, 8, 4]])
        methods = ("skanomaly", "lightly", "bare network")
        rates.columns = pd.MultiIndex.from_product([methods, ["float32"]])
        rows = {(r["method"], r["statistic"]): r for r in training.summarize(rates, 8)}
        assert rows["skanomaly", "median"]["times_lightly"] == 2  # of 2, 3 and 1/2
        assert rows["skanomaly", "min"]["times_lightly"] == 0.5
        assert rows["skanomaly", "max"]["times_bare_network"] == 1.5
        assert rows["lightly", "median"]["images_per_second"] == 2


class TestTrainingTime:
    def test_rows_of_each_method(self, options, images, records):
        training.training_time(options, records)
        rows = records.rows.set_index("method")
        assert rows.index.tolist() == ["nearest pixels", "untrained", "NSA"]
        assert rows["epochs"].tolist()[1:] == [0, 1]
        assert (rows["seconds"].dropna() > 0).all() and rows.loc["NSA", "cpu_seconds"] > 0
        assert rows.loc["NSA", ["loss", "kappa", "auroc_last_block"]].notna().all()
        splits = (images("fashion_mnist", split, None) for split in ("train", "test"))
        train, test, is_anomaly = training.draw_task(*splits, 0, 0, 40, 5)
        train, test = (X.reshape(len(X), -1) / 255 for X in (train, test))
        distances = np.linalg.norm(test[:, None] - train, axis=2).min(axis=1)
        expected = 100 * roc_auc_score(is_anomaly, distances)
        assert_allclose(rows.loc["nearest pixels", "auroc"], expected, atol=0.01)
        training.training_time(options, records)
        assert len(records.rows) == 3

    def test_what_is_drawn(self, images):
        splits = [images("fashion_mnist", split, None) for split in ("train", "test")]
        train, test, is_anomaly = training.draw_task(*splits, 3, 1, 40, 5)
        assert len(train) == 40 and (train[:, 3].mean(axis=1) > 99).all()
        assert len(test) == 50 and (~is_anomaly).sum() == 5
        assert (test[~is_anomaly, 3].mean(axis=1) > 99).all()

    def test_unknown_sets_are_errors(self, options, records):
        options.sets = ["mnist"]
        with pytest.raises(ValueError, match="--sets mnist: pass some of fashion_mnist, cifar10"):
            training.training_time(options, records)


class TestNeighbors:
    @needs_linux
    def test_rows(self, options, records):
        pytest.importorskip("faiss")
        speed.neighbors(options, records)
        rows = records.rows
        timed = rows[(rows["queries"] == "random") & rows["seconds"].notna()]
        assert len(timed) == 8 and (timed["seconds"] > 0).all()
        assert timed["memory_mib"].notna().sum() == 1
        checked = rows[rows["max_error"].notna()].set_index(["queries", "method"])
        assert (checked["same_nearest"] == 1).all() and len(checked) == 4
        assert (checked.xs("skanomaly", level="method")["max_error"] < 1e-6).all()
        # faiss has cosines, from which angles of 1e-6 cannot be told
        assert checked.loc[("near-duplicates", "faiss"), "max_error"] > 1e-5
        index = rows[rows["queries"] == "in clusters"].set_index("method")
        assert index.loc['index="exact"', "same_nearest"] == 1
        assert index.loc['index="faiss"', "same_nearest"] > 0.9

    def test_exact_angles(self, rng):
        rows = rng.normal(size=(60, 4)).astype(np.float32)
        queries = np.r_[rng.normal(size=(10, 4)), speed.near_duplicates(rows[:5])]
        queries = queries.astype(np.float32)
        angles, indices = speed.exact_nearest(rows, queries, k=3)
        u, v = (speed.unit(X.astype(np.longdouble)) for X in (queries, rows))
        chords = np.sqrt(((u[:, None] - v) ** 2).sum(axis=-1))
        expected = 2 * np.arcsin(chords / 2)
        assert_array_equal(indices, np.argsort(expected, axis=1)[:, :3])
        assert_allclose(angles, np.sort(expected, axis=1)[:, :3], rtol=1e-12)
        assert_array_equal(indices[10:, 0], np.arange(5))
        assert_allclose(angles[10:, 0].astype(float), speed.DUPLICATE_ANGLE, atol=2e-7)


def test_scoring(options, images, records):
    speed.scoring(options, records)
    rows = records.rows.set_index(["images", "step"])
    assert rows.index.unique("step").tolist() == ["embedding", "all blocks", "ensemble"]
    assert rows.index.unique("images").tolist() == [8, 1] and (rows["seconds"] > 0).all()
    assert (rows.xs("all blocks", level="step")["times_all_blocks"] == 1).all()
    assert set(rows["train_images"]) == {50}


def test_models(options, images, records, monkeypatch):
    monkeypatch.setattr(models, "time_loading", lambda path, image, repeats: 1.5)
    options.methods = ["NSADetector (compact)", "IsolationForest"]
    models.models(options, records)
    rows = records.rows.set_index("method")
    ours = rows.loc["NSADetector (compact)"]
    milliseconds = ["forward_ms", "onnx_ms", "one_ms", "many_ms", "explain_ms"]
    assert ours["file_mb"] > 1 and ours[milliseconds].gt(0).all()
    page = report_speed.render_models(records.rows)
    assert re.search(r"\| IsolationForest \| [\d.]+ \| 1\.5 \| [\d.]+ \| - \| - \| - \|", page)


def test_pretrained_speed(options, records):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("onnxruntime")
    pretrained.pretrained_speed(options, records)
    methods = list(records.rows.method)
    assert methods[6:8] == ["onnxruntime", "transform_blocks, torch"]
    assert (records.rows.images_per_second > 0).all() and len(methods) == 11


@pytest.mark.filterwarnings("ignore:only 40 of the training samples differ")
def test_serving(options, records, monkeypatch):
    pytest.importorskip("uvicorn")
    monkeypatch.setattr(serving, "PIXELS", {"compact": 28})
    serving.serving(options, records)
    rows = records.rows
    methods = [("network", 1), ("score_samples", 1), ("server", 1), ("server", 8)]
    assert list(zip(rows["method"], rows["clients"], strict=True)) == methods
    assert (rows["images_per_second"] > 0).all()
    assert (rows["p95_ms"] > 0).all()


def test_ratios_of_scoring_are_within_a_round():
    seconds = pd.DataFrame({"embedding": [1, 2, 2], "all blocks": [2, 2, 1], "ensemble": [4, 2, 4]})
    rows = {row["step"]: row for row in speed.compare_steps(seconds)}
    assert rows["ensemble"] == {
        "step": "ensemble",
        "seconds": 4,
        "times_embedding": 2,
        "times_all_blocks": 2,
    }


@needs_linux
class TestMemory:
    def test_peak(self, monkeypatch):
        resident = iter([100, 170, 170])
        monkeypatch.setattr(memory, "mebibytes", lambda field: next(resident))
        with PeakMemory() as peak:
            pass
        assert (peak.mib, peak.process_mib) == (70, 170)
        assert in_new_process(os.getpid) != os.getpid()

    def test_growth_ends_with_what_takes_too_long(self, options, records, monkeypatch):
        sizes = [(200, 4), (300, 4), (400, 4)]
        methods = {
            "k-Cos": (MahalanobisCosine(whiten=False), (sizes, sizes[:1])),
            "mmd": (growth.diagnostics.mmd_to_uniform, (sizes,)),
        }
        monkeypatch.setattr(growth, "METHODS", methods)
        monkeypatch.setattr(growth, "in_new_process", lambda function, *args: function(*args))
        options.small = False
        growth.growth(options, records)
        rows = records.rows.set_index("method")
        assert rows["rows"].tolist() == [200, 300, 400, 200, 200, 300, 400]
        assert (rows["seconds"] > 0).all() and (rows["process_mib"] > rows["memory_mib"]).all()
        assert (rows.loc["k-Cos", "score_seconds"] > 0).all()
        assert rows.loc["mmd", "score_seconds"].isna().all()
        monkeypatch.setattr(growth, "LIMIT", -1)
        growth.growth(options, records)
        assert records.rows["rows"].tolist()[7:] == [200, 200, 200]
        options.methods = ["magic"]
        with pytest.raises(ValueError, match="--methods magic: pass some of k-Cos, mmd"):
            growth.growth(options, records)

    def test_of_a_detector(self, images):
        X = growth.as_32_by_32(images("fashion_mnist", "train", None)[0][:40, :8, :8])
        assert X.shape == (40, 3, 12, 12)
        rows = growth.measure_detector(X, X[:20], 0)
        assert [(row["step"], row["images"]) for row in rows] == [("fit", 40), ("score", 20)]
        assert all(row["memory_mib"] >= 0 and row["seconds"] > 0 for row in rows)


@needs_linux
class TestClusters:
    def test_of_threads(self, options, records, monkeypatch):
        distributed = pytest.importorskip("distributed")
        of_threads = functools.partial(distributed.LocalCluster, processes=False)
        monkeypatch.setattr(distributed, "LocalCluster", of_threads)
        clusters.dask_cluster(options, records)
        rows = records.rows.set_index(["method", "workers"])
        assert len(rows) == 8 and (rows["rows"] == 500).all() and (rows["seconds"] > 0).all()
        assert (rows["sent_mib"] >= 0).all() and (rows["memory_mib"] > 1).all()
        assert 0.5 < rows.loc[(clusters.FIT_FAISS, 1), "recall"] <= 1


class TestFiles:
    def test_speed(self, options, records):
        files.files(options, records)
        rows = records.rows.set_index(["step", "method"])
        assert len(rows) == 6 and (rows["seconds"] > 0).all()

    @needs_linux
    def test_memory(self, options, records):
        files.files_memory(options, records)
        rows = records.rows.set_index(["source", "step"])
        assert len(rows) == 4 and (rows["memory_mib"] >= 0).all()
        assert rows.loc[("mapped file", "fit"), "images"] == 100

    @needs_linux
    def test_anonymous_memory(self):
        with memory.PeakAnonymousMemory() as peak:
            block = np.ones(50 * 2**17)
            time.sleep(0.1)
            del block
        assert 40 < peak.mib < 60


class TestDUMImages:
    def test_rows(self, options, images, records, monkeypatch):
        quick = DUMDetector(n_estimators=1, max_epochs=1, scaling="whitened", random_state=0)
        detectors = {"DUM": ("trained", quick), "pixels": (None, MahalanobisCosine())}
        monkeypatch.setattr(dum_images, "make_detectors", lambda encoder, seed: detectors)
        monkeypatch.setattr(dum_images, "corruption_names", lambda: ("dark",))
        monkeypatch.setattr(dum_images, "corrupt_images", lambda images, *_: images // 8)
        dum_images.dum_images(options, records)
        rows = records.rows.set_index("against")
        assert rows.index.tolist() == ["fashion_mnist", "digits", "none", "dark"]
        assert set(rows["set"]) == {"cifar10"} and set(rows["method"]) == {"DUM"}
        assert rows["auroc"].between(0, 100).all() and rows["p_value"].between(0, 1).all()
        assert rows.loc["dark", "p_value"] < rows.loc["none", "p_value"]
        dum_images.dum_images(options, records)
        assert len(records.rows) == 4

    def test_every_detector_can_be_fitted(self, images):
        train, test = (images("cifar10", s, None)[0][::10] for s in ("train", "test"))
        task = dum_images.Task(train, test[:20], {"none": test[20:40], "dark": test[:20] // 8})
        encoders = dum_images.fit_encoders(train, 0, 1)
        assert [len(encoder.history_) for encoder in encoders.values()] == [1, 0]
        (_, dark) = dum_images.evaluate("nearest pixels", task, encoders, 0)
        flat, normal, other = (
            X.reshape(len(X), -1) / 1.0 for X in (train, test[:20], test[:20] // 8)
        )
        distances = np.linalg.norm(np.r_[normal, other][:, None] - flat, axis=2).min(axis=1)
        expected = 100 * roc_auc_score(np.repeat([0, 1], 20), distances)
        assert_allclose(dark["auroc"], expected, atol=0.01)
        names = dum_images.make_detectors(encoders["trained"], 0)
        assert {name for name, _ in names.values()} == {"trained", "untrained", None}

    def test_corrupted_images(self, rng):
        pytest.importorskip("imagecorruptions", exc_type=ImportError)
        images = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
        assert len(dum_images.corruption_names()) == 15
        np.random.seed(5)
        state = np.random.get_state()[1].copy()
        first, again, other = (
            dum_images.corrupt_images(images, "gaussian_noise", 3, seed) for seed in (0, 0, 1)
        )
        assert_array_equal(np.random.get_state()[1], state)
        assert_array_equal(first, again)
        assert (first != other).any() and (first != images).any()

    def test_certainty_of_crops(self):
        images = np.zeros((50, 8, 8, 3), np.uint8)
        scores = iter([4.0, 3.0, 2.0, 1.0])  # the smaller, the less certain
        rows = list(dum_images.measure_crops(lambda views: np.full(50, next(scores)), images, 0))
        assert [row["crop_area"] for row in rows[:-1]] == [1.0, 0.5, 0.25, 0.1]
        assert [row["less_certain"] for row in rows[:-1]] == [0, 1, 1, 1]
        assert [row["mean_score"] for row in rows[:-1]] == [4, 3, 2, 1]
        assert rows[-1] == {"spearman": 1.0}

    def test_certainty_and_its_picture(self, options, images, records, monkeypatch):
        def fit_certainty(train, epochs, seed):
            return lambda images: images.mean(axis=(1, 2, 3))

        monkeypatch.setattr(dum_images, "fit_certainty", fit_certainty)
        dum_images.dum_certainty(options, records)
        dum_images.dum_certainty(options, records)
        assert len(records.rows) == 5
        assert (records.folder / "dum_certainty.png").stat().st_size > 1000
        X, _ = images("cifar10", "test", None)
        brightest, darkest = dum_images.choose_extremes(fit_certainty(X, 1, 0), X)
        assert brightest.mean() > X.mean() > darkest.mean() and len(brightest) == len(darkest) == 8


class TestPages:
    def write_rows(self, folder, name, rows):
        pd.DataFrame(rows).assign(run="r").to_csv(folder / f"{name}.csv", index=False)

    @pytest.fixture
    def folder(self, tmp_path):
        about = {"commit": "abc", "device": "cpu", "cores": 2, "options": None, "experiment": "x"}
        self.write_rows(tmp_path, "runs", [about])
        return tmp_path

    def test_speed(self, folder):
        rate = {"device": "cpu", "precision": "float32", "batch_size": 8}
        statistics = {"median": 7.5, "min": 6.0, "max": 9.0}
        self.write_rows(
            folder,
            "training-speed",
            [
                {**rate, "method": m, "statistic": s, "images_per_second": v * factor}
                | {"times_lightly": factor, "times_bare_network": v}
                for m, factor in (("skanomaly", 2), ("lightly", 1))
                for s, v in statistics.items()
            ],
        )
        task = {"set": "cifar10", "normal": 1, "seed": 0}
        self.write_rows(
            folder,
            "training-time",
            [
                {**task, "method": "nearest pixels", "auroc": 60.0},
                {**task, "method": "untrained", "epochs": 0, "precision": "float32", "auroc": 65.0},
                *(
                    {**task, "seed": seed, "method": "NSA", "epochs": 25, "auroc": a, "seconds": 30}
                    | {"precision": "float32", "normalize": "both"}
                    for seed, a in ((0, 80.0), (1, 81.0), (1, 83.0))  # the last run counts
                ),
            ],
        )
        search = {"rows": 50, "features": 4, "queries": "random", "n_queries": 10, "k": 1}
        self.write_rows(
            folder,
            "neighbors",
            [
                {**search, "method": "matrix product", "seconds": 2.0},
                {**search, "method": "skanomaly", "seconds": 3.0, "memory_mib": 9.5},
                {**search, "method": "skanomaly", "k": 10, "max_error": 1e-8, "same_nearest": 1.0},
            ],
        )
        served = {"network": "compact", "pixels": 28, "p95_ms": 12.0}
        self.write_rows(
            folder,
            "serving",
            [
                {**served, "method": "network", "clients": 1, "images_per_second": 500.0},
                {**served, "method": "server", "clients": 8, "images_per_second": 50.0},
            ],
        )
        sent = {"memory_mib": 700, "client_mib": 1100, "sent_mib": 35.5}
        self.write_rows(
            folder,
            "dask",
            [
                {"method": "fit", "rows": 10_000, "workers": 1, "seconds": 12.5, **sent},
                {
                    "method": "fit",
                    "rows": 10_000,
                    "workers": 2,
                    "seconds": 7.25,
                    "recall": 0.9,
                    **sent,
                },
            ],
        )
        page = self.page_of(folder, report_speed, "speed")
        assert "| fit | 10,000 | 2 | 7.25 | 700 | 1,100 | 35.5 | 0.9 |" in page
        assert "| compact | 28 | server | 8 | 50 | 0.1 | 12 |" in page
        assert "| skanomaly, float32, batches of 8 | 15 | 12 to 18 | 2 | 7.5 |" in page
        assert "| cifar10 1, float32 | 60.0 | 65.0 | 81.5 (30 s) |" in page
        assert "| skanomaly | 3 | 1.5 | 9.5 |" in page
        assert "| random, skanomaly | 1e-08 | 1.0 |" in page
        assert page.count("Not run.") == 8 and "at abc, 2 cores of cpu" in page

    def test_growth_and_scoring(self, folder):
        steps = (("embedding", 1.0, None), ("all blocks", 2.0, 1.0), ("ensemble", 5.0, 2.5))
        self.write_rows(
            folder,
            "scoring",
            [
                {"backbone": "compact", "images": 1, "step": step, "seconds": seconds}
                | {"times_embedding": seconds, "times_all_blocks": ratio}
                for step, seconds, ratio in steps
            ],
        )
        figures = {"seconds": 1.5, "score_seconds": 0.5, "memory_mib": 20.0, "process_mib": 800}
        sizes = {"k-Cos": [(1000, 64), (500, 2048)], "DUM": [(1000, 10)]}
        self.write_rows(
            folder,
            "growth",
            [
                {"method": method, "rows": n, "features": d, **figures}
                for method, of_method in sizes.items()
                for n, d in of_method
            ],
        )
        page = self.page_of(folder, report_speed, "speed")
        assert "| compact, 1 image | 1 | 2 | 5 | 2.5 | 5 |" in page
        assert page.count("| k-Cos | 1.5 s, 20 MiB |") == 2 and "|  | 2,048 |" in page
        assert "| DUM | 1,000 | 10 | 1.5 | 0.5 | 20 | 800 |" in page
        assert (folder / "growth.png").stat().st_size > 1000

    def test_dum_images(self, folder):
        task = {"set": "cifar10", "method": "DUM", "p_value": 1e-9}
        self.write_rows(
            folder,
            "dum-images",
            [
                {**task, "seed": seed, "against": against, "auroc": auroc + seed}
                for seed in (0, 1)
                for against, auroc in (("digits", 80.0), ("none", 50.0), ("fog", 70.0))
            ],
        )
        area = {"seed": 0, "crop_area": 0.1, "mean_score": 1.0, "less_certain": 0.7}
        self.write_rows(folder, "dum-certainty", [area, {"seed": 0, "spearman": 0.2}])
        page = self.page_of(folder, report_dum_images, "dum_images")
        assert "| cifar10, digits | 80.5 ± 0.7 |" in page
        assert "| None | 50.2 | 50.5 ± 0.7 | 1e-09 |" in page  # the paper's figure first
        assert "| Fog | 64.2 | 70.5 ± 0.7 | 1e-09 |" in page
        assert "| 0 | 0.7 | 0.2 |" in page

    @staticmethod
    def page_of(folder, module, name):
        module.write(folder)
        return (folder / f"{name}.md").read_text()
