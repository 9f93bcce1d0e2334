"""What the variance is best learned from: views, losses, scaling, bags, widths, ensembles.

    python benchmarks/dum_study.py --data ../shared/data [--settings default "views=marginal"]

Each setting differs from DUMDetector's defaults, with 4 networks instead of 16, in what its name
says, and is fitted on tables and on embeddings that hold their anomalies, as in DUM's Table 2: at
most 1,000 rows of each set, drawn anew by each seed. AUROC is as it is, nothing is turned. Six
minutes a setting with three seeds on one core. Writes results/dum_study.json after each setting, to
which runs with other settings are added; --small is a quick check that writes nothing.
"""

import argparse
import time

import numpy as np
from _data import read_tables
from _report import extend_report
from _tables import add_arguments, draw, summarize
from sklearn.metrics import roc_auc_score

from skanomaly import DUMDetector

FOLDERS = ("tabular", "embeddings")
N_ESTIMATORS = 4
PRINTED = {**DUMDetector.PUBLISHED, "hidden_layers": (128, 128, 128)}
BAGS = {"bag_size": 8}
SETTINGS = {
    "default": {},
    "1 network": {"n_estimators": 1},
    "16 networks": {"n_estimators": 16},
    # views
    "views=marginal": {"views": "marginal"},
    "views=noise": {"views": "noise"},
    "views=mask": {"views": "mask"},
    # losses: agreement of bags of different samples under views; as printed
    "dot": {"objective": "dot", **BAGS},
    "cosine": {"objective": "cosine", **BAGS},
    "distance": {"objective": "distance", **BAGS},
    "printed, m=2": {**PRINTED, "bag_size": 2},
    "printed, m=8": PRINTED,
    "printed, m=32": {**PRINTED, "bag_size": 32},
    "printed, sampled": {**PRINTED, "expectation": "sampled"},
    # scaling
    "scaling=standard": {"scaling": "standard"},
    "scaling=minmax": {"scaling": "minmax"},
    "scaling=quantile": {"scaling": "quantile"},
    "scaling=whitened": {"scaling": "whitened"},
    # bags of views, network, subsets, norm
    "bag_size=4": {"bag_size": 4},
    "circular": {"covariance": "circular"},
    "hidden_layers=(32, 32)": {"hidden_layers": (32, 32)},
    "hidden_layers=(256, 256)": {"hidden_layers": (256, 256)},
    "max_features=None": {"max_features": None},
    "max_samples=None": {"max_samples": None},
    "trim=0": {"trim": 0.0},
    "norm=2": {"norm": 2},
}


def evaluate(options, sets, args):
    """Figures over all sets, and the mean AUROC of each."""
    results = {}
    for name, read in sets.items():
        auroc = []
        for seed in range(args.seeds):
            X, is_anomaly = draw(*read(), seed, args.rows)
            detector = DUMDetector(
                **{"n_estimators": N_ESTIMATORS, **options}, random_state=seed
            ).fit(X)
            auroc.append(100 * roc_auc_score(is_anomaly, -detector.score_samples(X)))
        results[name] = {"DUM": {"auroc": auroc}}
    figures = summarize(results)["DUM"]
    del figures["mean_rank"]  # of one
    each_set = {name: round(np.mean(of["DUM"]["auroc"]), 1) for name, of in results.items()}
    return {**figures, "each_set": each_set}


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser, rows=1_000)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    args = parser.parse_args()
    if args.small:
        args.seeds, args.rows, args.settings = 1, 100, ["default", "cosine"]
    n_sets = 2 if args.small else None
    folders = {f: read_tables(f, args.data, args.sets, n_sets) for f in FOLDERS}
    about = {"rows": args.rows, "n_estimators": N_ESTIMATORS}
    for setting in args.settings:
        start = time.perf_counter()
        figures = {
            folder: evaluate(SETTINGS[setting], sets, args) for folder, sets in folders.items()
        }
        figures |= {"seeds": args.seeds, "seconds": round(time.perf_counter() - start)}
        brief = {k: (v["mean"], v["worst_set"]) for k, v in figures.items() if k in FOLDERS}
        print(setting, brief, figures["seconds"], "s", flush=True)
        if not args.small:
            extend_report("dum_study", about, {setting: figures})


if __name__ == "__main__":
    main()
