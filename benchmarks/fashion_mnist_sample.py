"""AUROC on the bundled sample: NSA's defaults beside its parts and the classics, three seeds.

    python benchmarks/fashion_mnist_sample.py

About five minutes on two cores. Writes results/fashion_mnist_sample.json.
"""

import time

import numpy as np
from _report import write_report
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skanomaly import MahalanobisCosine, NSADetector, SelfSupervisedEncoder
from skanomaly.datasets import load_fashion_mnist_sample

SEEDS = (0, 1, 2)
CLASSES = ("t-shirt", "shirt")


def score_all(data, seed):
    """score_samples of the test images by every method, seconds of NSA, false-positive rate."""
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
    return scores, fit_seconds, false_positives


def summarize(values):
    return {
        "mean": round(float(np.mean(values)), 4),
        "std": round(float(np.std(values, ddof=1)), 4),
        "each": [round(float(v), 4) for v in values],
    }


def main():
    results = {}
    for normal in CLASSES:
        data = load_fashion_mnist_sample(normal)
        runs = [score_all(data, seed) for seed in SEEDS]
        auroc = {
            name: summarize([roc_auc_score(data.y_test, scores[name]) for scores, _, _ in runs])
            for name in runs[0][0]
        }
        results[normal] = {
            "auroc": auroc,
            "fit_seconds": summarize([seconds for _, seconds, _ in runs]),
            "false_positive_rate_at_0.05": summarize([rate for _, _, rate in runs]),
        }
        print(normal)
        for name, summary in auroc.items():
            print(f"  {name:18s} {summary['mean']:.3f} +- {summary['std']:.3f}")
    write_report("fashion_mnist_sample", {"seeds": SEEDS, "classes": results})


if __name__ == "__main__":
    main()
