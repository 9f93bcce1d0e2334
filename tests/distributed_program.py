"""What test_distributed.py runs in one process and in two."""

import os
from pathlib import Path

import joblib
import numpy as np
import torch

from skanomaly import DUMDetector, MahalanobisCosine, NSADetector, SelfSupervisedEncoder
from skanomaly._training import Recipe, SampleStore, SeededDraws, Training, distributed
from skanomaly._uncertainty import RowViews, UncertaintyTask, VarianceNetworks
from skanomaly.encoders import make_augmentation
from skanomaly.encoders._encoder_network import make_network
from skanomaly.encoders._pretext import PretextTask

CPU = torch.device("cpu")


def whole_batch(batch, generator):
    """Views that need the other samples of the batch."""
    order = torch.randperm(len(batch), generator=generator)
    return 0.9 * batch + 0.1 * batch[order]


class WithUnused(torch.nn.Module):
    """A network with weights that it does not use."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = torch.nn.Linear(144, 16), torch.nn.Linear(3, 3)

    def forward(self, x):
        return self.used(x.flatten(1))


class OwnBatchNorm(torch.nn.BatchNorm2d):
    pass


# an epoch is one step, so that the first loss is that of the initial weights
COMMON = {"max_epochs": 2, "batch_size": 25, "precision": "float32"}
DETECTORS = {
    "simclr": {**COMMON, "random_state": 0},
    "checkpoint": {
        **COMMON,
        "objective": "simsiam",
        "accumulation_steps": 2,
        "checkpoint": "state",
        "random_state": 0,
    },
    "unseeded": {**COMMON, "max_epochs": None, "max_time": 0.5},
    "augment": {**COMMON, "augment": whole_batch, "random_state": 0},
}


def fit_detector(X, **options):
    if "checkpoint" in options:
        options["checkpoint"] += os.environ.get("WORLD_SIZE", "1")
    encoder = SelfSupervisedEncoder(device="cpu", **options)
    detector = NSADetector(encoder, MahalanobisCosine(), random_state=options.get("random_state"))
    detector.fit(X)
    return {
        "scores": detector.score_samples(255 - X),
        "history": detector.encoder_.history_,
        "features": detector.encoder_.transform(X),
        "again": detector.fit(X).encoder_.history_,
        "layers": [type(m).__name__ for m in detector.encoder_.network_.modules()],
    }


# objective, backbone, augment, accumulation_steps
TASKS = {
    "simclr": ("simclr", "auto", None, 1),
    "byol": ("byol", "auto", None, 1),
    "shifted": ("simclr-shifted", "auto", None, 1),
    "simsiam in parts": ("simsiam", "auto", None, 2),
    "augment": ("simclr", "auto", whole_batch, 1),
    "unused": ("simsiam", WithUnused, None, 1),
}


def train_in_double(X, objective, backbone, augment, accumulation_steps):
    """History and weights after an epoch of plain steps in float64."""
    with SeededDraws(0):
        backbone = backbone if isinstance(backbone, str) else backbone()
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
    return history[0], {name: values.numpy() for name, values in task.state_dict().items()}


UNCERTAINTY = {"likelihood": 2, "dot": 3}  # objectives and the sizes of their bags


def train_uncertainty(X, objective, bag_size):
    """Losses and weights in float64."""
    limits = torch.full((4,), -2.0), torch.full((4,), 2.0)
    with SeededDraws(0):
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
    stacks = np.stack([X, X[::-1]], axis=1)[:, :, None]
    history = Training(task, SampleStore(stacks, CPU), recipe, seed=0).run()
    weights = {name: values.numpy() for name, values in task.state_dict().items()}
    return [epoch["loss"] for epoch in history], weights


def collect_errors(X):
    Path("damaged").write_text("?")
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), OwnBatchNorm(4))
    errors = []
    for options, samples in [
        ({"checkpoint": "damaged"}, X),
        ({"checkpoint": "a/b"}, X),
        ({"backbone": network}, X),
        ({}, X[:3]),
    ]:
        try:
            SelfSupervisedEncoder(max_epochs=1, device="cpu", **options).fit(samples)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
    return errors


def die(history):
    if distributed.rank() == 1:
        os._exit(3)


def main():
    """Write the results to the working directory; the second of two processes dies at the end."""
    distributed.join_processes(CPU)
    rng = np.random.default_rng(0)
    X, table = rng.integers(0, 256, (25, 1, 12, 12), dtype=np.uint8), rng.normal(size=(49, 4))
    detector = DUMDetector(n_estimators=4, max_epochs=3, random_state=0, device="cpu")
    results = {
        "double": {name: train_in_double(X, *task) for name, task in TASKS.items()},
        "uncertainty": {name: train_uncertainty(table, name, m) for name, m in UNCERTAINTY.items()},
        "dum": detector.fit(table).training_scores_,
    }
    if distributed.n_processes() == 2:
        results["errors"] = collect_errors(X)
    # after the errors, since the processes still agree
    results["detectors"] = {name: fit_detector(X, **o) for name, o in DETECTORS.items()}
    joblib.dump(results, f"results-{os.environ.get('RANK', 'alone')}")
    if distributed.n_processes() == 2:
        SelfSupervisedEncoder(max_epochs=50, callbacks=[die], device="cpu").fit(X)


def run_as_one_of_two(rank, port, folder):
    """With the variables that torchrun sets."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "none",
        "CUDA_VISIBLE_DEVICES": "",
    }
    os.chdir(folder)
    torch.set_num_threads(1)
    main()
