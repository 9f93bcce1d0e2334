"""The ten rivals of DUM's Table 2: functions of the rows and a seed that fit a detector.

Each returns a function without arguments that scores these rows, higher for anomalies. Defaults are
those of scikit-learn and PyOD, which is needed by three of them.
"""

import numpy as np
import torch
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

N_NEIGHBORS = 5
LESINN_SAMPLES, LESINN_REPEATS = 8, 50
# of REPEN's paper: width of the representation, margin, share of outliers by Cantelli's inequality
REPEN_WIDTH, REPEN_MARGIN, REPEN_DEVIATIONS = 20, 1000.0, 1.732
REPEN_STEPS, REPEN_BATCH = 1_500, 256


def isolation_forest(X, seed):
    model = IsolationForest(random_state=seed).fit(X)
    return lambda: -model.score_samples(X)


def local_outlier_factor(X, seed):
    model = LocalOutlierFactor().fit(X)
    return lambda: -model.negative_outlier_factor_


def one_class_svm(X, seed):
    model = OneClassSVM().fit(X)
    return lambda: -model.score_samples(X)


def rapid_sampling(X, seed):
    from pyod.models.sampling import Sampling

    model = Sampling(random_state=seed).fit(X)
    return lambda: model.decision_scores_


def elliptic_envelope(X, seed):
    if X.shape[1] > 100:
        raise ValueError("too few samples for a robust covariance")
    model = EllipticEnvelope(random_state=seed).fit(X)
    return lambda: -model.score_samples(X)


def nearest_neighbors(X, seed):
    model = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(X)
    return lambda: model.kneighbors()[0][:, -1]


def angle_based(X, seed):
    from pyod.models.abod import ABOD

    model = ABOD().fit(X)
    return lambda: model.decision_scores_


def auto_encoder(X, seed):
    from pyod.models.auto_encoder import AutoEncoder

    model = AutoEncoder(random_state=seed, verbose=0).fit(X)
    return lambda: model.decision_scores_


def lesinn(X, seed):
    """Distance to the nearest of a few random rows, mean over many draws (Pang et al., 2015)."""
    rng = np.random.default_rng(seed)
    draws = [rng.choice(len(X), LESINN_SAMPLES, replace=False) for _ in range(LESINN_REPEATS)]
    models = [NearestNeighbors(n_neighbors=1).fit(X[rows]) for rows in draws]
    return lambda: np.mean([model.kneighbors(X)[0][:, 0] for model in models], axis=0)


def repen(X, seed):
    """LeSiNN in a representation that sets its outliers apart (Pang et al., 2018).

    Triplets of a query and another inlier, which shall be near, and an outlier, which shall be
    far, drawn by LeSiNN's scores.
    """
    rng = np.random.default_rng(seed)
    scores = lesinn(X, seed)()
    is_outlier = scores > scores.mean() + REPEN_DEVIATIONS * scores.std()
    if not is_outlier.any():
        return lambda: scores
    outliers, inliers = np.flatnonzero(is_outlier), np.flatnonzero(~is_outlier)
    outlier_shares = scores[outliers] / scores[outliers].sum()
    inlierness = scores[outliers].min() - scores[inliers]
    inlier_shares = inlierness / inlierness.sum()
    rows = torch.from_numpy(X.astype(np.float32))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = torch.nn.Sequential(torch.nn.Linear(X.shape[1], REPEN_WIDTH), torch.nn.ReLU())
    optimizer = torch.optim.Adadelta(network.parameters())
    for _ in range(REPEN_STEPS):
        query, positive = rng.choice(inliers, (2, REPEN_BATCH), p=inlier_shares)
        negative = rng.choice(outliers, REPEN_BATCH, p=outlier_shares)
        query, positive, negative = (network(rows[i]) for i in (query, positive, negative))
        near, far = ((query - other).square().sum(1) for other in (positive, negative))
        loss = torch.relu(REPEN_MARGIN + near - far).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        return lesinn(network(rows).numpy(), seed)


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
    "REPEN": repen,
}
