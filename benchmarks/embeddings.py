"""Mean AUROC of the angular scores over sets of pretrained embeddings, three seeds.

    python benchmarks/embeddings.py --data ../shared/data

Each run trains on a random 70% of a set's normal rows and tests on the rest with the anomalies.
In a second part the training rows are polluted with some of the anomalies, and the others are
tested. Needs pyod. Writes results/embeddings.json; --small is a quick check that writes nothing.
The data folder has a load.py that reads it.
"""

import argparse
import time
import warnings

import numpy as np
from _data import read_tables
from _report import write_report
from pyod.models.base import BaseDetector
from pyod.models.ecod import ECOD
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.mcd import MCD
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine

SEEDS = (0, 1, 2)
METHODS = {
    "k-Cos": MahalanobisCosine(whiten=False),
    "k-Cos (Mah), default": MahalanobisCosine(),
    "k-Cos (Mah), OAS": MahalanobisCosine(shrinkage="oas"),
    "k-Cos (Mah), centred as printed": MahalanobisCosine(center=True),
    "k-Cos (Mah), centred, pseudo-inverse": MahalanobisCosine(center=True, shrinkage=None),
    "c-Cos": CenterCosine(whiten=False),
    "c-Cos (Mah)": CenterCosine(),
    "FeatureEnsemble": FeatureEnsemble(),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "IsolationForest": IsolationForest(random_state=0),
    "OneClassSVM": OneClassSVM(gamma="scale", nu=0.05),
    "PyOD KNN": KNN(),
    "PyOD IForest": IForest(random_state=0),
    "PyOD ECOD": ECOD(),
}
SLOW_METHODS = {"PyOD MCD": MCD(random_state=0)}  # up to a minute a fit: first seed only
POLLUTION = (0, 0.05, 0.1)  # share of the training rows
POLLUTED_METHODS = {
    "k-Cos (Mah), default": MahalanobisCosine(),
    "k-Cos (Mah), trim=0.1": MahalanobisCosine(trim=0.1),
    "k-Cos (Mah), n_neighbors=5": MahalanobisCosine(n_neighbors=5),
    "c-Cos (Mah)": CenterCosine(),
    "FeatureEnsemble": FeatureEnsemble(),
    "FeatureEnsemble, trim=0.1": FeatureEnsemble(trim=0.1),
    "LocalOutlierFactor": LocalOutlierFactor(novelty=True),
    "IsolationForest": IsolationForest(random_state=0),
}
MIN_TESTED = 10  # anomalies, or half of them where that is less


def count_polluting(n_normal, n_anomalies, pollution):
    """Anomalies that go into the training set, and whether they are the share asked for."""
    wanted = round(pollution / (1 - pollution) * n_normal)
    allowed = n_anomalies - min(MIN_TESTED, n_anomalies // 2)
    return min(wanted, allowed), wanted <= allowed


def split(X, y, seed, pollution, most_pollution):
    """Training rows, test rows, their labels (+1 normal, -1 anomaly), pollution as asked for.

    The anomalies that the most polluted training set needs are never tested, so that results for
    different pollution are about the same test rows.
    """
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y == 0))
    anomalies = rng.permutation(np.flatnonzero(y == 1))
    n_train = int(0.7 * len(normal))
    n_polluting, is_reached = count_polluting(n_train, len(anomalies), pollution)
    n_untested, _ = count_polluting(n_train, len(anomalies), most_pollution)
    train = np.concatenate([normal[:n_train], anomalies[:n_polluting]])
    test = np.concatenate([normal[n_train:], anomalies[n_untested:]])
    return X[train], X[test], np.where(y[test] == 0, 1, -1), is_reached


def auroc_of(detector, train, test, labels):
    """AUROC, or NaN if the detector fails, such as MCD on a singular covariance."""
    try:
        detector.fit(train)
        if isinstance(detector, BaseDetector):  # PyOD: higher for outliers
            return roc_auc_score(labels, -detector.decision_function(test))
        return roc_auc_score(labels, detector.score_samples(test))
    except (ValueError, ArithmeticError):
        return np.nan


def compare(methods, sets, seeds, pollution=0, most_pollution=0):
    """Figures of each method, and the number of sets with enough anomalies for the pollution."""
    auroc = {name: np.empty((len(sets), len(seeds))) for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    n_reached = 0
    for i, (X, y) in enumerate(sets.values()):
        for j, seed in enumerate(seeds):
            train, test, labels, is_reached = split(X, y, seed, pollution, most_pollution)
            for method, detector in methods.items():
                start = time.perf_counter()
                auroc[method][i, j] = auroc_of(detector, train, test, labels)
                seconds[method] += time.perf_counter() - start
        n_reached += is_reached
    print(f"\n{'pollution ' + str(pollution):38s} AUROC failures seconds")
    return {m: summarize(m, auroc[m], seconds[m]) for m in methods}, n_reached


def summarize(method, values, seconds):
    """Figures over (sets, seeds); a failure counts as a guess."""
    n_failures = int(np.isnan(values).sum())
    values = np.nan_to_num(values, nan=0.5)
    per_seed = values.mean(axis=0)
    print(f"{method:38s} {100 * values.mean():5.1f} {n_failures:8d} {seconds:7.1f}")
    return {
        "mean": round(float(values.mean()), 4),
        "std_over_seeds": round(float(per_seed.std(ddof=1)), 4) if len(per_seed) > 1 else None,
        "worst_set": round(float(values.mean(axis=1).min()), 4),
        "failures": n_failures,
        "seconds": round(seconds, 1),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--small", action="store_true", help="few columns, no result file")
    args = parser.parse_args()
    tables, seeds, columns = read_tables("embeddings", args.data), SEEDS, slice(None)
    if args.small:
        tables = dict(list(tables.items())[1:3])
        seeds, columns = SEEDS[:2], slice(16)
    sets = {}
    for name, read in tables.items():
        X, y = read()
        sets[name] = X[:, columns].astype(np.float64), y
    figures = compare(METHODS, sets, seeds)[0] | compare(SLOW_METHODS, sets, seeds[:1])[0]
    polluted = {}
    for share in POLLUTION:
        auroc, n_reached = compare(POLLUTED_METHODS, sets, seeds, share, max(POLLUTION))
        polluted[str(share)] = {"sets_with_this_share": n_reached, "auroc": auroc}
    if not args.small:
        report = {"seeds": seeds, "sets": list(sets), "auroc": figures, "polluted": polluted}
        write_report("embeddings", report, rivals=("pyod",))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
