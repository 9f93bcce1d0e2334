"""The runner of the NSA paper's tables: cells, locks, figures."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize

from benchmarks import _cells, _curves, _nsa_methods, _nsa_tables, _pattern, _scores, nsa, report
from benchmarks._cells import Cell
from skanomaly import FeatureEnsemble, MahalanobisCosine
from skanomaly.diagnostics import concentration, mmd_to_uniform

ROOT = Path(__file__).parents[1]
TRAINED = Cell("cifar10", 1, "simsiam", normalize="both", backbone="compact", epochs=1)
DEAD = 2**22 + 1  # beyond the greatest pid of Linux
BLOCKS = {_pattern.DEFAULT, _pattern.NEAREST}
MAIN = {*_nsa_tables.SIX_SCORES, "k_cos_mah_printed", "ens_printed", *BLOCKS}
SMALL = ["--small-budget", "--seeds", "1", "--epochs", "1", "--train-images", "16"]
SMALL += ["--test-images", "3", "--dataset", "fashion_mnist", "--classes", "6"]


@pytest.fixture
def splits():
    """12 x 12 pixels: class c has a bright row c + 1."""
    rng = np.random.default_rng(0)
    pair = []
    for n_each in 20, 4:
        y = rng.permutation(np.repeat(np.arange(10), n_each))
        X = rng.integers(0, 60, (len(y), 12, 12), dtype=np.uint8)
        X[np.arange(len(y)), y + 1] += 150
        pair.append((X, y))
    return pair


@pytest.fixture
def run(splits, tmp_path, monkeypatch, capsys):
    """Calls the command with the folder of the test; returns exit status and output."""
    monkeypatch.setattr(nsa, "read_splits", lambda dataset, data, root: splits)

    def call(*arguments):
        status = nsa.main([*SMALL, "--results", str(tmp_path), *arguments])
        return status, capsys.readouterr()

    return call


@pytest.fixture
def computed(monkeypatch):
    """The cells that are computed; their figures are made up."""
    cells = []

    def compute(cell, splits, checkpoint=None, with_curves=False):
        cells.append(cell)
        return make_figures(0.5)

    monkeypatch.setattr(_nsa_methods, "compute", compute)
    return cells


def make_figures(value, **auroc):
    return {
        "auroc": dict.fromkeys(MAIN, value) | auroc,
        "counts": {"train": 20, "outliers": 2, "test": 30},
        "training": {"epochs": 1, "seconds": 1.0, "loss": 1.0, "kappa": 9.0, "embedding_std": 0.9},
        "seconds": 1.5,
        "device": "cpu",
        "commit": "abc",
    }


def write_lock(folder, cell, host, pid):
    _cells.lock_path(folder, cell).write_text(json.dumps({"host": host, "pid": pid}))


class TestCells:
    def test_name_has_all_fields(self):
        names = {TRAINED.name}
        for field in fields(Cell):
            value = getattr(TRAINED, field.name)
            names.add(replace(TRAINED, **{field.name: "x" if isinstance(value, str) else 7}).name)
        assert len(names) == len(fields(Cell)) + 1
        assert TRAINED.name.startswith("cifar10-1-simsiam-both-p0-s0-")
        assert replace(TRAINED, pollution=0).name == TRAINED.name

    def test_what_is_written_is_read(self, tmp_path):
        figures = make_figures(0.25) | {"training": {"kappa": float("inf")}}
        _cells.write_result(tmp_path, TRAINED, figures)
        (result,) = _cells.read_results(tmp_path)
        assert result["cell"] == TRAINED and result["auroc"]["ens"] == 0.25
        assert result["training"]["kappa"] is None
        assert [path.suffix for path in tmp_path.iterdir()] == [".json"]

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda text: text[:-20], "is damaged"),
            (lambda text: "[]", "has format None, not 1"),
            (lambda text: text.replace('"format": 1', '"format": 2'), "has format 2, not 1"),
            (lambda text: text.replace('"commit"', '"version"'), r"lacks \['commit'\]"),
            (
                lambda text: text.replace('"normal"', '"class"'),
                r"other fields, \['class', 'normal'\]",
            ),
            (lambda text: text.replace('"normalize": null,', ""), r"other fields, \['normalize'\]"),
            (lambda text: text.replace('"seed": 0', '"seed": 3'), "is of the cell .*-s3-"),
        ],
    )
    def test_refuses_a_result_by_name(self, change, message, tmp_path, capsys, run):
        run("--methods", "pixels")
        path = next(tmp_path.glob("*.json"))
        path.write_text(change(path.read_text()))
        with pytest.raises(_cells.ResultError, match=f"{path.name} .*{message}.*delete it"):
            _cells.read_result(path)
        status, printed = run("--methods", "pixels")
        assert status == 2 and path.name in printed.err
        assert report.main(["--results", str(tmp_path), "--output", str(tmp_path / "p.md")]) == 2
        assert path.name in capsys.readouterr().err


class TestResumes:
    def test_a_finished_cell_is_not_computed_again(self, run, computed, tmp_path):
        assert run("--objective", "simclr")[0] == 0
        assert len(computed) == 4 and len(list(tmp_path.glob("*.json"))) == 4
        next(tmp_path.glob("*p0.1*.json")).unlink()
        assert run("--objective", "simclr")[0] == 0
        assert len(computed) == 5
        assert computed[-1] in computed[:4] and computed[-1].pollution == 0.1
        assert run("--objective", "simclr", "--list")[1].out.endswith("4 of 4 cells are done\n")
        assert len(computed) == 5 and not list(tmp_path.glob("*.lock"))

    def test_one_that_fails_does_not_end_the_run(self, run, computed, monkeypatch, tmp_path):
        compute = _nsa_methods.compute

        def fail(cell, *args):
            if cell.normalize is None:
                raise FloatingPointError("diverged")
            return compute(cell, *args)

        monkeypatch.setattr(_nsa_methods, "compute", fail)
        status, printed = run("--objective", "simclr")
        assert status == 1 and len(list(tmp_path.glob("*.json"))) == 2
        assert printed.err.count("FloatingPointError: diverged") == 2
        assert not list(tmp_path.glob("*.lock"))

    def test_an_interrupted_training_leaves_no_result(self, run, monkeypatch, tmp_path):
        def interrupt(history):
            raise KeyboardInterrupt

        make = _nsa_methods.make_encoder
        monkeypatch.setattr(
            _nsa_methods,
            "make_encoder",
            lambda cell: make(cell).set_params(max_epochs=2, callbacks=[interrupt]),
        )
        status, printed = run("--objective", "simclr")
        assert status == 130 and "the same command goes on" in printed.err
        assert not list(tmp_path.iterdir())

    def test_checkpoints_are_of_the_cell_and_go_when_it_is_done(self, run, monkeypatch, tmp_path):
        passed = []
        make = _nsa_methods.make_encoder

        def look(cell):
            passed.append(make(cell))
            return passed[-1]

        monkeypatch.setattr(_nsa_methods, "make_encoder", look)
        options = ("--objective", "simclr", "--normalize", "both", "--pollution", "0")
        assert run(*options, "--checkpoints")[0] == 0
        (path,) = tmp_path.iterdir()
        assert passed[-1].checkpoint == path.with_suffix(".checkpoint")


class TestLocks:
    def test_leaves_what_others_compute(self, run, computed, tmp_path):
        cells = nsa.plan(nsa.parse([*SMALL, "--objective", "simclr"]))
        write_lock(tmp_path, cells[1], _cells.socket.gethostname(), os.getppid())
        write_lock(tmp_path, cells[2], "elsewhere", DEAD)
        status, printed = run("--objective", "simclr")
        assert status == 0 and computed == [cells[0], cells[3]]
        assert "2 cells are claimed by others" in printed.out
        listed = run("--objective", "simclr", "--list")[1].out
        assert f"claimed by elsewhere, {DEAD}" in listed

    def test_takes_over_from_a_process_that_is_gone(self, run, computed, tmp_path):
        (cell,) = nsa.plan(nsa.parse([*SMALL, "--methods", "pixels", "--pollution", "0"]))
        write_lock(tmp_path, cell, _cells.socket.gethostname(), DEAD)
        assert run("--methods", "pixels", "--pollution", "0")[0] == 0
        assert computed == [cell] and not list(tmp_path.glob("*.lock"))

    def test_a_lock_without_content_is_somebodys(self, tmp_path):
        _cells.lock_path(tmp_path, TRAINED).touch()
        with _cells.claim(tmp_path, TRAINED) as is_mine:
            assert not is_mine
        assert _cells.lock_path(tmp_path, TRAINED).exists()

    @pytest.mark.parametrize("is_stale", [False, True])
    def test_one_of_many_processes_gets_the_cell(self, is_stale, tmp_path):
        if is_stale:
            write_lock(tmp_path, TRAINED, _cells.socket.gethostname(), DEAD)
        program = (
            "import sys; from benchmarks._cells import Cell, claim\n"
            f"with claim(sys.argv[1], Cell(**{asdict(TRAINED)})) as is_mine:\n"
            "    print(is_mine, flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        processes = [subprocess.Popen(command, **pipes) for _ in range(6)]
        said = [process.stdout.readline().strip() for process in processes]
        for process in processes:
            process.communicate()
        assert sorted(said) == ["False"] * 5 + ["True"]
        assert not list(tmp_path.iterdir())


class TestFigures:
    def test_of_encoders_and_rivals(self, run, splits, tmp_path):
        rivals = ["untrained", "pixels", "iforest", "pca", "ocsvm"]
        options = ["--objective", "simsiam", "--methods", *rivals, "--normalize", "both"]
        status, printed = run(*options, "--pollution", "0.2")
        assert status == 0, printed.err
        results = {r["cell"].method: r for r in _cells.read_results(tmp_path)}
        assert results.keys() == {"simsiam", *rivals}
        for method, result in results.items():
            values = np.array(list(result["auroc"].values()))
            assert np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()
            assert result["counts"] == {"train": 20, "outliers": 4, "test": 30}
            assert result["versions"]["torch"] and result["machine"]["cores"]
            assert ("training" in result) == (method == "simsiam")
        assert results["simsiam"]["training"]["epochs"] == 1
        assert results["simsiam"]["training"]["kappa"] > 0
        expected = {*MAIN, *_scores.OTHER_SCORES, *(f"{n}_head" for n in _scores.OTHER_SCORES)}
        for method in "simsiam", "untrained":
            assert expected <= results[method]["auroc"].keys()
        for number in 6, 7, 8:
            table = _nsa_tables.TABLES[number]
            wheres = [table.where(row, c) for row in table.rows for c in table.columns]
            figures = {w["figure"] for w in wheres if w and "conv_block_4" not in w["figure"]}
            assert figures <= results["simsiam"]["auroc"].keys()
        assert [results[method]["cell"].epochs for method in ("simsiam", "pixels")] == [1, None]
        self.check_values(results, splits)

    @staticmethod
    def check_values(results, splits):
        """Some figures once more, by other means."""
        (X, y), (X_test, y_test) = splits
        cell = results["untrained"]["cell"]
        rows, _, test_rows, is_anomaly = _nsa_methods.draw(cell, y, y_test)
        train, test = X[rows], X_test[test_rows]
        pixels, queries = (images.reshape(len(images), -1) / 255.0 for images in (train, test))
        distances = np.linalg.norm(queries[:, None] - pixels, axis=2).min(axis=1)
        found = results["pixels"]["auroc"]["score"]
        assert_allclose(found, roc_auc_score(is_anomaly, distances), atol=1e-5)
        encoder = _nsa_methods.make_encoder(cell).fit(train)
        layers, queried = (encoder.transform_blocks(images) for images in (train, test))
        found, last = results["untrained"]["auroc"], "conv_block_3 (1x1)"
        near = MahalanobisCosine(whiten=False).fit(layers[last])
        ensemble = FeatureEnsemble(groups=encoder.layer_slices_).fit(encoder.transform(train))
        wanted = {
            "k_cos": -near.score_samples(queried[last]),
            "ens": -ensemble.score_samples(encoder.transform(test)),
            "csi_head": -(queried["head_layer_2"] @ normalize(layers["head_layer_2"]).T).max(1),
        }
        for name, scores in wanted.items():
            assert_allclose(found[name], roc_auc_score(is_anomaly, scores), atol=1e-3)

    def test_scores_are_the_papers(self, rng):
        X, Y = rng.normal(size=(40, 3)) + 1, rng.normal(size=(20, 3))
        unit, queries = normalize(X), normalize(Y)
        gamma = 10 / (unit.var() * 3)
        scores = {n: s.fit(X).score_samples(Y) for n, s in _scores.OTHER_SCORES.items()}
        kde = logsumexp(2 * gamma * queries @ unit.T, axis=1)  # Sohn et al.'s
        assert_allclose(np.diff(scores["droc_kde"]), np.diff(kde), rtol=1e-6)
        difference = queries - unit.mean(axis=0)
        covariance = np.cov(unit.T, bias=True)
        distance = (difference @ np.linalg.inv(covariance) * difference).sum(axis=1)
        assert_allclose(scores["ssd"], -distance, rtol=1e-6)
        assert_allclose(scores["csi"], (queries @ unit.T).max(1) * np.linalg.norm(Y, axis=1))
        nearest = np.sort(np.linalg.norm(Y[:, None] - X, axis=2), axis=1)
        assert_allclose(scores["dn2"], -nearest[:, :2].mean(axis=1))
        assert_allclose(_scores.PCAReconstruction(3).fit(X).score_samples(Y), 0, atol=1e-12)

    def test_curves_of_a_training(self, run, splits, tmp_path):
        options = ("--figures", "--objective", "simsiam", "--normalize", "both", "--epochs", "55")
        status, printed = run(*options)
        assert status == 0, printed.err
        (result,) = _cells.read_results(tmp_path)
        curves, cell = result["curves"], result["cell"]
        assert curves["epoch"] == [1, *range(2, 55, 2)]
        assert {len(values) for values in curves.values()} == {28}
        # the rate of the last epoch is almost 0: its network is that of the epoch before
        for score in "gde", "k_cos", "c_cos":
            assert_allclose(curves[f"auroc_{score}"][-1], result["auroc"][score], atol=0.05)
        (X, y), (X_test, y_test) = splits
        rows, _, test_rows, is_anomaly = _nsa_methods.draw(cell, y, y_test)
        encoder = _nsa_methods.make_encoder(cell).fit(X[rows])
        recorder = _curves.CurveRecorder(X[rows], X_test[test_rows], y_test[test_rows], 6, 1)
        last = recorder.record(encoder)
        for name in _curves.CURVES:
            assert_allclose(curves[name][-1], last[name], rtol=0.05, atol=0.05, err_msg=name)
        layer = encoder.transform_blocks(X_test[test_rows])["conv_block_3 (1x1)"]
        assert_allclose(last["concentration_outliers"], concentration(layer[is_anomaly]))
        assert_allclose(last["mmd_to_uniform"], mmd_to_uniform(layer[~is_anomaly]))

    def test_what_is_drawn(self, splits):
        (_, y), (_, y_test) = splits
        cell = Cell("cifar10", 6, "pixels", train_images=12, test_images=3)
        clean, signs, test, is_anomaly = _nsa_methods.draw(cell, y, y_test)
        assert len(clean) == 12 and (y[clean] == 6).all() and (signs == 1).all()
        assert np.bincount(y_test[test]).tolist() == [3] * 10
        assert (is_anomaly == (y_test[test] != 6)).all()
        polluted = replace(cell, pollution=0.25, method="simclr", normalize="both", epochs=3)
        rows, signs, *_ = _nsa_methods.draw(polluted, y, y_test)
        assert set(clean) <= set(rows) and (signs == -1).sum() == 4
        assert set(_nsa_methods.draw(replace(cell, seed=1), y, y_test)[0]) != set(clean)

    @pytest.mark.parametrize("shape", [(4, 12, 12), (4, 12, 12, 3)])
    def test_resized_images(self, shape):
        X = np.full(shape, 7, dtype=np.uint8)
        found = _nsa_methods.resize(X, 16)
        assert found.shape == (4, 16, 16, *shape[3:]) and found.dtype == np.uint8
        assert (found == 7).all() and _nsa_methods.resize(X, 12) is X

    def test_small_writes_nothing(self, run, tmp_path):
        options = ("--objective", "simclr", "--normalize", "both", "--pollution", "0", "--small")
        assert run(*options)[1].out.startswith("1/1 fashion_mnist-6-simclr-both-p0-s0-")
        assert not list(tmp_path.iterdir())


def test_plans():
    def count(*arguments):
        return len(nsa.plan(nsa.parse(arguments)))

    assert count("--table", "11") == 640  # as appendix G says
    assert count("--table", "11", "--small-budget") == 96
    assert count("--table", "9") == 30  # of two objectives and of SimCLR(-), ten classes each
    assert count("--table", "6", "--pollution", "0", "0.1", "--seeds", "3") == 60
    assert count("--figures") == count("--figures", "--small-budget") == 16
    assert {c.epochs for c in nsa.plan(nsa.parse(["--figures"]))} == {5_000}
    assert nsa.parse(["--figures"]).results != nsa.parse([]).results
    cell = nsa.plan(nsa.parse(["--table", "6"]))[0]
    assert (cell.backbone, cell.epochs, cell.batch_size, cell.image_size) == (
        "resnet18",
        4000,
        512,
        32,
    )
    timed = nsa.plan(nsa.parse(["--table", "6", "--minutes", "2"]))[0]
    assert (timed.epochs, timed.minutes) == (None, 2.0)
    encoder = _nsa_methods.make_encoder(timed)
    assert (encoder.max_epochs, encoder.max_time) == (None, 120)


BAD_OPTIONS = [
    (["--table", "12"], r"invalid choice: 12 \(choose from 1, 2"),
    (["--dataset", "mnist"], "invalid choice: 'mnist' .*cifar10.*svhn"),
    (["--objective", "moco"], "invalid choice: 'moco' .*simclr"),
    (["--figures", "--methods", "pixels"], "--methods: not with --figures"),
    (["--figures", "--minutes", "1"], "--minutes: not with --figures"),
    (["--figures", "--test-images", "1"], "--test-images: 1; pass at least 2"),
    (["--batch-size", "1", "8"], "'batch_size' parameter .* Got 1"),
    (["--methods", "lof"], "invalid choice: 'lof' .*untrained.*iforest"),
    (["--normalize", "all"], "invalid choice: 'all' .*both"),
    (["--pollution", "1"], "--pollution: 1.0; pass shares from 0 to below 1"),
    (["--seeds", "0"], "--seeds: 0; pass at least 1"),
    (["--train-images", "1"], "--train-images: 1; pass at least 2"),
    (["--classes", "10"], r"--classes 10: fashion_mnist has the classes \[0, 1, .*9\]"),
    (["--pollution", "0.99"], "fashion_mnist, class 6: pollution=0.99 .* pass at most"),
    (["--backbone", "vgg7"], "backbone='vgg7'; pass 'compact', 'resnet18' or"),
    (["--batch-size", "1"], "'batch_size' parameter .* Got 1"),
    (["--learning-rate", "0"], "'learning_rate' parameter .* Got 0.0"),
    (["--methods", "pretrained-resnet18"], "'pretrained-resnet18' needs .*weights.*download"),
]


@pytest.mark.parametrize("options, message", BAD_OPTIONS, ids=lambda value: str(value)[:40])
def test_bad_options(options, message, run, computed, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(_nsa_methods.torch.hub, "get_dir", lambda: str(tmp_path))
    try:
        status, printed = run(*options)
    except SystemExit as error:  # argparse
        status, printed = error.code, capsys.readouterr()
    assert status == 2 and re.search(message, printed.err, re.S)
    assert not computed


def test_missing_data_and_packages(tmp_path, capsys, monkeypatch):
    options = ["--table", "4", "--objective", "simclr", "--results", str(tmp_path)]
    assert nsa.main([*options, "--data", str(tmp_path), "--root", str(tmp_path)]) == 2
    assert re.search("has no folder 'svhn'.*load_svhn", capsys.readouterr().err)
    monkeypatch.setattr(_nsa_methods.importlib.util, "find_spec", lambda name: None)
    for method, package in ("deep_svdd", "pyod"), (_nsa_methods.LITE, "efficientnet-lite-pytorch"):
        assert nsa.main([*SMALL, "--methods", method]) == 2
        assert f"pip install {package}" in capsys.readouterr().err


def test_a_part_of_a_set_is_not_taken_for_the_set(run, computed, monkeypatch, capsys):
    options = ["--dataset", "fashion_mnist", "--objective", "simclr", "--epochs", "1"]
    assert nsa.main(options) == 2
    message = "has 200 of 60,000 training images of fashion_mnist; pass --train-images, or"
    assert message in capsys.readouterr().err and not computed


def test_small_budget_without_its_sets(capsys):
    assert nsa.main(["--table", "7", "--small-budget"]) == 2
    assert "leaves nothing of table 7; pass --dataset" in capsys.readouterr().err
