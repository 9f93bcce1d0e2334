"""Tables that hold their anomalies already when detectors are fitted, as in DUM's Table 2."""

import numpy as np
from scipy.stats import rankdata
from sklearn.impute import SimpleImputer

MIN_ANOMALIES = 20
# the paper's name of a set, and ours; its KDD'99 is another part than the one in the data folder
PAPER_SETS = {
    "Arrhythmia": "uci_arrhythmia",
    "CoverType": "cover",
    "Ionosphere": "uci_ionosphere",
    "Isolet": "uci_isolet_half",
    "MFeat": "uci_mfeat",
    "OptDigits": "uci_optdigits",
    "PIMA": "uci_pima",
    "Skin": "skin",
    "Spambase": "uci_spambase",
    "Statlog": "uci_statlog_satimage",
    "Wdbc": "uci_wdbc",
}


def add_arguments(parser, rows):
    parser.add_argument("--data", default="../shared/data", help="folder with a load.py")
    parser.add_argument("--seeds", type=int, default=3, help="number of repetitions")
    parser.add_argument("--rows", type=int, default=rows, help="rows of each set at most")
    parser.add_argument("--sets", nargs="+", help="names of sets; all by default")
    parser.add_argument("--small", action="store_true", help="two sets, no result file")


def draw(X, y, seed, n_rows):
    """At most n_rows rows with the set's share of anomalies, and which of them are anomalies.

    At least 20 anomalies are drawn, if there are so many. Missing values become medians.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(X))
    if len(X) > n_rows:
        anomalies, normal = (rng.permutation(np.flatnonzero(y == label)) for label in (1, 0))
        n_anomalies = min(len(anomalies), max(MIN_ANOMALIES, round(n_rows * y.mean())))
        rows = rng.permutation(np.r_[anomalies[:n_anomalies], normal[: n_rows - n_anomalies]])
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    return imputer.fit_transform(X[rows].astype(np.float64)), y[rows] == 1


def without_orientation(auroc):
    return np.maximum(auroc, 100 - auroc)


def summarize(results):
    """Figures of each method over sets, from lists of AUROC by set and method.

    What is missing, a time-out or a failure, is None and counts as 50.
    """
    names, methods = list(results), list(next(iter(results.values())))
    auroc = np.array(
        [[[_or_half(v) for v in results[n][m]["auroc"]] for m in methods] for n in names]
    )  # sets, methods, seeds
    per_set = auroc.mean(axis=2)
    ranks = np.stack([rankdata(-row) for row in per_set]).mean(axis=0)
    return {
        method: {
            "mean": round(float(per_set[:, i].mean()), 2),
            "mean_rank": round(float(ranks[i]), 2),
            "worst_set": [names[per_set[:, i].argmin()], round(float(per_set[:, i].min()), 1)],
            "without_orientation": round(float(without_orientation(auroc[:, i]).mean()), 2),
            "std_over_seeds": round(float(auroc[:, i].std(axis=1, ddof=1).mean()), 2)
            if auroc.shape[2] > 1
            else None,
        }
        for i, method in enumerate(methods)
    }


def _or_half(value):
    return 50.0 if value is None else value
