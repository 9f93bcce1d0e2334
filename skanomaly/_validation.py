"""What X may be, and what is said when it is something else."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.validation import validate_data

from ._array_api import (
    BLOCK_BYTES,
    Array,
    floating_types,
    is_array_api_obj,
    namespace,
    row_slices,
    to_numpy,
)
from ._dask import refuse_dask
from ._frames import PIPELINE, refuse_other_than_numbers
from .images import Images, is_image_source, load_npy, read_images

CHANNELS = (1, 3)
ROUNDING = 1e-6  # by which floats may leave [0, 1]
DARKEST_TRAINING = 2 / 255  # maximum of all images, below which nothing can be seen in them
DARKEST_QUERIES = 0.01  # of the training images' maximum; black images apart
ACCEPTED = (
    "pass a table (n_samples, n_features), images (n, height, width), (n, height, width, channels) "
    "or (n, channels, height, width), or a folder or a list of image files"
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
        As ``check_array``; naming the first column of a frame that holds no numbers, and the first
        entry that is NaN or infinite. The latter is not looked for with scikit-learn's
        ``assume_finite``.
    """
    refuse_dask(estimator, X, reset=reset)
    refuse_other_than_numbers(X)
    names = getattr(X, "columns", None)
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
    if not get_config()["assume_finite"]:
        refuse_not_finite(X, columns=names)
    return X


def check_block(
    name: str, rows: Any, *, n_samples: int | None = None, min_samples: int = 1
) -> Array:
    """A block of features (n, c) as a finite float array.

    Raises
    ------
    ValueError
        If it is no such matrix, or has too few rows or not `n_samples`, naming the block.
    """
    rows = rows if is_array_api_obj(rows) else np.asarray(rows)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"block {name!r} has shape {rows.shape}; pass (n_samples, width)")
    if rows.shape[0] < min_samples:
        raise ValueError(
            f"Found {rows.shape[0]} sample(s) in block {name!r}, at least {min_samples} are needed"
        )
    if n_samples not in (None, rows.shape[0]):
        raise ValueError(
            f"block {name!r} has {rows.shape[0]} samples, but others have {n_samples}; pass "
            "blocks of the same samples"
        )
    xp = namespace(rows)
    if not xp.isdtype(rows.dtype, "real floating"):
        rows = xp.astype(rows, xp.float64)
    refuse_not_finite(rows, f"block {name!r}")
    return rows


def refuse_not_finite(X: Array, name: str = "X", columns: Any = None) -> None:
    """Raise ValueError, naming the first entry of a matrix that is NaN or infinite, if any."""
    xp = namespace(X)
    if not xp.isdtype(X.dtype, "real floating") or xp.all(xp.isfinite(X)):
        return
    row, column = _first_not_finite(X)
    where, means = f"{name}[{row}, {column}]", "for example in a Pipeline"
    if columns is not None:
        where, means = f"row {row} of column {columns[column]!r}", f"for example by {PIPELINE}"
    raise ValueError(
        f"{name} contains NaN or infinity: {where} is {X[row, column]}; "
        f"drop such samples or impute them first, {means}"
    )


def check_samples(
    estimator: Any, X: Any, *, reset: bool, image_shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """X as a table (n, d), or as images (n, channels, height, width) of uint8 or float32.

    Images may come from all that ``read_images`` takes. Sets ``n_features_in_`` and
    ``sample_shape_``, the shape of one returned sample, when `reset`; compares with them otherwise.
    Values are read once, in blocks, and not at all with scikit-learn's ``assume_finite``.

    Parameters
    ----------
    estimator : estimator
        The one that is being fitted or used.
    X : array-like, or source of images
        A table or images; tensors are copied to the CPU.
    reset : bool
        True in fit.
    image_shape : (height, width) or (height, width, channels), optional
        Shape of the images whose pixels are the rows of a table.

    Raises
    ------
    ValueError, TypeError
        If X is neither, if images are not uint8 or in [0, 1], or if X is not what was fitted.

    Warns
    -----
    UserWarning
        If images seem to be divided by 255 twice.
    """
    X = _as_array(read_samples(estimator, X, reset=reset))
    shape = tuple(X.shape) if hasattr(X, "shape") else np.asarray(X).shape
    if reset:
        vars(estimator).pop("_brightest", None)
    _refuse_single_image(X, shape, None if reset else estimator.sample_shape_)
    if len(shape) <= 2:
        samples = check_table(estimator, X, reset=reset, dtype="numeric")
        if image_shape is not None:
            samples = _unflatten(samples, image_shape)
    else:
        samples = _check_layout(np.asarray(X), min_samples=1 + reset)
        if reset:
            estimator.n_features_in_ = int(np.prod(samples.shape[1:]))
            vars(estimator).pop("feature_names_in_", None)
    if not reset and samples.shape[1:] != estimator.sample_shape_:
        raise ValueError(
            f"X{f' of shape {shape}' if len(shape) > 2 else ''} has "
            f"{_describe(samples.shape[1:])}, but {type(estimator).__name__} was fitted on "
            f"{_describe(estimator.sample_shape_)}"
        )
    if samples.ndim == 4:
        samples = _check_values(estimator, samples, reset)
    if reset:
        estimator.sample_shape_ = samples.shape[1:]
    return samples


def _first_not_finite(X: Array) -> tuple[int, ...]:
    finite = to_numpy(namespace(X).isfinite(X))
    return tuple(int(i) for i in np.unravel_index(np.argmin(finite), X.shape))


def read_samples(estimator: Any, X: Any, *, reset: bool) -> Any:
    """Files, datasets, and images of several sizes as Images; anything else as it is.

    If the estimator has the parameters `image_size` and `resize`, all images are resized. Gray
    images are repeated as colours where colours were fitted.
    """
    refuse_dask(estimator, X, reset=reset)
    X = load_npy(X)
    size = getattr(estimator, "image_size", None) if hasattr(estimator, "resize") else None
    if size is None and not is_image_source(X):
        return X
    if len(getattr(X, "shape", (0,))) == 2:
        raise ValueError(f"image_size={size!r} is for images, but X is a table; pass images")
    fitted: Any = () if reset else getattr(estimator, "sample_shape_", ())
    channels = 3 if len(fitted) == 3 and fitted[0] == 3 else None
    resize = getattr(estimator, "resize", "pad")
    return read_images(X, image_size=size, resize=resize, channels=channels)


def _as_array(X: Any) -> Any:
    """Tensors, and images in a list or in an array of objects, as an array."""
    if isinstance(X, Images):
        return X.pixels
    if hasattr(X, "detach"):
        return X.detach().cpu().numpy()
    dtype = getattr(X, "dtype", None)
    holds_objects = isinstance(dtype, np.dtype) and dtype.kind == "O" and len(X.shape) == 1
    if hasattr(X, "shape") and not holds_objects:
        return X
    try:
        stacked = np.asarray(list(X) if holds_objects else X)
    except ValueError as error:
        raise ValueError(f"the samples of X differ in shape; {ACCEPTED}") from error
    return stacked if stacked.ndim > 2 else X


def _refuse_single_image(X: Any, shape: tuple[int, ...], fitted: tuple[int, ...] | None) -> None:
    """Refuse what has the shape of one image; `fitted` is None in fit."""
    is_single = False
    if len(shape) == 3:  # with its channels last, or where colours were fitted first
        is_single = shape[2] in (3, 4) and (fitted is None or fitted[-1] not in (3, 4))
        is_single |= fitted is not None and len(fitted) == 3 and shape == (*fitted[1:], fitted[0])
        is_single |= shape == fitted and fitted[0] > 1
    elif len(shape) == 2 and fitted is not None and len(fitted) == 3:
        is_flat = shape[1] == np.prod(fitted)
        is_uint8 = getattr(X, "dtype", None) == np.uint8 and min(shape) > 4
        is_single = shape == fitted[1:] or (is_uint8 and not is_flat)
    if is_single:
        raise ValueError(f"X has the shape {shape} of a single image; pass X[None]")


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
    if len(image_shape) == 3 and not {image_shape[0], image_shape[2]} & set(CHANNELS):
        raise ValueError(f"image_shape={image_shape} has no axis of {CHANNELS} channels")
    return _check_layout(X.reshape(len(X), *image_shape), min_samples=1)


def _check_layout(X: np.ndarray, min_samples: int) -> np.ndarray:
    """Images as (n, channels, height, width), whose values are not looked at."""
    if X.ndim not in (3, 4):
        raise ValueError(f"X has {X.ndim} dimensions, shape {X.shape}; {ACCEPTED}")
    if len(X) < min_samples:
        raise ValueError(f"Found {len(X)} sample(s), a minimum of {min_samples} is required")
    if X.dtype != np.uint8 and X.dtype.kind != "f":
        advice = ", such as X.astype(np.uint8)" if X.dtype == object else ""
        raise TypeError(
            f"images have dtype {X.dtype}; pass uint8, or float between 0 and 1{advice}"
        )
    return X[:, None] if X.ndim == 3 else _channels_first(X)


def _check_values(estimator: Any, X: np.ndarray, reset: bool) -> np.ndarray:
    """Images of uint8, or of finite float32 in [0, 1]; X itself if it is that already."""
    is_float = X.dtype.kind == "f"
    if get_config()["assume_finite"]:
        return X.astype(np.float32, copy=False) if is_float else X
    low, high = _range(X, refuse_identical=reset)
    if is_float and (low < -ROUNDING or high > 1 + ROUNDING):
        outside = (X < -ROUNDING) | (X > 1 + ROUNDING)
        raise ValueError(
            "float images must be between 0 and 1, but image "
            f"{np.argmax(outside.reshape(len(X), -1).any(axis=1))} is not "
            f"(X spans {low:g} to {high:g}); divide by the maximum or pass uint8"
        )
    brightest = high if is_float else high / 255
    if reset:
        estimator._brightest = brightest
    _warn_if_dark(brightest, getattr(estimator, "_brightest", None), is_float, reset)
    if not is_float or (X.dtype == np.float32 and low >= 0 and high <= 1):
        return X
    return X.astype(np.float32).clip(0, 1)


def _range(X: np.ndarray, *, refuse_identical: bool) -> tuple[float, float]:
    """Minimum and maximum of images, which are read once."""
    low, high = np.inf, -np.inf
    all_equal = all_constant = refuse_identical
    first = None
    for rows in row_slices(len(X), X[:1].nbytes, BLOCK_BYTES):
        block = X[rows]
        least, largest = float(block.min()), float(block.max())
        if not np.isfinite(least + largest):
            bad = _first_not_finite(block)
            raise ValueError(
                f"X contains NaN or infinity: image {rows.start + bad[0]} has a pixel {block[bad]}"
            )
        low, high = min(low, least), max(high, largest)
        first = block[:1] if first is None else first
        all_equal = all_equal and bool((block == first).all())
        all_constant = all_constant and bool((block == block[:, :, :1, :1]).all())
    if all_equal:
        raise ValueError(
            f"all {len(X)} images are equal, there is nothing to learn; pass images that differ"
        )
    if all_constant:
        raise ValueError(
            f"each of the {len(X)} images is constant, a single colour; pass images with content"
        )
    return low, high


def _warn_if_dark(
    brightest: float, of_training: float | None, is_float: bool, is_training: bool
) -> None:
    """Warn of images that were divided by 255 twice."""
    if is_training:
        if is_float and 0 < brightest < DARKEST_TRAINING:
            warnings.warn(
                f"the maximum of all images is {brightest:.2g}, almost black; were they divided "
                "by 255 once too often?",
                UserWarning,
                stacklevel=5,
            )
    elif of_training is not None and 0 < brightest < DARKEST_QUERIES * of_training:
        warnings.warn(
            f"the maximum of all images is {brightest:.2g} (where 1 is white), but that of the "
            f"training images was {of_training:.2g}; were they divided by 255 once too often?",
            UserWarning,
            stacklevel=5,
        )


def _channels_first(X: np.ndarray) -> np.ndarray:
    first, last = X.shape[1] in CHANNELS, X.shape[3] in CHANNELS
    if first and last:
        raise ValueError(
            f"shape {X.shape} could have its channels first or last; pass images that are "
            f"larger than {max(CHANNELS)} pixels"
        )
    if not first and not last:
        advice = "pass (n, height, width, channels) or (n, channels, height, width)"
        if 4 in (X.shape[1], X.shape[3]):
            advice = 'if they are RGBA, remove their transparency with PIL\'s .convert("RGB")'
        raise ValueError(f"shape {X.shape} has no axis of {CHANNELS} channels; {advice}")
    return X if first else X.transpose(0, 3, 1, 2)


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
