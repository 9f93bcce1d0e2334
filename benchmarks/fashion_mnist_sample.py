"""AUROC on the bundled sample: NSA's defaults beside its parts and the classics, three seeds.

    python benchmarks/fashion_mnist_sample.py

Once with normal training images alone, and once with a tenth of outliers among them, which are not
tested. About fifteen minutes on two cores. Writes results/fashion_mnist_sample.json.
"""

import itertools
import time

import numpy as np
from _report import write_report
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import Bunch

from skanomaly import MahalanobisCosine, NSADetector, SelfSupervisedEncoder
from skanomaly.datasets import load_fashion_mnist_sample

SEEDS = (0, 1, 2)
CLASSES = ("t-shirt", "shirt")
POLLUTION = (0.0, 0.1)  # share of the training images


def pollute(data, share, seed):
    """The sample with some of the outliers among the training images instead of the test images."""
    n_outliers = round(share / (1 - share) * len(data.X_train))
    outliers = np.flatnonzero(data.y_test == -1)
    moved = np.random.default_rng(seed).permutation(outliers)[:n_outliers]
    return Bunch(
        X_train=np.concatenate([data.X_train, data.X_test[moved]]),
        X_test=np.delete(data.X_test, moved, axis=0),
        y_test=np.delete(data.y_test, moved),
    )


def score_all(data, seed):
    """AUROC of every method, seconds of NSA's fit, false-positive rate."""
    start = time.perf_counter()
    detector = NSADetector(random_state=seed).fit(data.X_train)
    fit_seconds = time.perf_counter() - start
    scores = {"nsa_ensemble": detector.score_samples(data.X_test)}
    false_positives = (scores["nsa_ensemble"] < detector.offset_)[data.y_test == 1].mean()
    encoder = detector.encoder_
    last = encoder.layer_slices_["conv_block_3 (1x1)"]
    train, test = encoder.transform(data.X_train), encoder.transform(data.X_test)
    scores["nsa_last_layer"] = MahalanobisCosine().fit(train[:, last]).score_samples(test[:, last])
    untrained = NSADetector(SelfSupervisedEncoder(max_epochs=0), random_state=seed)
    scores["untrained"] = untrained.fit(data.X_train).score_samples(data.X_test)
    train, test = (X.reshape(len(X), -1) / 255 for X in (data.X_train, data.X_test))
    nearest = NearestNeighbors(n_neighbors=1).fit(train)
    scores["pixels_knn"] = -nearest.kneighbors(test)[0][:, 0]
    forest = IsolationForest(random_state=seed).fit(train)
    scores["isolation_forest"] = forest.score_samples(test)
    auroc = {name: roc_auc_score(data.y_test, values) for name, values in scores.items()}
    return auroc, fit_seconds, false_positives


def summarize(values):
    return {
        "mean": round(float(np.mean(values)), 4),
        "std": round(float(np.std(values, ddof=1)), 4),
        "each": [round(float(v), 4) for v in values],
    }


def main():
    results = {}
    for normal, share in itertools.product(CLASSES, POLLUTION):
        data = load_fashion_mnist_sample(normal)
        runs = [score_all(pollute(data, share, seed), seed) for seed in SEEDS]
        auroc, seconds, rates = zip(*runs, strict=True)
        auroc = {name: summarize([each[name] for each in auroc]) for name in auroc[0]}
        name = f"{normal}, {100 * share:g}% outliers in training" if share else normal
        results[name] = {
            "auroc": auroc,
            "fit_seconds": summarize(seconds),
            "false_positive_rate_at_0.05": summarize(rates),
        }
        print(name)
        for name, summary in auroc.items():
            print(f"  {name:18s} {summary['mean']:.3f} +- {summary['std']:.3f}")
    write_report("fashion_mnist_sample", {"seeds": SEEDS, "classes": results})


if __name__ == "__main__":
    main()
