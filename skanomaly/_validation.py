"""What X may be, and what is said when it is something else."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils.validation import validate_data

from ._array_api import Array, floating_types, is_array_api_obj, namespace, to_numpy

CHANNELS = (1, 3)
BLOCK_IMAGES = 1024  # looked at in one go
ROUNDING = 1e-6  # by which floats may leave [0, 1]
ACCEPTED = (
    "pass a table (n_samples, n_features), or images (n, height, width), "
    "(n, height, width, channels) or (n, channels, height, width)"
)


def check_table(estimator: Any, X: Any, *, reset: bool, dtype: Any = None) -> Array:
    """X as a finite matrix; width and column names are recorded or compared by scikit-learn.

    The matrix is a numpy array, or with scikit-learn's ``array_api_dispatch`` of X's library.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_`` when `reset`.
    X : array-like of shape (n_samples, n_features)
        At least two samples when `reset`, else one.
    reset : bool
        True in fit.
    dtype : dtype, list of dtypes or None
        As in scikit-learn's ``check_array``; None is float64 or float32.

    Raises
    ------
    ValueError
        As ``check_array``, and naming the first entry that is NaN or infinite.
    """
    if hasattr(X, "detach"):
        X = X.detach()
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=floating_types(X) if dtype is None else dtype,
        ensure_all_finite=False,
        ensure_min_samples=1 + reset,
    )
    bad = _first_not_finite(X)
    if bad is not None:
        raise ValueError(
            f"X contains NaN or infinity: X[{bad[0]}, {bad[1]}] is {X[bad]}; "
            "drop such samples or impute them first, for example in a Pipeline"
        )
    return X


def check_block(name: str, rows: Any, *, min_samples: int = 1) -> Array:
    """A block of features (n, c) as a finite float array.

    Raises
    ------
    ValueError
        If it is no such matrix or has too few rows, naming the block.
    """
    rows = rows if is_array_api_obj(rows) else np.asarray(rows)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"block {name!r} has shape {rows.shape}; pass (n_samples, width)")
    if rows.shape[0] < min_samples:
        raise ValueError(
            f"Found {rows.shape[0]} sample(s) in block {name!r}, at least {min_samples} are needed"
        )
    xp = namespace(rows)
    if not xp.isdtype(rows.dtype, "real floating"):
        rows = xp.astype(rows, xp.float64)
    bad = _first_not_finite(rows)
    if bad is not None:
        raise ValueError(f"block {name!r} contains NaN or infinity: row {bad[0]} has {rows[bad]}")
    return rows


def check_samples(
    estimator: Any, X: Any, *, reset: bool, image_shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """X as a table (n, d), or as images (n, channels, height, width) of uint8 or float32.

    Sets ``n_features_in_`` and ``sample_shape_``, the shape of one returned sample, when `reset`;
    compares with them otherwise.

    Parameters
    ----------
    estimator : estimator
        The one that is being fitted or used.
    X : array-like
        A table or images; tensors are copied to the CPU.
    reset : bool
        True in fit.
    image_shape : (height, width) or (height, width, channels), optional
        Shape of the images whose pixels are the rows of a table.

    Raises
    ------
    ValueError, TypeError
        If X is neither, if images are not uint8 or in [0, 1], or if X is not what was fitted.
    """
    if hasattr(X, "detach"):
        X = X.detach().cpu().numpy()
    if _count_dimensions(X) <= 2:
        samples = check_table(estimator, X, reset=reset, dtype="numeric")
        if image_shape is not None:
            samples = _unflatten(samples, image_shape)
    else:
        samples = _check_images(np.asarray(X), min_samples=1 + reset)
        if reset:
            estimator.n_features_in_ = int(np.prod(samples.shape[1:]))
            vars(estimator).pop("feature_names_in_", None)
    if reset:
        _refuse_identical_images(samples)
        estimator.sample_shape_ = samples.shape[1:]
    elif samples.shape[1:] != estimator.sample_shape_:
        raise ValueError(
            f"X has {_describe(samples.shape[1:])}, but {type(estimator).__name__} was fitted "
            f"on {_describe(estimator.sample_shape_)}"
        )
    return samples


def _first_not_finite(X: Array) -> tuple[int, ...] | None:
    xp = namespace(X)
    if not xp.isdtype(X.dtype, "real floating"):
        return None
    if X.ndim == 4 and _in_all_blocks(np.isfinite, X):
        return None
    finite = xp.isfinite(X)
    if xp.all(finite):
        return None
    return tuple(int(i) for i in np.unravel_index(np.argmin(to_numpy(finite)), X.shape))


def _count_dimensions(X: Any) -> int:
    if hasattr(X, "shape"):
        return len(X.shape)
    try:
        return np.asarray(X).ndim
    except ValueError as error:
        raise ValueError(f"the samples of X differ in shape; {ACCEPTED}") from error


def _describe(sample_shape: tuple[int, ...]) -> str:
    if len(sample_shape) == 1:
        return f"{sample_shape[0]} features"
    channels, height, width = sample_shape
    return f"images of {height} x {width} pixels with {channels} channel(s)"


def _unflatten(X: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    if len(image_shape) not in (2, 3) or not all(
        isinstance(side, Integral) and side > 0 for side in image_shape
    ):
        raise ValueError(
            f"image_shape={image_shape}; pass (height, width) or (height, width, channels)"
        )
    if np.prod(image_shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={image_shape} has {np.prod(image_shape)} values, "
            f"but X has {X.shape[1]} features"
        )
    return _check_images(X.reshape(len(X), *image_shape), min_samples=1)


def _check_images(X: np.ndarray, min_samples: int) -> np.ndarray:
    """Images as (n, channels, height, width)."""
    if X.ndim not in (3, 4):
        raise ValueError(f"X has {X.ndim} dimensions, shape {X.shape}; {ACCEPTED}")
    if len(X) < min_samples:
        raise ValueError(f"Found {len(X)} sample(s), a minimum of {min_samples} is required")
    if X.dtype != np.uint8 and X.dtype.kind != "f":
        raise TypeError(f"images have dtype {X.dtype}; pass uint8, or float between 0 and 1")
    X = X[:, None] if X.ndim == 3 else _channels_first(X)
    bad = _first_not_finite(X)
    if bad is not None:
        raise ValueError(f"X contains NaN or infinity: image {bad[0]} has a pixel {X[bad]}")
    return _unit_interval(X) if X.dtype.kind == "f" else X


def _unit_interval(X: np.ndarray) -> np.ndarray:
    """Float images as float32 in [0, 1]; X itself if it is that already."""
    low, high = X.min(), X.max()
    if low < -ROUNDING or high > 1 + ROUNDING:
        outside = (X < -ROUNDING) | (X > 1 + ROUNDING)
        raise ValueError(
            "float images must be between 0 and 1, but image "
            f"{np.argmax(outside.reshape(len(X), -1).any(axis=1))} is not "
            f"(X spans {low:g} to {high:g}); divide by the maximum or pass uint8"
        )
    if X.dtype == np.float32 and low >= 0 and high <= 1:
        return X
    return X.astype(np.float32).clip(0, 1)


def _channels_first(X: np.ndarray) -> np.ndarray:
    first, last = X.shape[1] in CHANNELS, X.shape[3] in CHANNELS
    if first and last:
        raise ValueError(
            f"shape {X.shape} could have its channels first or last; pass images that are "
            f"larger than {max(CHANNELS)} pixels"
        )
    if not first and not last:
        raise ValueError(
            f"shape {X.shape} has no axis of {CHANNELS} channels; "
            "pass (n, height, width, channels) or (n, channels, height, width)"
        )
    return X if first else X.transpose(0, 3, 1, 2)


def _refuse_identical_images(samples: np.ndarray) -> None:
    if samples.ndim == 4 and _in_all_blocks(lambda block: block == samples[:1], samples):
        raise ValueError(
            f"all {len(samples)} images are equal, there is nothing to learn; "
            "pass images that differ"
        )
    if samples.ndim == 4 and _in_all_blocks(lambda block: block == block[:, :, :1, :1], samples):
        raise ValueError(
            f"each of the {len(samples)} images is constant, a single colour; "
            "pass images with content"
        )


def _in_all_blocks(is_true: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> bool:
    """Whether it is true everywhere, in the memory that a block of samples takes."""
    return all(is_true(samples[rows]).all() for rows in gen_batches(len(samples), BLOCK_IMAGES))


def refuse_overflow(X: np.ndarray) -> None:
    """Refuse tables whose columns cannot be standardised."""
    limits = np.finfo(np.float64)
    largest = np.abs(X.astype(np.float64, copy=False)).max(axis=0)
    too_large = largest > (limits.max / len(X)) ** 0.5 / 2
    too_small = (largest > 0) & (largest < limits.tiny**0.5)
    for column in np.flatnonzero(too_large | too_small)[:1]:
        problem = "overflow; divide" if too_large[column] else "underflow; multiply"
        raise ValueError(
            f"column {column} of X has values up to {largest[column]:.3g}, whose squares {problem} "
            "the column by a power of ten"
        )
