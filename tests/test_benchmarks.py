"""The benchmarks' command, records and data, and the experiments that fit detectors."""

import importlib
import io

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from benchmarks import __main__, data, detection, markdown, methods, records, report
from benchmarks import report_detection as pages
from benchmarks.__main__ import EXPERIMENTS, main
from benchmarks.detection import Task
from benchmarks.records import RESULTS, Records


@pytest.fixture
def rows(rng):
    """X and y of a table: 90 normal rows and 30 anomalies, with missing values."""
    X = np.r_[rng.normal(size=(90, 3)), rng.normal(size=(30, 3)) + [3, 0, 0]]
    X[::17, 2] = np.nan
    return X, np.repeat([0, 1], [90, 30])


@pytest.fixture
def folder(rows, tmp_path):
    """A data folder with that table."""
    (tmp_path / "tabular").mkdir()
    np.savez(tmp_path / "tabular" / "blobs.npz", X=rows[0], y=rows[1])
    return tmp_path


class TestRecords:
    def test_what_is_written_is_read(self, tmp_path):
        first = Records("speed", tmp_path, "--small")
        first.add(method="none", seed=0, auroc=50.5)
        first.add_all([{"method": "a, b", "seed": 1, "auroc": None, "seconds": 2.0}])
        again = Records("speed", tmp_path)
        pd.testing.assert_frame_equal(again.rows, first.rows, check_dtype=False)
        assert list(again.rows) == ["method", "seed", "auroc", "seconds", "run"]
        assert again.has(method="none", seed=0) and again.has(method="a, b")
        assert not again.has(method="none", seed=1) and not again.has(size=3)
        runs = records.read("runs", tmp_path)
        assert set(again.rows["run"]) == {runs.loc[0, "run"]} and len(runs) == 1
        assert runs.loc[0, ["experiment", "options"]].tolist() == ["speed", "--small"]
        assert "torch " in runs.loc[0, "packages"]

    def test_a_damaged_file_is_refused_by_name(self, tmp_path):
        (tmp_path / "speed.csv").write_text("a,b\n1,2\n1,2,3,4\n")
        with pytest.raises(ValueError, match=r"speed\.csv is damaged"):
            Records("speed", tmp_path)

    def test_committed_results_refer_to_runs(self):
        runs = records.read("runs")
        assert runs["run"].is_unique and not runs["commit"].str.contains("dirty").any()
        for path in RESULTS.glob("*.csv"):
            if path.stem != "runs":
                rows = records.read(path.stem)
                assert path.stem in set(runs["experiment"]), path
                assert set(rows["run"]) <= set(runs["run"]), path


class TestData:
    def test_images_of_files_and_of_sheets(self, rng, tmp_path):
        images = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
        sheet = io.BytesIO()
        pixels = images.reshape(2, 3, 32, 32, 3).swapaxes(1, 2).reshape(64, 96, 3)
        Image.fromarray(pixels).save(sheet, "webp", lossless=True)
        (tmp_path / "cifar10").mkdir()
        webp = np.frombuffer(sheet.getvalue(), np.uint8)
        np.savez(tmp_path / "cifar10" / "test_0.npz", webp0=webp, y=np.arange(6))
        np.savez(tmp_path / "cifar10" / "test_1.npz", x=images[:2], y=np.arange(2))
        X, y = data.read_images("cifar10", "test", tmp_path)
        assert_array_equal(X, np.concatenate([images, images[:2]]))
        assert y.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]

    def test_resized_images_keep_their_layout(self, rng):
        gray = rng.integers(0, 256, (2, 28, 28), dtype=np.uint8)
        assert data.resize(gray, 32).shape == (2, 32, 32) and data.resize(gray, 28) is gray
        flat = np.full((2, 8, 8, 3), 77, np.uint8)
        assert_array_equal(data.resize(flat, 4), flat[:, :4, :4])

    def test_a_missing_table_is_downloaded_once(self, folder, monkeypatch):
        loaded = []

        def download(url, path):
            loaded.append(url)
            with open(path, "wb") as file:
                np.savez(file, X=np.eye(3), y=[0, 0, 1])

        monkeypatch.setattr(data.urllib.request, "urlretrieve", download)
        for _ in range(2):
            X, y = data.read_table("tabular", "glass", folder)
        assert X.shape == (3, 3) and y.sum() == 1
        assert loaded == [f"{data.ADBENCH}/Classical/14_glass.npz"]

    def test_without_a_network_it_says_what_goes_where(self, folder, monkeypatch):
        def refuse(url, path):
            raise OSError("no route")

        monkeypatch.setattr(data.urllib.request, "urlretrieve", refuse)
        with pytest.raises(OSError, match=r"14_glass.npz cannot .*\(no route\); put it in .*glass"):
            data.read_table("tabular", "glass", folder)

    def test_a_set_of_openml_must_be_the_papers(self, folder, monkeypatch):
        fetched = pd.DataFrame({"a": [1.0, 2.0]}), pd.Series(["g", "b"])
        monkeypatch.setattr(data, "fetch_openml", lambda **options: fetched)
        with pytest.raises(ValueError, match=r"59 has 2 rows with 1 anomalies.*351 with 126"):
            data.read_table("tabular", "uci_ionosphere", folder)
        monkeypatch.setitem(data.OPENML, "uci_ionosphere", (59, {"b"}, 2, 1))
        X, y = data.read_table("tabular", "uci_ionosphere", folder)
        assert X.tolist() == [[1], [2]] and y.tolist() == [0, 1]


class TestSplits:
    def test_clean_training_rows(self, rows):
        task = detection.split_clean(*rows, seed=0)
        assert len(task.train) == 62 and len(task.test) == 28 + 30
        assert task.is_anomaly.sum() == 30 and np.isfinite(task.train).all()

    def test_polluted_training_rows_have_the_same_test_rows(self, rows):
        clean, polluted = (detection.split_polluted(*rows, 0, share) for share in (0, 0.1))
        assert_array_equal(clean.test, polluted.test)
        assert_array_equal(clean.train, polluted.train[:62])
        assert len(polluted.train) == 62 + 7 and polluted.is_anomaly.sum() == 23

    def test_drawn_rows_keep_the_share_of_anomalies(self, rows):
        task = detection.draw_rows(*rows, seed=1, max_rows=100)
        assert task.test is None and len(task.train) == 100 and task.is_anomaly.sum() == 25
        assert len(detection.draw_rows(*rows, seed=1, max_rows=200).train) == 120


class TestEvaluate:
    @pytest.fixture
    def task(self, rows):
        X, y = np.nan_to_num(rows[0]), rows[1]
        return Task(X[:60], X[60:], y[60:] == 1)

    def test_scores_of_new_rows(self, task, tmp_path):
        made = {"forest": lambda seed: IsolationForest(random_state=seed)}
        found = Records("x", tmp_path)
        detection.evaluate(task, made, ["forest"], found, set="blobs", seed=3)
        scores = IsolationForest(random_state=3).fit(task.train).score_samples(task.test)
        expected = 100 * roc_auc_score(task.is_anomaly, -scores)
        assert abs(found.rows.loc[0, "auroc"] - expected) <= 0.005
        assert found.rows.loc[0, "fit_seconds"] > 0

    def test_scores_of_training_rows_leave_the_row_out(self, task):
        X = task.train
        found = methods.anomaly_scores(LocalOutlierFactor().fit(X), X, are_training_rows=True)
        assert_array_equal(found, -LocalOutlierFactor().fit(X).negative_outlier_factor_)
        lesinn = methods.LeSiNN(0).fit(X)
        assert_array_equal(methods.anomaly_scores(lesinn, X, True), lesinn.decision_scores_)
        assert_array_equal(methods.anomaly_scores(lesinn, X), lesinn.decision_function(X))

    def test_what_fails_is_empty_and_what_is_there_is_kept(self, task, tmp_path):
        class Fails:
            def fit(self, X):
                raise ValueError("singular")

        made = {"EE": lambda seed: Fails(), "fails": lambda seed: Fails()}
        wide = Task(np.zeros((9, 101)), None, np.arange(9) > 5)
        found = Records("x", tmp_path)
        detection.evaluate(task, made, ["fails"], found, seed=0)
        detection.evaluate(wide, made, ["EE"], found, seed=0)  # not even tried
        assert found.rows["auroc"].isna().all() and len(found.rows) == 2
        detection.evaluate(task, made, ["fails", "EE"], found, seed=0)
        assert len(found.rows) == 2


def test_representations_set_outliers_apart(rows):
    X, y = np.nan_to_num(rows[0]), rows[1]
    scores = methods.REPEN(0, n_steps=100).fit(X).decision_scores_
    assert roc_auc_score(y, scores) > 0.7
    draws = methods.LeSiNN(0).fit(X).models_
    nearest = [NearestNeighbors(n_neighbors=1).fit(m._fit_X).kneighbors(X)[0] for m in draws]
    assert_array_equal(methods.LeSiNN(0).fit(X).decision_scores_, np.mean(nearest, axis=0)[:, 0])


class TestCommand:
    def test_runs_and_resumes(self, folder, capsys, monkeypatch):
        options = ["--data", str(folder), "--results", str(folder), "--sets", "blobs"]
        options += ["--methods", "fifth neighbour", "IsolationForest"]
        assert main(["run", "tables", *options, "--seeds", "1"]) == 0
        assert main(["run", "tables", *options, "--seeds", "2"]) == 0
        rows = records.read("tables", folder)
        assert rows["seed"].tolist() == [0, 0, 1, 1]
        assert rows["auroc"].between(60, 100).all()
        runs = records.read("runs", folder)
        asked = "--sets blobs --methods 'fifth neighbour' IsolationForest --seeds 1"
        assert runs.loc[0, "options"] == asked  # no paths of a machine

    @pytest.mark.parametrize("name", list(EXPERIMENTS))
    def test_every_experiment_can_be_run(self, name):
        module, function = EXPERIMENTS[name].function.split(":")
        found = getattr(importlib.import_module(f"benchmarks.{module}"), function)
        assert len(found.__doc__) > 60

    @pytest.mark.parametrize(
        "arguments, message",
        [
            (["--sets", "bloobs"], "--sets bloobs: pass some of aloi, blobs"),
            (["--methods", "magic"], "--methods magic: pass some of NSA, default"),
        ],
    )
    def test_unknown_names_are_errors(self, arguments, message, folder, capsys):
        arguments += ["--data", str(folder), "--results", str(folder)]
        assert main(["run", "tables", *arguments]) == 2
        assert message in capsys.readouterr().err

    def test_results_of_code_that_is_not_committed_are_refused(self, monkeypatch, capsys):
        monkeypatch.setattr(__main__, "changed_files", lambda: ["skanomaly/nsa.py"])
        assert main(["run", "tables"]) == 2
        assert "skanomaly/nsa.py changed since the last commit" in capsys.readouterr().err

    def test_an_interrupted_run_says_how_to_go_on(self, folder, capsys, monkeypatch):
        def interrupt(*args, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(detection, "evaluate", interrupt)
        assert main(["run", "tables", "--small", "--data", str(folder), "--sets", "blobs"]) == 130
        assert "goes on" in capsys.readouterr().err

    def test_list(self, capsys):
        assert main(["list"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == len(EXPERIMENTS)


class TestPages:
    def test_are_of_the_results(self, tmp_path, monkeypatch):
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *args, **kwargs: None)
        for path in [*RESULTS.glob("*.csv"), *RESULTS.glob("*_notes.md")]:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        report.write_pages(tmp_path)
        written = {path.name for path in tmp_path.glob("*.md")}
        assert written == {path.name for path in RESULTS.glob("*.md")}
        for name in written:
            assert (tmp_path / name).read_text() == (RESULTS / name).read_text(), (
                f"{name} is not what python -m benchmarks report writes; run it and commit"
            )

    def test_missing_figures_count_as_a_guess(self):
        auroc = {"pima": {"DUM": [80, 10], "EE": [None, None]}, "skin": {"DUM": [60, 70]}}
        auroc["skin"]["EE"] = [40, 42]
        rows = pd.DataFrame(
            {"set": s, "method": m, "seed": seed, "auroc": a, "fit_seconds": 2, "score_seconds": 1}
            for s, of_set in auroc.items()
            for m, values in of_set.items()
            for seed, a in enumerate(values)
        )
        found = pages.summarize(rows)
        assert found.loc["DUM"].tolist()[:6] == ["55.0", "1.5", "45.0 (pima)", "28.3", "75.0", 0]
        assert found.loc["EE"].tolist()[:6] == ["45.5", "1.5", "41.0 (skin)", "0.7", "54.5", 2]
        assert "| pima | 45.0 ± 49.5 | - |" in pages.render_sets(rows)

    def test_the_papers_figures_stand_beside_ours(self):
        rows = pd.DataFrame(
            {"set": ["uci_pima"] * 2, "method": ["DUM", "EE"], "seed": 0, "auroc": [10.0, 60.0]}
        )
        assert "| PIMA | 90.0 (81.5) | 60.0 (67.9) |" in pages.render_paper_sets(rows)

    def test_a_setting_is_reported_on_sets_that_it_was_not_chosen_on(self):
        auroc = {"default": [50.0] * 4, "luck": [100.0, 40, 40, 40], "isolation forest": [45.0] * 4}
        rows = pd.DataFrame(
            {"kind": "tabular", "set": f"set {i}", "method": method, "auroc": value}
            for method, values in auroc.items()
            for i, value in enumerate(values)
        )
        found = pages.leave_sets_out(rows)
        # where the lucky set was looked at, the others are left out
        means = found["on the sets left out"].astype(float)
        assert means["the chosen setting"] == pytest.approx(45, abs=0.5)
        assert means["default"] == 50 and means["isolation forest"] == 45
        ahead = found["the chosen one is ahead in"].str.rstrip("%")
        assert ahead["default"] == "0"
        assert float(ahead["isolation forest"]) == pytest.approx(50, abs=6)
        assert "luck (" in found.loc["the chosen setting", "chosen most often"]
        assert "| the chosen setting | 45." in pages.render_study(rows)

    def test_table(self):
        frame = pd.DataFrame({"a|b": ["x", None]}, index=["one", "two"])
        lines = markdown.table(frame, "c").splitlines()
        assert lines == ["| c | a\\|b |", "| --- | --: |", "| one | x |", "| two | - |"]
        assert markdown.spread(pd.Series([1.0, None])) == "1.0"
        assert markdown.spread(pd.Series([1.0, 2.0]), 10) == "15.0 ± 7.1"
