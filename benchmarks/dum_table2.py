"""Table 2 of DUM: AUROC on tables that hold their anomalies already when detectors are fitted.

    python benchmarks/dum_table2.py --data ../shared/data [--seeds 3] [--rows 2000]

Every detector is fitted on a set and scores that set, as in the paper's section 4.2. Of larger sets
each seed draws `--rows` rows with the set's share of anomalies, but at least 20 of these. Missing
values are replaced by medians. Rivals get columns scaled to [0, 1], as in the paper, and have their
libraries' defaults; those that fail on a set count as 50 there. AUROC is given as it is, and as
max(AUROC, 1 - AUROC), without orientation, which is how the paper's figures must be read; no
detector here is turned by it.

Needs pyod. About 25 minutes on two cores. Writes results/dum_table2.json; --small is a quick check
that writes nothing. The data folder has a load.py that reads it.
"""

import argparse
import sys
import time
import warnings

import numpy as np
from _report import write_report
from scipy.stats import rankdata
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import minmax_scale
from sklearn.svm import OneClassSVM

from skanomaly import DUMDetector

MIN_ANOMALIES = 20
N_NEIGHBORS = 5
LESINN_SAMPLES, LESINN_REPEATS = 8, 50  # Pang et al. (2015)


def isolation_forest(X, seed):
    return -IsolationForest(random_state=seed).fit(X).score_samples(X)


def local_outlier_factor(X, seed):
    return -LocalOutlierFactor().fit(X).negative_outlier_factor_


def one_class_svm(X, seed):
    return -OneClassSVM().fit(X).score_samples(X)


def elliptic_envelope(X, seed):
    if X.shape[1] > 100:
        raise ValueError("too few samples for a robust covariance")
    return -EllipticEnvelope(random_state=seed).fit(X).score_samples(X)


def nearest_neighbors(X, seed):
    return NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(X).kneighbors()[0][:, -1]


def lesinn(X, seed):
    """Distance to the nearest of a few random rows, mean over many draws."""
    rng, scores = np.random.default_rng(seed), np.zeros(len(X))
    for _ in range(LESINN_REPEATS):
        rows = rng.choice(len(X), LESINN_SAMPLES, replace=False)
        scores += NearestNeighbors(n_neighbors=1).fit(X[rows]).kneighbors(X)[0][:, 0]
    return scores


def rapid_sampling(X, seed):
    from pyod.models.sampling import Sampling

    return Sampling(random_state=seed).fit(X).decision_scores_


def angle_based(X, seed):
    from pyod.models.abod import ABOD

    return ABOD().fit(X).decision_scores_


def auto_encoder(X, seed):
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(random_state=seed, verbose=0).fit(X).decision_scores_


RIVALS = {
    "ISO": isolation_forest,
    "LOF": local_outlier_factor,
    "SVM": one_class_svm,
    "SP": rapid_sampling,
    "EE": elliptic_envelope,
    "KNN": nearest_neighbors,
    "ABOD": angle_based,
    "AE": auto_encoder,
    "LeSiNN": lesinn,
}


def draw(X, y, seed, n_rows):
    """Rows of a set, and which of them are anomalies."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(X))
    if len(X) > n_rows:
        anomalies, normal = (rng.permutation(np.flatnonzero(y == label)) for label in (1, 0))
        n_anomalies = min(len(anomalies), max(MIN_ANOMALIES, round(n_rows * y.mean())))
        rows = rng.permutation(np.r_[anomalies[:n_anomalies], normal[: n_rows - n_anomalies]])
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return imputer.fit_transform(X[rows].astype(np.float64)), y[rows] == 1


def score_all(X, seed):
    """Scores by every detector, higher for anomalies, and seconds of each."""
    scores, seconds = {}, {}
    start = time.perf_counter()
    scores["DUM"] = -DUMDetector(random_state=seed).fit(X).score_samples(X)
    seconds["DUM"] = time.perf_counter() - start
    scaled = minmax_scale(X)
    for name, rival in RIVALS.items():
        start = time.perf_counter()
        try:
            scores[name] = np.nan_to_num(rival(scaled, seed))
        except ValueError as error:
            print(name, "failed:", str(error).splitlines()[0])
            scores[name] = np.zeros(len(X))
        seconds[name] = time.perf_counter() - start
    return scores, seconds


def evaluate(sets, seeds, n_rows):
    """AUROC and seconds, each (sets, seeds), of every detector."""
    auroc = {name: np.empty((len(sets), seeds)) for name in ("DUM", *RIVALS)}
    times = {name: np.empty((len(sets), seeds)) for name in auroc}
    for i, (name, read) in enumerate(sets.items()):
        for seed in range(seeds):
            X, is_anomaly = draw(*read(), seed, n_rows)
            scores, seconds = score_all(X, seed)
            for method, values in scores.items():
                auroc[method][i, seed] = 100 * roc_auc_score(is_anomaly, values)
                times[method][i, seed] = seconds[method]
        print(name, {m: round(float(v[i].mean()), 1) for m, v in auroc.items()}, flush=True)
    return auroc, times


def summarize(auroc, times, names):
    """Figures of each detector over all sets and seeds."""
    table = np.stack([values.mean(axis=1) for values in auroc.values()], axis=1)
    ranks = np.stack([rankdata(-row) for row in table]).mean(axis=0)
    figures = {}
    for i, (method, values) in enumerate(auroc.items()):
        per_set = table[:, i]
        figures[method] = {
            "mean": round(float(per_set.mean()), 2),
            "mean_rank": round(float(ranks[i]), 2),
            "worst_set": [names[per_set.argmin()], round(float(per_set.min()), 1)],
            "mean_without_orientation": round(float(np.maximum(values, 100 - values).mean()), 2),
            "std_over_seeds": round(float(values.std(axis=1, ddof=1).mean()), 2)
            if values.shape[1] > 1
            else None,
            "seconds_per_set": round(float(times[method].mean()), 2),
            "each_set": dict(zip(names, per_set.round(1).tolist(), strict=True)),
        }
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--rows", type=int, default=2_000, help="rows of each set at most")
    parser.add_argument("--small", action="store_true", help="two sets, no result file")
    args = parser.parse_args()
    sys.path.insert(0, args.data)
    import load

    warnings.simplefilter("ignore")  # of the rivals, about constant columns and the like
    names = load.names("tabular")
    if args.small:
        names, args.seeds, args.rows = ["glass", "uci_arrhythmia"], 1, 200
    sets = {name: lambda name=name: load.table(name) for name in names}
    auroc, times = evaluate(sets, args.seeds, args.rows)
    figures = summarize(auroc, times, names)
    for method, f in figures.items():
        print(f"{method:7s}", {k: v for k, v in f.items() if k != "each_set"})
    if not args.small:
        report = {"seeds": args.seeds, "rows": args.rows, "auroc": figures}
        write_report("dum_table2", report, rivals=["pyod"])


if __name__ == "__main__":
    main()
