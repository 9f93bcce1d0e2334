"""Samples of any kind, as they come from the user: how many, some of them, and their labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._array_api import is_array_api_obj, like, namespace, to_numpy
from ._sklearn_compat import num_samples, safe_indexing
from .images import Images


def count_samples(X: Any) -> int:
    """Number of samples of images, a table, or a dict of blocks."""
    return num_samples(next(iter(X.values()), ()) if isinstance(X, dict) else X)


def take_samples(X: Any, index: np.ndarray) -> Any:
    """The samples at an array of positions."""
    if isinstance(X, dict):
        return {name: take_samples(rows, index) for name, rows in X.items()}
    if isinstance(X, Images):
        return X[index]
    if is_array_api_obj(X):
        return namespace(X).take(X, like(index, X), axis=0)
    return safe_indexing(X, index)


def as_numpy(values: Any) -> np.ndarray:
    """Arrays of any library and device, lists and series as an array of numpy."""
    return to_numpy(values) if is_array_api_obj(values) else np.asarray(values)


def check_labels(y: Any, n_samples: int) -> np.ndarray:
    """Labels as an int array.

    Raises
    ------
    ValueError
        If there is not one label, +1 or -1, for each sample.
    """
    labels = as_numpy(y)
    if labels.shape != (n_samples,):
        raise ValueError(
            f"y has shape {labels.shape}, but X has {n_samples} samples; pass one label for each"
        )
    unknown = [label for label in labels.tolist() if label not in (1, -1)]
    if unknown:
        raise ValueError(
            f"y has the label {unknown[0]!r}; pass +1 for normal samples and -1 for anomalies"
        )
    return labels.astype(int)
