"""How embeddings are scaled before networks see them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

SCALINGS = ("auto", "standard", "minmax", "quantile", "whitened")
WIDE = 256  # columns; in more of them a network's random columns say little of the others
EXPLAINED = 0.99  # share of the variance that the components keep


class SpreadLimiter(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Shrink columns of large standard deviation to the median one, so that units matter less.

    Columns of small deviation stay as they are, unlike those that are standardised: in embeddings
    they hold little but noise.
    """

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=np.float64)
        self.scale_ = X.std(axis=0)
        varying = self.scale_ > 0
        if varying.any():
            self.scale_ = np.maximum(self.scale_ / np.median(self.scale_[varying]), 1)
        return self

    def transform(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) / self.scale_


def fit_scaler(scaling: str, embeddings: np.ndarray, seed: int, *, encoded: bool = False) -> Any:
    """A transformer of that kind, fitted to the embeddings.

    "auto" is "whitened" for what an encoder has `encoded`, and for many columns.
    """
    n_samples, n_features = embeddings.shape
    if scaling == "auto":
        scaling = "whitened" if encoded or n_features > WIDE else "standard"
    varies = (embeddings != embeddings[0]).any()
    scaler: Any
    if scaling == "minmax":
        scaler = MinMaxScaler()
    elif scaling == "quantile":
        scaler = QuantileTransformer(n_quantiles=min(1000, n_samples), random_state=seed)
    elif scaling == "whitened" and varies:
        solver = "covariance_eigh" if n_samples > n_features else "full"
        scaler = make_pipeline(SpreadLimiter(), PCA(EXPLAINED, whiten=True, svd_solver=solver))
    else:
        scaler = StandardScaler()
    return scaler.set_output(transform="default").fit(embeddings)
