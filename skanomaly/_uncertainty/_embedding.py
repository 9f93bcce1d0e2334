"""From samples to embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._base import seed_parts
from ..encoders import SelfSupervisedEncoder, draw_views

N_VIEWS = 8  # of each image


def fit_encoder(encoder: Any, X: np.ndarray, seed: int | None, verbose: int) -> Any:
    """A fitted encoder for samples like X; None for tables that need none.

    Its parts that have no seed get one drawn with this one, unless it is None.
    """
    if isinstance(encoder, FrozenEstimator) or (encoder is None and X.ndim == 2):
        return encoder
    if encoder is None:
        encoder = SelfSupervisedEncoder(layers="last", verbose=verbose)
    encoder = clone(encoder)
    if seed is not None:
        seed_parts(encoder, np.random.RandomState(seed))
    with config_context(assume_finite=True):  # X was checked already
        return encoder.fit(X, None)


def embed(encoder: Any, X: np.ndarray) -> np.ndarray:
    """Embeddings (n, n_features), float64.

    Raises
    ------
    ValueError
        If the encoder does not return one finite vector for each sample.
    """
    if encoder is None:
        return X.astype(np.float64, copy=False)  # was checked with the input
    with config_context(assume_finite=True):
        embeddings = np.asarray(encoder.transform(X), dtype=np.float64)
    if embeddings.ndim != 2 or len(embeddings) != len(X) or not np.isfinite(embeddings).all():
        raise ValueError(
            f"{type(encoder).__name__} returned an array of shape {embeddings.shape} for "
            f"{len(X)} samples, or values that are not finite; pass an encoder that returns one "
            "finite vector for each sample"
        )
    return embeddings


def embed_views(
    X: np.ndarray, augment: Any, embed_images: Callable[[np.ndarray], np.ndarray], seed: int
) -> np.ndarray:
    """Embeddings (n, N_VIEWS, n_features) of random views of images."""
    return np.concatenate(
        [
            np.stack([embed_images(view) for view in views], axis=1)
            for views in draw_views(X, augment, N_VIEWS, seed)
        ]
    )
