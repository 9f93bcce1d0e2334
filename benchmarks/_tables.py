"""Tables that hold their anomalies already when detectors are fitted, as in DUM's Table 2."""

import importlib.util
from pathlib import Path

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


def read_sets(args, *folders):
    """Functions that return rows and labels (1 = anomaly), by the name of the set."""
    path = Path(args.data, "load.py")
    if not path.exists():
        raise FileNotFoundError(f"--data {args.data} has no load.py that reads the sets in it")
    spec = importlib.util.spec_from_file_location("load", path)
    load = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(load)
    known = [name for folder in folders for name in load.names(folder)]
    names = known if args.sets is None else args.sets
    if args.small:
        names = known[:2]
    for name in names:
        if name not in known:
            raise ValueError(f"--sets {name} is not known; pass some of {', '.join(known)}")
    return {name: lambda name=name: load.table(name) for name in names}


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


def summarize(auroc, names):
    """Figures of each method from its AUROC (sets, seeds); nan, what is missing, counts as 50."""
    counted = {method: np.nan_to_num(values, nan=50.0) for method, values in auroc.items()}
    table = np.stack([values.mean(axis=1) for values in counted.values()], axis=1)
    ranks = np.stack([rankdata(-row) for row in table]).mean(axis=0)
    figures = {}
    for i, (method, values) in enumerate(counted.items()):
        per_set, flipped = table[:, i], without_orientation(values)
        figures[method] = {
            "mean": _round(per_set.mean()),
            "mean_rank": _round(ranks[i]),
            "worst_set": [names[per_set.argmin()], _round(per_set.min())],
            "mean_without_orientation": _round(flipped.mean()),
            "std_over_seeds": _round(values.std(axis=1, ddof=1).mean())
            if values.shape[1] > 1
            else None,
            "missing": int(np.isnan(auroc[method]).sum()),
            "each_set": {
                name: {
                    "auroc": None if np.isnan(auroc[method][j]).all() else _round(per_set[j]),
                    "std": _round(values[j].std(ddof=1)) if values.shape[1] > 1 else None,
                    "without_orientation": _round(flipped[j].mean()),
                }
                for j, name in enumerate(names)
            },
        }
    return figures


def _round(value):
    return round(float(value), 2)
