"""Detectors by name: ours, scikit-learn's, PyOD's, and two small ones after their papers.

Each entry is a function of a seed that makes a detector. PyOD is imported when one of its detectors
is made.
"""

import importlib

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from skanomaly import (
    CenterCosine,
    DUMDetector,
    FeatureEnsemble,
    MahalanobisCosine,
    NeighborDistance,
    NSADetector,
)


def anomaly_scores(detector, X, are_training_rows=False):
    """Scores of rows, higher for anomalies. Training rows are not their own neighbours."""
    if are_training_rows and hasattr(detector, "decision_scores_"):  # PyOD's, and below
        return detector.decision_scores_
    if are_training_rows and hasattr(detector, "negative_outlier_factor_"):
        return -detector.negative_outlier_factor_
    if hasattr(detector, "decision_scores_"):
        return detector.decision_function(X)
    return -detector.score_samples(X)


class LeSiNN(BaseEstimator):
    """Distance to the nearest of a few random rows, mean over many draws (Pang et al., 2015)."""

    def __init__(self, random_state, n_samples=8, n_draws=50):
        self.random_state = random_state
        self.n_samples = n_samples
        self.n_draws = n_draws

    def fit(self, X, y=None):
        rng = np.random.default_rng(self.random_state)
        draws = [rng.choice(len(X), self.n_samples, replace=False) for _ in range(self.n_draws)]
        self.models_ = [NearestNeighbors(n_neighbors=1).fit(X[rows]) for rows in draws]
        self.decision_scores_ = self.decision_function(X)
        return self

    def decision_function(self, X):
        return np.mean([model.kneighbors(X)[0][:, 0] for model in self.models_], axis=0)


class REPEN(BaseEstimator):
    """LeSiNN in a representation that sets its outliers apart (Pang et al., 2018).

    Triplets of a query and another inlier, which shall be near, and an outlier, which shall be
    far, are drawn by LeSiNN's scores. Width, margin and the share of outliers, by Cantelli's
    inequality, are the paper's.
    """

    def __init__(self, random_state, width=20, margin=1000.0, n_steps=1_500, batch_size=256):
        self.random_state = random_state
        self.width = width
        self.margin = margin
        self.n_steps = n_steps
        self.batch_size = batch_size

    def fit(self, X, y=None):
        rng = np.random.default_rng(self.random_state)
        scores = LeSiNN(self.random_state).fit(X).decision_scores_
        is_outlier = scores > scores.mean() + 1.732 * scores.std()
        if not is_outlier.any():
            self.decision_scores_ = scores
            return self
        outliers, inliers = np.flatnonzero(is_outlier), np.flatnonzero(~is_outlier)
        outlier_shares = scores[outliers] / scores[outliers].sum()
        inlierness = scores[outliers].min() - scores[inliers]
        inlier_shares = inlierness / inlierness.sum()
        rows = torch.from_numpy(X.astype(np.float32))
        network = self._make_network(X.shape[1])
        optimizer = torch.optim.Adadelta(network.parameters())
        for _ in range(self.n_steps):
            query, positive = rng.choice(inliers, (2, self.batch_size), p=inlier_shares)
            negative = rng.choice(outliers, self.batch_size, p=outlier_shares)
            query, positive, negative = (network(rows[i]) for i in (query, positive, negative))
            near, far = ((query - other).square().sum(1) for other in (positive, negative))
            loss = torch.relu(self.margin + near - far).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            represented = network(rows).numpy()
        self.decision_scores_ = LeSiNN(self.random_state).fit(represented).decision_scores_
        return self

    def _make_network(self, n_features):
        with torch.random.fork_rng([]):
            torch.manual_seed(self.random_state)
            return torch.nn.Sequential(torch.nn.Linear(n_features, self.width), torch.nn.ReLU())


def of_pyod(module, name, is_seeded=False, **options):
    """A function of a seed that makes a detector of PyOD."""

    def make(seed):
        detector = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        return detector(**options, **({"random_state": seed} if is_seeded else {}))

    return make


EMBEDDING_METHODS = {
    "k-Cos": lambda seed: MahalanobisCosine(whiten=False),
    "k-Cos (Mah), default": lambda seed: MahalanobisCosine(),
    "k-Cos (Mah), OAS": lambda seed: MahalanobisCosine(shrinkage="oas"),
    "k-Cos (Mah), centred as printed": lambda seed: MahalanobisCosine(center=True),
    "k-Cos (Mah), centred, pseudo-inverse": lambda seed: MahalanobisCosine(
        center=True, shrinkage=None
    ),
    "k-Cos (Mah), trim=0.1": lambda seed: MahalanobisCosine(trim=0.1),
    "k-Cos (Mah), n_neighbors=5": lambda seed: MahalanobisCosine(n_neighbors=5),
    "c-Cos": lambda seed: CenterCosine(whiten=False),
    "c-Cos (Mah)": lambda seed: CenterCosine(),
    "FeatureEnsemble": lambda seed: FeatureEnsemble(),
    "FeatureEnsemble, trim=0.1": lambda seed: FeatureEnsemble(trim=0.1),
    "LocalOutlierFactor": lambda seed: LocalOutlierFactor(novelty=True),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "OneClassSVM": lambda seed: OneClassSVM(gamma="scale", nu=0.05),
    "PyOD KNN": of_pyod("knn", "KNN"),
    "PyOD IForest": of_pyod("iforest", "IForest", is_seeded=True),
    "PyOD ECOD": of_pyod("ecod", "ECOD"),
}
TABLE_METHODS = {
    "NSA, default": lambda seed: NSADetector(random_state=seed),
    "nearest neighbour": lambda seed: NeighborDistance(1),
    "fifth neighbour": lambda seed: NeighborDistance(5, aggregation="largest"),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
}
# the rivals of DUM's Table 2, with the defaults of their libraries
RIVALS = {
    "ISO": lambda seed: IsolationForest(random_state=seed),
    "LOF": lambda seed: LocalOutlierFactor(),
    "SVM": lambda seed: OneClassSVM(),
    "SP": of_pyod("sampling", "Sampling", is_seeded=True),
    "EE": lambda seed: EllipticEnvelope(random_state=seed),
    "KNN": of_pyod("knn", "KNN"),
    "ABOD": of_pyod("abod", "ABOD"),
    "AE": of_pyod("auto_encoder", "AutoEncoder", is_seeded=True, verbose=0),
    "LeSiNN": LeSiNN,
    "REPEN": REPEN,
}
MAX_COLUMNS = {"EE": 100}  # beyond, a robust covariance has too few rows


def printed(width=256, **options):
    """DUM as its paper prints it, with layers of another width."""
    return {**DUMDetector.PUBLISHED, "hidden_layers": (width,) * 3, **options}


BAGS = {"bag_size": 8}
# what each setting changes in DUMDetector's defaults, with 4 networks instead of 16
DUM_SETTINGS = {
    "default": {},
    "1 network": {"n_estimators": 1},
    "16 networks": {"n_estimators": 16},
    "views=marginal": {"views": "marginal"},
    "views=noise": {"views": "noise"},
    "views=mask": {"views": "mask"},
    "dot": {"objective": "dot", **BAGS},
    "cosine": {"objective": "cosine", **BAGS},
    "distance": {"objective": "distance", **BAGS},
    "printed, m=2": printed(128, bag_size=2),
    "printed, m=8": printed(128),
    "printed, m=32": printed(128, bag_size=32),
    "printed, sampled": printed(128, expectation="sampled"),
    "scaling=standard": {"scaling": "standard"},
    "scaling=minmax": {"scaling": "minmax"},
    "scaling=quantile": {"scaling": "quantile"},
    "scaling=whitened": {"scaling": "whitened"},
    "bag_size=4": {"bag_size": 4},
    "circular": {"covariance": "circular"},
    "hidden_layers=(32, 32)": {"hidden_layers": (32, 32)},
    "hidden_layers=(256, 256)": {"hidden_layers": (256, 256)},
    "max_features=None": {"max_features": None},
    "max_features=8": {"max_features": 8},
    "max_samples=None": {"max_samples": None},
    "max_samples=64": {"max_samples": 64},
    "max_epochs=100": {"max_epochs": 100},
    "trim=0": {"trim": 0.0},
    "norm=2": {"norm": 2},
    "norm=inf": {"norm": np.inf},
}
DUM_METHODS = {
    "DUM": lambda seed: DUMDetector(random_state=seed),
    "DUM printed": lambda seed: DUMDetector(**printed(), random_state=seed),
}
STUDY_RIVALS = {
    "isolation forest": RIVALS["ISO"],
    "5th nearest neighbour": lambda seed: NeighborDistance(5, aggregation="largest"),
}
STUDY_METHODS = STUDY_RIVALS | {
    name: lambda seed, options=options: DUMDetector(
        **{"n_estimators": 4, **options}, random_state=seed
    )
    for name, options in DUM_SETTINGS.items()
}
