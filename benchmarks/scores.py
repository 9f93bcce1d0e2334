"""The scores that NSA's tables compare, as scikit-learn estimators, and their AUROC in per cent."""

import numpy as np
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import OneClassSVM

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, NeighborDistance

from .methods import anomaly_scores


class UnitVariance(TransformerMixin, BaseEstimator):
    """Divides by one number, so that the variances of the features sum to about 1."""

    def fit(self, X, y=None):
        self.scale_ = np.sqrt(X.var() * X.shape[1]) or 1.0
        return self

    def transform(self, X):
        return X / self.scale_


class MahalanobisDistance(EmpiricalCovariance):
    """SSD with one cluster (Sehwag et al., 2021)."""

    def score_samples(self, X):
        return -self.mahalanobis(X)


class GaussianKernelDensity(BaseEstimator):
    """KernelDensity up to a constant, by a matrix product, which is faster than trees here."""

    def __init__(self, bandwidth):
        self.bandwidth = bandwidth

    def fit(self, X, y=None):
        self.X_ = X
        return self

    def score_samples(self, X):
        squared = euclidean_distances(X, self.X_, squared=True)
        return logsumexp(squared / (-2 * self.bandwidth**2), axis=1)


class CosineTimesNorm(BaseEstimator):
    """CSI's contrastive score (Tack et al., 2020): the greatest cosine times the norm."""

    def fit(self, X, y=None):
        self.directions_ = Normalizer().transform(X)
        return self

    def score_samples(self, X):
        # a norm times a cosine is the product with a unit vector
        return (X @ self.directions_.T).max(axis=1)


class PCAReconstruction(PCA):
    """Squared error of what the leading components keep."""

    def score_samples(self, X):
        return -((X - self.inverse_transform(self.transform(X))) ** 2).sum(axis=1)


# Of every feature map. Appendix C calls GDE a kernel density, but takes it from Sohn et al. (2020),
# whose GDE is one Gaussian with full covariance of features of norm one; figure 3 agrees.
SCORES = {
    "k_cos": MahalanobisCosine(whiten=False),
    "k_cos_mah": MahalanobisCosine(),
    "k_cos_mah_printed": MahalanobisCosine(center=True),  # equation 2 to the letter
    "c_cos": CenterCosine(whiten=False),
    "c_cos_mah": CenterCosine(),
    "gde": make_pipeline(Normalizer(), GaussianMixture()),
}
# Of the embedding: scores of other methods, whose networks are among ours. CSI's is of the head.
# Sohn et al. take ten times scikit-learn's gamma, and the bandwidth that corresponds to it.
OTHER_SCORES = {
    "droc_ocsvm": make_pipeline(Normalizer(), UnitVariance(), OneClassSVM(gamma=10)),
    "droc_kde": make_pipeline(Normalizer(), UnitVariance(), GaussianKernelDensity(20**-0.5)),
    "ssd": make_pipeline(Normalizer(), MahalanobisDistance()),
    "csi": CosineTimesNorm(),
    "dn2": NeighborDistance(2, standardize=False),
}
NEAREST = ("k_cos", "k_cos_mah")
CENTER = ("c_cos", "c_cos_mah")
# what a feature map is scored with: one score, or the sum of several, each rescaled
COLUMNS = {name: (name,) for name in SCORES} | {
    "k_cos + k_cos_mah": NEAREST,
    "c_cos + c_cos_mah": CENTER,
    "all four": NEAREST + CENTER,
}
RECORDED = (*COLUMNS, "score", *OTHER_SCORES)  # columns of nsa.csv


def auroc(scorer, train, test, is_anomaly):
    """AUROC in per cent of an estimator that is fitted on rows."""
    scorer.fit(train.astype(np.float64))
    return 100 * roc_auc_score(is_anomaly, anomaly_scores(scorer, test.astype(np.float64)))


def auroc_of_maps(encoder, train, test, is_anomaly):
    """AUROC in per cent of each feature map, and of sums over maps, with each column's score.

    Parameters
    ----------
    encoder : SelfSupervisedEncoder or PretrainedEncoder
        A fitted one, which returns all layers.
    train, test : images
        Those that it was fitted on, and others.
    is_anomaly : array of bool
        Of the others.

    Returns
    -------
    figures : dict of str to dict
        By map and column. The paper's "Ens." and the same with its printed whitening have
        their sum in the column "score".
    """
    ensemble = FeatureEnsemble(list(SCORES.items()), groups=encoder.layer_slices_)
    # in float32 the covariance of the density could lose its definiteness
    ensemble.fit(encoder.transform(train).astype(np.float64))
    explanation = ensemble.explain(encoder.transform(test).astype(np.float64))
    rescaled = dict(zip(explanation.members, explanation.contributions.T, strict=True))
    return {
        row: {
            column: 100 * roc_auc_score(is_anomaly, sum(rescaled[member] for member in members))
            for column, members in columns.items()
        }
        for row, columns in summed_scores(list(encoder.layer_slices_)).items()
    }


def summed_scores(maps):
    """Members "map/score" of the ensemble that are summed, by row and column."""
    conv = [name for name in maps if not name.startswith("head")]  # flattened and averaged
    rows = {name: [name] for name in maps} | {"All conv blocks": conv, "All blocks": maps}
    members = {
        row: {
            column: [f"{name}/{score}" for name in summed for score in scores]
            for column, scores in COLUMNS.items()
        }
        for row, summed in rows.items()
    }
    for row, nearest in ("Ens.", NEAREST), ("Ens. printed", ("k_cos", "k_cos_mah_printed")):
        of_map = {name: nearest if name in conv else CENTER for name in maps}
        members[row] = {"score": [f"{name}/{s}" for name in maps for s in of_map[name]]}
    return members


def embedding_of(maps):
    """The last block, averaged over positions."""
    return [name for name in maps if name.endswith("(1x1)")][-1]


def head_of(maps):
    """The last layer of the projector, or None."""
    return ([name for name in maps if name.startswith("head")] or [None])[-1]
