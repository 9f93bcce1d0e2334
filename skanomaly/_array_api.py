"""Arrays of any library that follows the array API standard, and what the standard lacks.

The scorers compute in the namespace and on the device of their input: numpy arrays unless
scikit-learn's ``array_api_dispatch`` is on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from array_api_compat import array_namespace as namespace
from array_api_compat import device, is_array_api_obj, is_numpy_array, is_torch_array
from sklearn import get_config

Array = Any  # of whichever library

__all__ = [
    "Array",
    "as_float64",
    "device",
    "floating_types",
    "is_numpy_array",
    "is_same_kind",
    "like",
    "namespace",
    "numpy_state",
    "product_eps",
    "row_slices",
    "spread",
    "to_numpy",
    "vector_norm",
]


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


def product_eps(X: Array, dtype: Any) -> float:
    """Relative rounding error of one step of a matrix product of arrays like X in `dtype`."""
    xp = namespace(X)
    if is_torch_array(X) and X.device.type == "cuda" and dtype == xp.float32:
        # the user may have allowed products of fewer digits
        return {"highest": 2**-23, "high": 2**-10}.get(xp.get_float32_matmul_precision(), 2**-7)
    return float(xp.finfo(dtype).eps)


def vector_norm(X: Array) -> Array:
    """Euclidean norms along the last axis, which is kept with length 1."""
    xp = namespace(X)
    return xp.sqrt(xp.sum(X * X, axis=-1, keepdims=True))


def spread(values: Array, mask: Array, fill: Array) -> Array:
    """`fill` with `values`, in their order, put where the mask is true."""
    xp = namespace(values)
    if values.shape[0] == 0:
        return fill
    position = xp.cumulative_sum(xp.astype(mask, xp.int64)) - 1
    found = xp.take(values, xp.clip(position, min=0), axis=0)
    mask = xp.reshape(mask, (-1,) + (1,) * (values.ndim - 1))
    return xp.where(mask, found, fill)


def row_slices(n_rows: int, row_bytes: int, block_bytes: int) -> Iterator[slice]:
    """Consecutive slices of at most `block_bytes`, of one row at least."""
    step = max(1, block_bytes // max(1, row_bytes))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
