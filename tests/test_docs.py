"""The code of the pages and of the quick start, block by block as a reader would run it."""

import os
import re
import runpy
import shlex
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.utils import Bunch
from torchvision import models

from skanomaly import (
    DUMDetector,
    MahalanobisCosine,
    NeighborDistance,
    SelfSupervisedEncoder,
    cli,
    datasets,
)
from skanomaly._training import Recipe
from skanomaly.encoders import _architectures

ROOT = Path(__file__).parent.parent
MAX_EPOCHS = 2


@pytest.fixture(autouse=True)
def short_trainings(monkeypatch):
    """A reader trains for as many epochs as the page says, the tests for two."""

    def recipe(max_epochs, **options):  # None where only time limits the training
        epochs = MAX_EPOCHS if max_epochs is None else min(max_epochs, MAX_EPOCHS)
        return Recipe(epochs, **options)

    monkeypatch.setattr("skanomaly._training._deep_estimator.Recipe", recipe)


@pytest.fixture(autouse=True)
def nothing_is_downloaded(monkeypatch):
    """Random weights and images take the place of what pages download; networks are smaller.

    So are images for them.
    """
    get_model = _architectures._get_model

    def get_small(name, weights):
        if name == "resnet18":
            return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1])
        return get_model(name, None)

    monkeypatch.setattr(_architectures, "_get_model", get_small)
    monkeypatch.setattr("skanomaly.encoders._pretrained.IMAGENET_SIZE", 96)

    def load_cifar10(*, split, download):
        rng = np.random.default_rng(len(split))
        images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
        return Bunch(images=images, labels=np.arange(40) % 2, class_names=["airplane", "car"])

    monkeypatch.setattr(datasets, "load_cifar10", load_cifar10)


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")


@pytest.fixture
def few_images(monkeypatch):
    """A tenth of the bundled sample takes its place."""
    load = datasets.load_fashion_mnist_sample

    def load_few(normal):
        data = load(normal)
        few = slice(None, None, 10)
        return Bunch(X_train=data.X_train[few], X_test=data.X_test[few], y_test=data.y_test[few])

    monkeypatch.setattr(datasets, "load_fashion_mnist_sample", load_few)


def run_page(name, **names):
    """Run all blocks of a page in one namespace, and return it."""
    text = (ROOT / name).read_text()
    if not torch.cuda.is_available():
        text = text.replace('device="cuda"', 'device="cpu"')
    blocks = [(m.start(1), m[1]) for m in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)]
    assert blocks
    for start, block in blocks:
        first_line = text.count("\n", 0, start)
        exec(compile("\n" * first_line + block, ROOT / name, "exec"), names)
    return names


def test_readme(images):
    names = run_page("README.md", X=images, X_new=255 - images)
    assert (names["detector"].predict(255 - images) == -1).all()


def test_landing_page(few_images):
    names = run_page("docs/index.md")
    data, scores = names["data"], names["scores"]
    assert scores.shape == names["labels"].shape == data.y_test.shape
    assert roc_auc_score(data.y_test, scores) > 0.8


def save_photographs(images):
    """In the folders that the page names, of different sizes."""
    for i, image in enumerate(images.repeat(3, axis=1).repeat(3, axis=2)):
        folder = Path("parts/train/good" if i < 20 else "parts/test")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[: 30 + i]).save(folder / f"{i:02}.png")


@pytest.mark.filterwarnings("ignore:22 colour images are few")
def test_user_guide(images, table):
    pytest.importorskip("matplotlib")
    pytest.importorskip("onnxruntime")
    save_photographs(images)
    X, y = np.concatenate([images, 255 - images[:4]]), np.repeat([1, -1], [24, 4])
    options = {"images": images, "images_new": 255 - images, "X": X, "y": y}
    names = run_page("docs/user_guide.md", **options, table=table, embeddings=table)
    assert names["explanation"].heatmaps.shape == images.shape
    assert names["result"]["nearest"].between(0, 119).all()
    assert names["search"].best_score_ > 0.9
    assert list(names["frame"]) == ["path", "score", "p_value", "label", "nearest"]
    assert_allclose(names["scores"], names["detector"].score_samples(255 - images), rtol=1e-4)
    assert sorted(os.listdir()) == [
        "cache",
        "detector.onnx",
        "model.skanomaly",
        "parts",
        "report.html",
    ]


def test_page_on_scores(images, rng):
    table = pd.DataFrame(rng.normal(size=(2, 60, 70))[0] + 3).add_prefix("f")
    embeddings, embeddings_new = rng.normal(size=(2, 60, 4)) + 3
    encoder = SelfSupervisedEncoder(random_state=0).fit(images)
    detector = MahalanobisCosine().fit(table)
    options = {"X": table, "X_new": table + 0.1, "encoder": encoder, "detector": detector}
    options |= {"embeddings": embeddings, "embeddings_new": embeddings_new}
    options |= {"images": images, "images_new": 255 - images}
    options["photographs"] = images.repeat(6, axis=1).repeat(6, axis=2)
    names = run_page("docs/scores.md", **options)
    explanation = names["explanation"]
    assert explanation.members[0] == "early/near" and "density" in explanation.members[-1]
    assert names["angles"].shape == names["indices"].shape == (60, 1)
    assert names["is_outlier"].dtype == bool
    assert isinstance(names["scores"], torch.Tensor)


def test_page_on_training(capsys):
    pytest.importorskip("kornia")
    pytest.importorskip("efficientnet_lite_pytorch")
    names = run_page("docs/training.md")
    capsys.readouterr()  # one of the networks prints
    assert {"frozen", "network", "views", "BarlowTwins"} <= set(names)


def test_page_on_uncertainty(capsys):
    names = run_page("docs/uncertainty.md")
    p_value, effect_size = map(float, capsys.readouterr().out.splitlines()[0].split())
    assert p_value > 0.01 and abs(effect_size) < 0.3
    assert isinstance(names["detector"], DUMDetector)


def test_page_on_plotting():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.close("all")  # figures of other pages
    names = run_page("docs/plotting.md")
    assert Path("scores.png").exists()
    assert names["curves"].areas["total"] > 0.5 and names["extremes"].index.shape == (2, 5)
    assert len(plt.get_fignums()) == 15
    plt.close("all")


def test_page_on_dask():
    pytest.importorskip("dask.dataframe")
    names = run_page("docs/dask.md")
    assert 0 < names["share"] < 0.2 and len(names["values"]) == 24
    assert names["scores"].chunks == ((1_000,) * 10,)
    names["system"].rm("/photos", recursive=True)


def run_shell(name):
    """Run the commands of a page, up to a pipe; the exit codes of each, by its name."""
    text = (ROOT / name).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    lines = [line.split("|")[0].split(">>")[0] for block in blocks for line in block.splitlines()]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("skanomaly ")]
    codes = {}
    for command in commands:
        codes[command[0]] = max(codes.get(command[0], 0), cli.main(command))
    return codes


@pytest.mark.parametrize("name", ["README.md", "docs/command_line.md"])
def test_command_line(name, images, table, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)  # ends watch
    make_small = models.mobilenet_v3_small
    monkeypatch.setattr(_architectures, "_get_model", lambda name, weights: make_small())
    parts = ["good", "train/good", "test/good", "test/odd"]
    folders = [f"{parent}/{part}" for parent in ("photos", "magnetic_tiles") for part in parts]
    for folder in (*folders, "shirts", "new_shirts"):
        Path(folder).mkdir(parents=True)
        for i, image in enumerate(images[:4]):
            Image.fromarray(255 - image if "odd" in folder else image).save(f"{folder}/{i}.png")
    Path("inbox").mkdir()
    for file in "normal.csv", "new.csv":
        pd.DataFrame(table).add_prefix("x").to_csv(file, index=False)
    codes = run_shell(name)
    assert codes.pop("watch") == 130 and len(codes) >= 3 and not any(codes.values())
    scores = pd.read_csv("scores.csv")
    assert len(os.listdir("worst")) == len(scores) == 8
    assert Path("maps/odd/0.png.png").exists() and "ROC" in Path("report.html").read_text()


def test_page_on_diagnostics(capsys):
    run_page("docs/diagnostics.md")
    figures, aligned, accuracies, recorded = capsys.readouterr().out.splitlines()
    assert recorded.count(",") == 3  # two epochs of two recorders
    kappa, mmd, uniform = map(float, figures.split())
    assert kappa > 1 and 0 < mmd < 0.1 and -4 < uniform < -2
    assert 0 < float(aligned) < 0.1
    assert all(0.8 < float(accuracy) < 1 for accuracy in accuracies.split())


def test_page_for_those_who_come_from_elsewhere(table):
    """What the table says of PyOD is so."""
    KNN = pytest.importorskip("pyod.models.knn").KNN
    X, X_new = np.split(table, 2)
    names = run_page("docs/coming_from.md", X=X)
    assert names["ensemble"].score_samples(X_new).shape == (len(X_new),)
    theirs = KNN(n_neighbors=5).fit(X)
    ours = NeighborDistance(5, aggregation="largest", standardize=False, contamination=0.1).fit(X)
    assert_allclose(theirs.decision_scores_, -ours.training_scores_)
    assert_allclose(theirs.decision_function(X_new), -ours.score_samples(X_new))
    assert_allclose(theirs.threshold_, -ours.offset_)
    assert ((theirs.labels_ == 1) == (ours.training_scores_ < ours.offset_)).all()
    assert ((theirs.predict(X_new) == 1) == (ours.predict(X_new) == -1)).all()


def test_quickstart(few_images, monkeypatch, capsys):
    """On few images; it loads its detector, here in the same process, and compares the scores."""
    pytest.importorskip("matplotlib")

    def run_here(command, *, cwd, check):
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            exec(command[-1], {})

    monkeypatch.setattr(subprocess, "run", run_here)
    runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("AUROC") and len(rows) == 5
    assert all(0.6 < float(row.split()[1]) < 1 for row in rows)
    assert {path.suffix for path in Path("build/demo").iterdir()} > {".json", ".png"}
