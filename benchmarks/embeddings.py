"""Mean AUROC of the angular scores over sets of pretrained embeddings, three seeds.

    python benchmarks/embeddings.py --data ../shared/data

Each run trains on a random 70% of a set's normal rows and tests on the rest with the anomalies.
Writes results/embeddings.json. The data folder has a load.py that reads it.
"""

import argparse
import sys
import warnings

import numpy as np
from _report import write_report
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

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
}


def split(X, y, seed):
    """Training rows, test rows and the test rows' labels (+1 normal, -1 anomaly)."""
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(y == 0))
    n_train = int(0.7 * len(normal))
    test = np.concatenate([normal[n_train:], np.flatnonzero(y == 1)])
    return X[normal[:n_train]], X[test], np.where(y[test] == 0, 1, -1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    sys.path.insert(0, parser.parse_args().data)
    import load

    sets = load.names("embeddings")
    auroc = {name: np.empty((len(sets), len(SEEDS))) for name in METHODS}
    for i, name in enumerate(sets):
        X, y = load.table(name)
        for j, seed in enumerate(SEEDS):
            train, test, labels = split(X.astype(np.float64), y, seed)
            for method, detector in METHODS.items():
                scores = detector.fit(train).score_samples(test)
                auroc[method][i, j] = roc_auc_score(labels, scores)
    figures = {}
    for method, values in auroc.items():
        per_seed = values.mean(axis=0)
        figures[method] = {
            "mean": round(float(values.mean()), 4),
            "std_over_seeds": round(float(per_seed.std(ddof=1)), 4),
            "worst_set": round(float(values.mean(axis=1).min()), 4),
        }
        print(f"{method:38s} {100 * values.mean():.1f}")
    write_report("embeddings", {"seeds": SEEDS, "sets": sets, "auroc": figures})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
