"""Training in two processes, as torchrun starts them, against one process."""

import inspect
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="torch without gloo"
)

SCRIPT = """
import os, joblib, numpy as np, torch
from skanomaly import MahalanobisCosine, NSADetector, SelfSupervisedEncoder

torch.set_num_threads(1)
X = np.load("X.npy")
for name, options in joblib.load("options").items():
    if "augment" in options:
        import parts
        options["augment"] = parts.whole_batch
    if options.get("backbone") == "of a class":
        import parts
        torch.manual_seed(0)
        options["backbone"] = parts.WithUnused()
    if "checkpoint" in options:
        options["checkpoint"] += os.environ.get("WORLD_SIZE", "1")
    encoder = SelfSupervisedEncoder(device="cpu", **options)
    detector = NSADetector(encoder, MahalanobisCosine(), random_state=options.get("random_state"))
    detector.fit(X)
    result = {
        "scores": detector.score_samples(255 - X),
        "history": detector.encoder_.history_,
        "features": detector.encoder_.transform(X),
        "again": detector.fit(X).encoder_.history_,
        "layers": [type(m).__name__ for m in detector.encoder_.network_.modules()],
    }
    joblib.dump(result, f"{name}-{os.environ.get('RANK', 'alone')}")
"""
DYING = """
import os, numpy as np
from skanomaly import SelfSupervisedEncoder

def die(history):
    if os.environ["RANK"] == "1":
        os._exit(3)

SelfSupervisedEncoder(max_epochs=50, callbacks=[die], device="cpu").fit(np.load("X.npy"))
"""


def whole_batch(batch, generator):
    """Views that need the other samples of the batch."""
    order = torch.randperm(len(batch), generator=generator)
    return 0.9 * batch + 0.1 * batch[order]


# an epoch is one step, so that the first loss is that of the initial weights
COMMON = {"max_epochs": 2, "batch_size": 25, "random_state": 0, "precision": "float32"}
OPTIONS = {
    "simclr": COMMON,
    "byol": {**COMMON, "objective": "byol"},
    "shifted": {**COMMON, "objective": "simclr-shifted"},
    "simsiam": {**COMMON, "objective": "simsiam", "accumulation_steps": 2, "checkpoint": "state"},
    "unseeded": {**COMMON, "random_state": None, "max_epochs": None, "max_time": 0.5},
    "resnet": {**COMMON, "objective": "simsiam", "backbone": "resnet18", "optimizer": "sgd"},
    "augment": {**COMMON, "augment": "of a function"},
    "unused": {**COMMON, "objective": "simsiam", "backbone": "of a class"},
}


class WithUnused(torch.nn.Module):
    """A network with weights that it does not use."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = torch.nn.Linear(144, 16), torch.nn.Linear(3, 3)

    def forward(self, x):
        return self.used(x.flatten(1))


def run(script, folder, n_processes):
    (folder / "script.py").write_text(script)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *(launcher if n_processes == 2 else []), "script.py"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


def write_inputs(folder):
    rng = np.random.default_rng(0)
    np.save(folder / "X.npy", rng.integers(0, 256, (25, 1, 12, 12), dtype=np.uint8))
    sources = [inspect.getsource(part) for part in (whole_batch, WithUnused)]
    (folder / "parts.py").write_text("import torch\n\n" + "\n".join(sources))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What two processes and one end with, by name of the options."""
    import joblib

    folder = tmp_path_factory.mktemp("distributed")
    write_inputs(folder)
    joblib.dump(OPTIONS, folder / "options")
    for n_processes in (1, 2):
        done = run(SCRIPT, folder, n_processes)
        assert done.returncode == 0, done.stderr
    return {
        name: {who: joblib.load(folder / f"{name}-{who}") for who in ("alone", "0", "1")}
        for name in OPTIONS
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_processes_end_with_the_same_detector(results, name):
    first, second = results[name]["0"], results[name]["1"]
    assert_array_equal(first["features"], second["features"])
    assert_array_equal(first["scores"], second["scores"])
    assert [h["loss"] for h in first["history"]] == [h["loss"] for h in second["history"]]


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "unseeded"])
def test_processes_start_with_the_weights_and_views_of_one(results, name):
    alone, together = results[name]["alone"], results[name]["0"]
    for key in ("loss", "embedding_std"):
        assert_allclose(together["history"][0][key], alone["history"][0][key], atol=1e-4)
    assert together["layers"] == alone["layers"]


IN_DOUBLE = """
import os, joblib, numpy as np, torch
from skanomaly._training import Recipe, SampleStore, SeededDraws, Training, distributed
from skanomaly.encoders import make_augmentation
from skanomaly.encoders._encoder_network import make_network
from skanomaly.encoders._pretext import PretextTask
import parts

torch.set_num_threads(1)
CPU = torch.device("cpu")
distributed.join_processes(CPU)
X = np.load("X.npy")
results = {}
for name, (objective, backbone, augment, accumulation_steps) in joblib.load("tasks").items():
    with SeededDraws(0):
        backbone = parts.WithUnused() if backbone == "of a class" else backbone
        augment = parts.whole_batch if augment == "of a function" else augment
        network = make_network(X, backbone, objective, "both", 0.2).double()
    recipe = Recipe(
        max_epochs=1,
        batch_size=11,
        accumulation_steps=accumulation_steps,
        optimizer="sgd",
        learning_rate=0.01,
        precision="float32",
    )
    task = PretextTask(network, make_augmentation(X, augment, CPU))
    history = Training(task, SampleStore(X, CPU), recipe, seed=0).run()
    weights = {name: values.numpy() for name, values in task.state_dict().items()}
    results[name] = history[0], weights
joblib.dump(results, "double-" + os.environ.get("RANK", "alone"))
"""
TASKS = {
    "simclr": ("simclr", "auto", None, 1),
    "byol": ("byol", "auto", None, 1),
    "shifted": ("simclr-shifted", "auto", None, 1),
    "simsiam in parts": ("simsiam", "auto", None, 2),
    "resnet": ("simsiam", "resnet18", None, 1),
    "augment": ("simclr", "auto", "of a function", 1),
    "unused": ("simsiam", "of a class", None, 1),
}


@pytest.fixture(scope="module")
def results_in_double(tmp_path_factory):
    """History and weights after an epoch of plain steps in float64, with one process and two."""
    import joblib

    folder = tmp_path_factory.mktemp("double")
    write_inputs(folder)
    joblib.dump(TASKS, folder / "tasks")
    for n_processes in (1, 2):
        done = run(IN_DOUBLE, folder, n_processes)
        assert done.returncode == 0, done.stderr
    return [joblib.load(folder / f"double-{who}") for who in ("alone", "0", "1")]


@pytest.mark.parametrize("name", TASKS)
def test_two_processes_train_what_one_trains(results_in_double, name):
    """In float64, whose rounding the steps of training do not enlarge to what is seen here."""
    (history, weights), *together = (results[name] for results in results_in_double)
    for other_history, other_weights in together:
        for key in ("loss", "kappa", "embedding_std"):
            assert_allclose(other_history[key], history[key], rtol=1e-5, atol=1e-5)
        for key, values in weights.items():
            assert_allclose(other_weights[key], values, atol=1e-5, err_msg=key)


def test_checkpoint_of_two_processes_is_loaded_by_both(results):
    for who in ("0", "1"):
        result = results["simsiam"][who]
        assert result["again"] == results["simsiam"]["0"]["history"]
        other = results["byol"][who]
        assert other["again"][0]["seconds"] != other["history"][0]["seconds"]


REFUSED = """
import os, sys, numpy as np, torch
from skanomaly import SelfSupervisedEncoder

class Own(torch.nn.BatchNorm2d):
    pass

X = np.load("X.npy")
network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), Own(4))
for options, X in [
    ({"checkpoint": "damaged"}, X),
    ({"checkpoint": "a/b"}, X),
    ({"backbone": network}, X),
    ({}, X[:3]),
]:
    try:
        SelfSupervisedEncoder(max_epochs=1, device="cpu", **options).fit(X)
    except Exception as error:
        with open("errors-" + os.environ["RANK"], "a") as file:
            file.write(f"{type(error).__name__}: {error}\\n")
SelfSupervisedEncoder(max_epochs=1, device="cpu").fit(X)  # processes still agree
"""


def test_errors_are_those_of_all_processes(images, tmp_path):
    np.save(tmp_path / "X.npy", images)
    (tmp_path / "damaged").write_text("?")
    done = run(REFUSED.replace(".fit(X)  # p", ".fit(np.load('X.npy'))  # p"), tmp_path, 2)
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / f"errors-{rank}").read_text() for rank in (0, 1))
    assert first == second
    lines = first.splitlines()
    assert "is damaged or no checkpoint" in lines[0] and "cannot be written" in lines[1]
    assert lines[2].startswith("TypeError: Own of the backbone cannot be synchronised")
    assert (
        lines[3]
        == "ValueError: Found 3 samples, a minimum of 4 is required to train in 2 processes"
    )


def test_a_process_that_dies_ends_the_job(images, tmp_path):
    np.save(tmp_path / "X.npy", images)
    done = run(DYING, tmp_path, 2)
    assert done.returncode != 0 and "exitcode  : 3" in done.stderr


UNCERTAIN = """
import os, joblib, numpy as np, torch
from skanomaly import DUMDetector
from skanomaly._training import Recipe, SampleStore, SeededDraws, Training, distributed
from skanomaly._uncertainty import RowViews, UncertaintyTask, VarianceNetworks

torch.set_num_threads(1)
X = np.load("X.npy")
detector = DUMDetector(n_estimators=4, max_epochs=3, random_state=0, device="cpu").fit(X)
results = {"scores": detector.training_scores_}
stacks = np.stack([X, X[::-1]], axis=1)[:, :, None]
for objective, bag_size in [("likelihood", 2), ("dot", 3)]:
    with SeededDraws(0):
        limits = torch.full((4,), -2.0), torch.full((4,), 2.0)
        networks = VarianceNetworks(torch.arange(4).repeat(2, 1), *limits, (8,), 4)
    task = UncertaintyTask(
        networks.double(),
        RowViews("uniform", *limits),
        objective=objective,
        bag_size=bag_size,
        trim=0.3,
        norm=2,
        sampled=False,
    )
    recipe = Recipe(
        max_epochs=3, batch_size=17, optimizer="sgd", learning_rate=1e-3, precision="float32"
    )
    history = Training(task, SampleStore(stacks, torch.device("cpu")), recipe, seed=0).run()
    weights = {name: values.numpy() for name, values in task.state_dict().items()}
    results[objective] = [h["loss"] for h in history], weights
joblib.dump(results, "dum-" + os.environ.get("RANK", "alone"))
"""


def test_dum_trains_in_two_processes_what_it_trains_in_one(tmp_path, rng):
    """Trimming, and bags of samples, are of the whole batch."""
    import joblib

    np.save(tmp_path / "X.npy", rng.normal(size=(49, 4)))
    for n_processes in (1, 2):
        done = run(UNCERTAIN, tmp_path, n_processes)
        assert done.returncode == 0, done.stderr
    alone, first, second = (joblib.load(tmp_path / f"dum-{who}") for who in ("alone", 0, 1))
    assert_array_equal(first["scores"], second["scores"])
    for objective in ("likelihood", "dot"):
        (losses, weights), (expected_losses, expected) = first[objective], alone[objective]
        assert_allclose(losses, expected_losses, rtol=1e-6, atol=1e-6)
        for name, values in expected.items():
            assert_allclose(weights[name], values, atol=1e-9, err_msg=name)
