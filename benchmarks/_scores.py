"""The scores that NSA's tables compare, as scikit-learn estimators, and their AUROCs."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import OneClassSVM

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, NeighborDistance


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
# Of the embedding and of the projection: scores of other methods, whose networks are among ours.
# Sohn et al. take ten times scikit-learn's gamma, and the bandwidth that corresponds to it.
OTHER_SCORES = {
    "droc_ocsvm": make_pipeline(Normalizer(), UnitVariance(), OneClassSVM(gamma=10)),
    "droc_kde": make_pipeline(Normalizer(), UnitVariance(), KernelDensity(bandwidth=20**-0.5)),
    "ssd": make_pipeline(Normalizer(), MahalanobisDistance()),
    "csi": CosineTimesNorm(),
    "dn2": NeighborDistance(2, standardize=False),
}
NEAREST = ("k_cos", "k_cos_mah")
CENTER = ("c_cos", "c_cos_mah")
# figures that span several columns in the paper are columns here
COLUMNS = {name: (name,) for name in SCORES} | {
    "k_cos + k_cos_mah": NEAREST,
    "c_cos + c_cos_mah": CENTER,
    "all four": NEAREST + CENTER,
}


def sum_members(groups):
    """Members "map/score" whose sum is a cell, for each (row, column)."""
    conv = [group for group in groups if not group.startswith("head")]  # flattened and pooled
    rows = {group: [group] for group in groups} | {"All conv blocks": conv, "All blocks": groups}
    cells = {
        (row, column): [f"{group}/{score}" for group in summed for score in scores]
        for row, summed in rows.items()
        for column, scores in COLUMNS.items()
    }
    for row, nearest in ("Ens.", NEAREST), ("Ens. printed", ("k_cos", "k_cos_mah_printed")):
        ens = {group: nearest if group in conv else CENTER for group in groups}
        cells[row, "Ens."] = [f"{group}/{s}" for group, scores in ens.items() for s in scores]
    return cells


def auroc_of_maps(encoder, train, test, is_anomaly):
    """AUROC of each (feature map or sum of them, score or sum of them) of a fitted encoder."""
    ensemble = FeatureEnsemble(list(SCORES.items()), groups=encoder.layer_slices_)
    # in float32 the covariance of the density could lose its definiteness
    ensemble.fit(encoder.transform(train).astype(np.float64))
    explanation = ensemble.explain(encoder.transform(test).astype(np.float64))
    rescaled = dict(zip(explanation.members, explanation.contributions.T, strict=True))
    return {
        cell: roc_auc_score(is_anomaly, sum(rescaled[member] for member in members))
        for cell, members in sum_members(list(encoder.layer_slices_)).items()
    }


def auroc_of(scorer, train, test, is_anomaly):
    """AUROC of one estimator, which is fitted on rows."""
    scores = scorer.fit(train.astype(np.float64)).score_samples(test.astype(np.float64))
    return roc_auc_score(is_anomaly, -scores)
