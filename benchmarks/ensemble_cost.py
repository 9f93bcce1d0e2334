"""What scoring with the whole ensemble costs beside the forward pass, and the memory of fit.

    python benchmarks/ensemble_cost.py --data ../shared/data [--images 5000]

Encoders are untrained, which takes as long as trained ones. For the memory, ResNet-18 is trained
for one epoch: the peak is that of all others. Training images are of Fashion-MNIST's class 0, with
those of other classes if more than 6,000 are asked for. About ten minutes on two cores. Needs
Linux. Writes results/ensemble_cost.json; --small is a quick check that writes nothing. The data
folder has a load.py that reads it.
"""

import argparse
import importlib
import json
import time

import numpy as np
import torch
from _data import read_images
from _memory import PeakMemory, in_new_process
from _report import write_report

from skanomaly import NSADetector, SelfSupervisedEncoder

BACKBONES = ("compact", "resnet18")
N_SCORED = 2_048
REPEATS = 3


def make_encoder(backbone, max_epochs=0, layers="all"):
    return SelfSupervisedEncoder(
        backbone=backbone, max_epochs=max_epochs, layers=layers, random_state=0
    )


def make_steps(backbone, train):
    """The work on images that is compared, each step with that of the one before it."""
    detector = NSADetector(make_encoder(backbone), random_state=0).fit(train)
    return {
        "embedding": make_encoder(backbone, layers="last").fit(train).transform,
        "all_layers": detector.encoder_.transform_blocks,
        "ensemble": detector.score_samples,
    }


def race(steps, images):
    """Seconds (repeats,) of each step, interleaved so that a busy machine slows all alike."""
    seconds = {key: [] for key in steps}
    for _ in range(REPEATS):
        for key, step in steps.items():
            start = time.perf_counter()
            step(images)
            seconds[key].append(time.perf_counter() - start)
    return {key: np.array(values) for key, values in seconds.items()}


def compare(train, images):
    """Median seconds and median ratios for each backbone."""
    steps = {
        (backbone, name): step
        for backbone in BACKBONES
        for name, step in make_steps(backbone, train).items()
    }
    for step in steps.values():
        step(images[:16])  # what is allocated or compiled once
    seconds = race(steps, images)
    figures = {}
    for backbone in BACKBONES:
        own = {name: values for (b, name), values in seconds.items() if b == backbone}
        figures[backbone] = {
            "seconds": {name: round(float(np.median(v)), 3) for name, v in own.items()},
            "ensemble_to_all_layers": round(
                float(np.median(own["ensemble"] / own["all_layers"])), 3
            ),
            "ensemble_to_embedding": round(float(np.median(own["ensemble"] / own["embedding"])), 3),
        }
    return figures


def fit_memory(train, max_epochs):
    """MiB that NSADetector.fit needs beyond its input; for a new process."""
    importlib.import_module("torchvision.models")  # loaded on first use, no matter of size
    NSADetector(make_encoder("compact", max_epochs=1)).fit(train[:8])
    detector = NSADetector(make_encoder("resnet18", max_epochs), random_state=0)
    with PeakMemory() as peak:
        detector.fit(train)
    return round(peak.mib, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--images", type=int, default=5_000, help="number of training images")
    parser.add_argument("--small", action="store_true", help="few images, no result file")
    args = parser.parse_args()
    n_train, n_scored = (200, 64) if args.small else (args.images, N_SCORED)
    X, y = read_images("fashion_mnist", "train", args.data)
    train = X[np.argsort(y != 0, kind="stable")[:n_train]]
    images = read_images("fashion_mnist", "test", args.data)[0][:n_scored]
    figures = {
        "train_images": len(train),
        "scored_images": len(images),
        "threads": torch.get_num_threads(),
        "input_mib": round(train.nbytes / 2**20, 1),
        "fit_memory_mib": {
            "one_epoch": in_new_process(fit_memory, train, 1),
            "untrained": in_new_process(fit_memory, train, 0),
        },
        "cost": compare(train, images),
    }
    print(json.dumps(figures, indent=2))
    if not args.small:
        write_report("ensemble_cost", figures)


if __name__ == "__main__":
    main()
