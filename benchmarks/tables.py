"""AUROC on tables: NSADetector's default beside a trained network, neighbours and a forest.

    python benchmarks/tables.py --data ../shared/data [--seeds 3]

Each run trains on a random 70% of a set's normal rows, at most 1,500, and tests on the other normal
rows and the anomalies, at most 1,500 of each. Missing values are replaced by the medians of the
training rows. About 15 minutes on two cores. Writes results/tables.json; --small is a quick check
that writes nothing. The data folder has a load.py that reads it.
"""

import argparse
import time

import numpy as np
from _data import read_tables
from _one_class import print_table
from _report import write_report
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skanomaly import NSADetector, SelfSupervisedEncoder

MAX_ROWS = 1_500
SMALL_MAX_ROWS = 60


def split(X, y, seed, max_rows):
    """Training rows, test rows and which of these are anomalies."""
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y == 0))
    anomalies = rng.permutation(np.flatnonzero(y == 1))[:max_rows]
    n_train = int(0.7 * len(normal))
    train, held_out = normal[:n_train][:max_rows], normal[n_train:][:max_rows]
    test = np.concatenate([held_out, anomalies])
    imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(X[train])
    return imputer.transform(X[train]), imputer.transform(X[test]), y[test] == 1


def distances(train, test, n_neighbors):
    """Distance of standardised test rows to the nearest training rows, in order."""
    scaler = StandardScaler().fit(train)
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(scaler.transform(train))
    return nearest.kneighbors(scaler.transform(test))[0]


def score_all(train, test, seed):
    """Scores of the test rows by every method, higher for anomalies; seconds of the default."""
    start = time.perf_counter()
    detector = NSADetector(random_state=seed).fit(train)
    seconds = time.perf_counter() - start
    network = SelfSupervisedEncoder(max_epochs=50, layers=["columns", "dense_block_1"])
    trained = NSADetector(network, random_state=seed).fit(train)
    sorted_distances = distances(train, test, 5)
    return {
        "NSA, default": -detector.score_samples(test),
        "NSA, trained network": -trained.score_samples(test),
        "nearest neighbour": sorted_distances[:, 0],
        "fifth neighbour": sorted_distances[:, 4],
        "IsolationForest": -IsolationForest(random_state=seed).fit(train).score_samples(test),
    }, seconds


def evaluate(sets, seeds, max_rows):
    """AUROC (sets, seeds) of each method and seconds (sets, seeds) of NSA's fit."""
    auroc, seconds = {}, np.empty((len(sets), seeds))
    for i, (name, read) in enumerate(sets.items()):
        X, y = read()
        for seed in range(seeds):
            train, test, is_anomaly = split(X.astype(np.float64), y, seed, max_rows)
            scores, seconds[i, seed] = score_all(train, test, seed)
            for method, values in scores.items():
                figures = auroc.setdefault(method, np.full((len(sets), seeds), np.nan))
                figures[i, seed] = roc_auc_score(is_anomaly, values)
        means = " ".join(f"{method} {100 * v[i].mean():.1f}" for method, v in auroc.items())
        print(f"{name}: {means}, {seconds[i].mean():.1f} s", flush=True)
    return auroc, seconds


def summarize(values, names):
    """Figures over (sets, seeds)."""
    per_seed, per_set = values.mean(axis=0), values.mean(axis=1)
    return {
        "mean": round(float(values.mean()), 4),
        "std_over_seeds": round(float(per_seed.std(ddof=1)), 4) if len(per_seed) > 1 else None,
        "worst_set": [names[per_set.argmin()], round(float(per_set.min()), 4)],
        "each_set": dict(zip(names, per_set.round(4).tolist(), strict=True)),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--small", action="store_true", help="few rows, no result file")
    args = parser.parse_args()
    names = None
    if args.small:
        names, args.seeds = ["glass", "uci_arrhythmia"], 1
    sets = read_tables("tabular", args.data, names)
    max_rows = SMALL_MAX_ROWS if args.small else MAX_ROWS
    auroc, seconds = evaluate(sets, args.seeds, max_rows)
    figures = {method: summarize(values, list(sets)) for method, values in auroc.items()}
    rows = {m: [f, "{} {:.3f}".format(*f["worst_set"])] for m, f in figures.items()}
    print_table("AUROC", ("mean over sets", "worst set"), rows)
    fit = {"median": np.median(seconds), "max": seconds.max(), "total": seconds.sum()}
    fit = {name: round(float(value), 2) for name, value in fit.items()}
    print("seconds of NSA's fit:", fit)
    if not args.small:
        report = {"seeds": args.seeds, "max_rows": max_rows, "auroc": figures, "fit_seconds": fit}
        write_report("tables", report)


if __name__ == "__main__":
    main()
