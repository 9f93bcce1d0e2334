"""AUROC against seconds of training, with and without the two normalisations.

    python benchmarks/training_time.py --data ../shared/data [--budgets 60 180 600] [--rate 1500]

Two classes of Fashion-MNIST and two of CIFAR-10, 1,500 training images each, beside the untrained
encoder and the nearest neighbour on raw pixels. A budget becomes a number of epochs by the images
per second that the compact backbone is trained on, which are measured first for each class unless
--rate gives them: a busy machine then changes no results. About two hours on two cores; --classes,
--normalize and --budgets run a part, whose results are added to those in the file, and which needs
the --rate of the other parts. Writes results/training_time.json after each training; --small is a
quick check that writes nothing. The data folder has a load.py that reads it.
"""

import argparse

import numpy as np
from _one_class import (
    CLASSES,
    SIZES,
    add_arguments,
    evaluate_detector,
    make_tasks,
    print_table,
)
from _report import extend_report
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skanomaly import FeatureEnsemble, NSADetector, SelfSupervisedEncoder

NORMALIZE = {"both": "both", "none": None}


def measure_rate(images, epochs):
    """Training images per second, without the first epoch."""
    history = SelfSupervisedEncoder(max_epochs=epochs, random_state=0).fit(images).history_
    return float(np.median([epoch["samples_per_second"] for epoch in history[1:]]))


def evaluate(normalize, epochs, seed, train, *test):
    encoder = SelfSupervisedEncoder(normalize=normalize, max_epochs=epochs)
    detector = NSADetector(encoder, FeatureEnsemble(), random_state=seed).fit(train)
    seconds = sum(epoch["seconds"] for epoch in detector.encoder_.history_)
    figures = evaluate_detector(detector, train, *test)
    return {"epochs": epochs, "seconds": round(seconds, 1), **figures}


def evaluate_pixels(train, test, is_anomaly):
    train, test = (X.reshape(len(X), -1) / 255 for X in (train, test))
    distances, _ = NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test)
    return {"nearest": round(float(roc_auc_score(is_anomaly, distances[:, 0])), 4)}


def run_settings(args, rate, seed, train, *test):
    """Name and figures of each setting on one task, as they come."""
    yield "pixels", evaluate_pixels(train, *test)
    yield "untrained", evaluate(None, 0, seed, train, *test)
    for name in args.normalize:
        for budget in args.budgets:
            epochs = max(1, round(budget * rate / len(train)))
            figures = evaluate(NORMALIZE[name], epochs, seed, train, *test)
            yield f"{name}, {budget} s", {"images_per_second": round(rate, 1), **figures}


def print_aurocs(results, numbers):
    """Means over seeds in per cent, from figures by (class, seed, setting)."""
    rows = {}
    for setting, score in dict.fromkeys(
        (setting, score)
        for (_, _, setting), figures in results.items()
        for score in ("nearest", "ensemble", "k_cos")
        if score in figures
    ):
        each = [
            np.mean([v[score] for k, v in results.items() if (k[0], k[2]) == (number, setting)])
            for number in numbers
        ]
        rows[f"{setting}: {score}"] = [f"{100 * value:.1f}" for value in [*each, np.mean(each)]]
    print_table("AUROC", [*(" ".join(map(str, CLASSES[n])) for n in numbers), "mean"], rows)


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.set_defaults(seeds=1)
    parser.add_argument("--budgets", type=int, nargs="+", default=[60, 180, 600], help="seconds")
    parser.add_argument("--normalize", nargs="+", choices=NORMALIZE, default=list(NORMALIZE))
    parser.add_argument("--classes", type=int, nargs="+", default=range(len(CLASSES)))
    parser.add_argument("--rate", type=float, help="images per second, instead of measuring")
    args = parser.parse_args()
    if args.small:
        args.budgets = [0]  # one epoch
    about = dict(zip(("train_images", "test_images_of_each_class"), SIZES, strict=True))
    results, rates = {}, dict.fromkeys(args.classes, args.rate)
    for number, seed, train, *test in make_tasks(args, args.classes):
        rates[number] = rates[number] or measure_rate(train, 2 if args.small else 6)
        for setting, figures in run_settings(args, rates[number], seed, train, *test):
            results[number, seed, setting] = figures
            name, label = CLASSES[number]
            key = f"{name} {label}, seed {seed}, {setting}"
            print(key, figures, flush=True)
            if not args.small:
                extend_report("training_time", about, {key: figures})
    print_aurocs(results, args.classes)


if __name__ == "__main__":
    main()
