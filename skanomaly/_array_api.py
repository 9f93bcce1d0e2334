"""Arrays of any library that follows the array API standard, and what the standard lacks.

The scorers compute in the namespace and on the device of their input: numpy arrays unless
scikit-learn's ``array_api_dispatch`` is on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat.numpy
import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_numpy_array,
    is_torch_array,
)
from sklearn import get_config

Array = Any  # of whichever library

BLOCK_BYTES = 32 * 2**20  # of float64 rows worked on at once

__all__ = [
    "Array",
    "as_float64",
    "by_blocks",
    "column_means",
    "device",
    "floating_types",
    "is_array_api_obj",
    "is_dask",
    "is_numpy_array",
    "is_same_kind",
    "like",
    "namespace",
    "numpy_state",
    "row_slices",
    "sample_rows",
    "take_along_rows",
    "take_rows",
    "to_numpy",
    "top_columns",
    "vector_norm",
]


def namespace(X: Array) -> Any:
    """The array API of the library of X."""
    if type(X) is np.ndarray:  # found at once, where many small arrays are scored
        return array_api_compat.numpy
    return array_namespace(X)


def is_dask(X: Any) -> bool:
    """Whether X is a Dask collection; imports nothing."""
    return type(X).__module__.partition(".")[0] == "dask"


def floating_types(X: Any) -> list:
    """float64 and float32 as the library of X calls them."""
    dispatched = get_config()["array_api_dispatch"] and is_array_api_obj(X)
    xp = namespace(X) if dispatched else np
    return [xp.float64, xp.float32]


def is_same_kind(a: Array, b: Array) -> bool:
    """Whether two arrays are of one library and on one device."""
    return namespace(a) is namespace(b) and device(a) == device(b)


def to_numpy(X: Array) -> np.ndarray:
    """X as a numpy array in host memory."""
    if is_numpy_array(X):
        return X
    if is_torch_array(X):
        return X.detach().cpu().numpy()
    return np.from_dlpack(X)


def like(values: Any, reference: Array) -> Array:
    """A numpy array, or numbers, in the library and on the device of `reference`."""
    return namespace(reference).asarray(values, device=device(reference))


def as_float64(X: Array) -> Array:
    """X in double precision; not a copy where it is that already."""
    xp = namespace(X)
    return xp.astype(X, xp.float64, copy=False)


def numpy_state(self: Any) -> dict:
    """State of an object with its arrays in host memory, as pickles keep it."""
    return {k: to_numpy(v) if is_array_api_obj(v) else v for k, v in vars(self).items()}


def vector_norm(X: Array) -> Array:
    """Euclidean norms along the last axis, which is kept with length 1."""
    xp = namespace(X)
    return xp.sqrt(xp.sum(X * X, axis=-1, keepdims=True))


def row_slices(n_rows: int, row_bytes: int, block_bytes: int) -> Iterator[slice]:
    """Consecutive slices of at most `block_bytes`, of one row at least."""
    step = max(1, block_bytes // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def by_blocks(compute: Callable[[Array], Array], X: Array) -> Array:
    """`compute(X)` for a function of rows, some at a time."""
    if 8 * X.shape[0] * X.shape[1] <= BLOCK_BYTES:
        return compute(X)
    xp = namespace(X)
    parts = list(row_slices(X.shape[0], 8 * X.shape[1], BLOCK_BYTES))
    first = compute(X[parts[0], :])
    shape = (X.shape[0], *first.shape[1:])
    result = xp.empty(shape, dtype=first.dtype, device=device(first))
    result[parts[0], ...] = first
    for part in parts[1:]:
        result[part, ...] = compute(X[part, :])
    return result


def column_means(X: Array) -> Array:
    """Mean row in float64, which does not overflow."""
    xp = namespace(X)
    blocks = row_slices(X.shape[0], 8 * X.shape[1], BLOCK_BYTES)
    shrink = 2.0 ** -X.shape[0].bit_length()  # a power of two rounds nothing
    total = sum(xp.sum(as_float64(X[part, :]) * shrink, axis=0) for part in blocks)
    return total / (shrink * X.shape[0])


def take_rows(X: Array, index: np.ndarray) -> Array:
    """The rows of X at increasing positions; X itself if these are all of them."""
    if len(index) == X.shape[0]:
        return X
    if is_numpy_array(X):  # whose take copies all of an array that is not contiguous
        return X[index]
    return namespace(X).take(X, like(index, X), axis=0)


def sample_rows(X: Array, n_rows: int) -> Array:
    """At most so many rows of X, drawn at random but always the same."""
    if X.shape[0] <= n_rows:
        return X
    drawn = np.random.default_rng(0).choice(X.shape[0], n_rows, replace=False)
    return take_rows(X, np.sort(drawn))


def take_along_rows(X: Array, columns: Array) -> Array:
    """Entries (n, k) of X at k columns of its own for each row."""
    xp = namespace(X)  # take_along_axis is not in the standard of 2023
    first = xp.arange(X.shape[0], device=device(X))[:, None] * X.shape[1]
    index = xp.reshape(columns + first, (-1,))
    return xp.reshape(xp.take(xp.reshape(X, (-1,)), index), columns.shape)


def top_columns(X: Array, k: int) -> Array:
    """Columns (n, k) of the k largest entries of each row, in no order."""
    xp = namespace(X)
    if k == 1:
        return xp.argmax(X, axis=1, keepdims=True)
    # the standard can only sort, which takes several times as long
    if is_numpy_array(X):
        return np.argpartition(X, -k, axis=1)[:, -k:]
    if is_torch_array(X):
        return X.topk(k, dim=1, sorted=False).indices
    return xp.argsort(X, axis=1)[:, -k:]
