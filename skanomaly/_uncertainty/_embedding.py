"""From samples to embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import gen_batches

from .._base import seed_parts
from .._training import SeededDraws, to_device
from ..encoders import SelfSupervisedEncoder, as_augmentation, as_float, make_augmentation

N_VIEWS = 8  # of each image
IMAGE_BATCH = 256


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
    cpu = torch.device("cpu")
    generator = torch.Generator().manual_seed(seed)
    draws = SeededDraws(seed)  # of augmentations that take no generator
    random_views = as_augmentation(make_augmentation(X, augment, cpu))
    views = []
    for rows in gen_batches(len(X), IMAGE_BATCH):
        images = as_float(to_device(X[rows], cpu))
        with draws:
            drawn = [random_views(images, generator).clamp(0, 1) for _ in range(N_VIEWS)]
        views.append(np.stack([embed_images(view.numpy()) for view in drawn], axis=1))
    return np.concatenate(views)
