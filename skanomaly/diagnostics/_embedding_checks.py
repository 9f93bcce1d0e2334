"""Embeddings as they are passed: checked, and their directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from .._angles import unit_rows
from .._array_api import is_array_api_obj, row_slices, to_numpy
from .._validation import refuse_not_finite

BLOCK_BYTES = 16 * 2**20  # of float64 rows worked on at once


def check_rows(X: Any, name: str, *, min_rows: int = 1) -> np.ndarray:
    """X as a finite matrix of float64 or float32 in host memory.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        A tensor is copied to the CPU.
    name : str
        What the caller's parameter is called.
    min_rows : int
        Fewer are refused.

    Raises
    ------
    ValueError
        If X is no such matrix, naming the first entry that is NaN or infinite.
    """
    X = check_array(
        to_numpy(X) if is_array_api_obj(X) else X,
        dtype=[np.float64, np.float32],
        ensure_2d=False,
        allow_nd=True,
        ensure_all_finite=False,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name=name,
    )
    if X.ndim != 2 or X.shape[1] == 0:
        raise ValueError(f"{name} has shape {X.shape}; pass one row of features per sample")
    if len(X) < min_rows:
        raise ValueError(f"{name} has {len(X)} row(s); pass at least {min_rows}")
    refuse_not_finite(X, name)
    return X


def check_same_width(X: np.ndarray, Y: np.ndarray, names: tuple[str, str]) -> None:
    """Refuse two matrices with different numbers of columns."""
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"{names[0]} has {X.shape[1]} columns, but {names[1]} has {Y.shape[1]}; "
            "pass embeddings of the same network"
        )


def directions(X: Any, name: str, *, min_rows: int = 1) -> np.ndarray:
    """Rows of X scaled to length 1, a new float64 array.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        At least two features.
    name : str
        What the caller's parameter is called.
    min_rows : int
        Fewer are refused.

    Raises
    ------
    ValueError
        As `check_rows`, and if there is one feature only or a row of zeros.
    """
    X = check_rows(X, name, min_rows=min_rows)
    if X.shape[1] < 2:
        raise ValueError(f"{name} has 1 column; directions need at least 2")
    units = np.empty(X.shape)
    for rows in row_slices(len(X), units[0].nbytes, BLOCK_BYTES):
        units[rows] = unit_rows(X[rows])
        zero = ~units[rows].any(axis=1)
        if zero.any():
            raise ValueError(
                f"{name}[{rows.start + np.argmax(zero)}] is a row of zeros, which has no "
                "direction; drop such rows"
            )
    return units
