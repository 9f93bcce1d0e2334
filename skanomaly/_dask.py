"""Dask collections: scored by chunks, sampled, or refused before numpy loads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._array_api import is_dask

ACCEPTED = "pass a dask.array, a dask.dataframe, or a dask.bag of paths or images"
DTYPES = {"predict": np.dtype(np.int64)}  # of what methods return; of the others float64
DASK_SAMPLES = {
    "array": "X[::100]",
    "dataframe": "X.sample(frac=0.01)",
    "bag": "X.random_sample(0.01)",
}
DASK_MAPS = {
    "array": "X.map_blocks",
    "dataframe": "X.map_partitions",
    "bag": "X.map_partitions",
}

MERGED = 8  # results that one task merges


def refuse_dask(estimator: Any, X: Any, *, reset: bool, name: str = "X") -> None:
    """Refuse a Dask collection, all of which numpy would load.

    Raises
    ------
    TypeError
        If X is one, saying what to pass to ``fit``, if `reset`, or to another method.
    """
    if not is_dask(X):
        return
    kind = type(X).__module__.split(".")[1]
    found, detector = f"{name} is a dask.{kind}", type(estimator).__name__
    some = DASK_SAMPLES.get(kind, "X")
    if reset:
        raise TypeError(
            f"{found}; fit {detector} to a sample in memory, such as {some}.compute(). Scoring of "
            "Dask collections is lazy"
        )
    raise TypeError(
        f"{found}, which this method of {detector} would load; pass samples in memory, such as "
        f"{some}.compute(), or call the method on each chunk by {DASK_MAPS.get(kind, 'Dask')}"
    )


class InMemoryTransformerMixin(TransformerMixin):
    """A transformer whose ``transform`` refuses Dask collections though ``fit`` takes them."""

    def fit_transform(self, X, y=None, **fit_params):
        """Fit to the training samples, and transform them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples in memory.
        y : ignored
        **fit_params : dict
            Parameters of ``fit``.

        Returns
        -------
        X_new : array of shape (n_samples, n_features_out)

        Raises
        ------
        TypeError
            If X is a Dask collection. Nothing is fitted then.
        """
        refuse_dask(self, X, reset=False)
        return super().fit_transform(X, y, **fit_params)


def row_chunks(X: Any) -> list:
    """Delayed chunks of whole samples, of a Dask array or frame."""
    if hasattr(X, "to_dask_array"):
        return X.to_delayed()
    return X.rechunk(dict.fromkeys(range(1, X.ndim), -1)).to_delayed().ravel().tolist()


def draw_samples(X: Any, n_samples: int, seed: int) -> Any:
    """Random samples of a Dask array or frame in their order, in memory; all, if there are fewer.

    In one pass: each sample gets a random number, and the samples with the smallest are kept.
    """
    from dask import delayed

    drawn = [
        delayed(_draw)(n_samples, delayed(_with_keys)(chunk, [seed, number]))
        for number, chunk in enumerate(row_chunks(X))
    ]
    return merge_in_tree(lambda *some: delayed(_draw)(n_samples, *some), drawn).compute()[0]


def _with_keys(chunk: Any, seed: list[int]) -> tuple[Any, np.ndarray]:
    return chunk, np.random.default_rng(seed).random(len(chunk))


def _draw(n_samples: int, *some: tuple[Any, np.ndarray]) -> tuple[Any, np.ndarray]:
    """The samples with the least keys, in their order."""
    chunks, keys = zip(*some, strict=True)
    merged = np.concatenate(keys)
    least = np.sort(np.argsort(merged, kind="stable")[:n_samples])
    if hasattr(chunks[0], "iloc"):
        from pandas import concat

        return concat(chunks).iloc[least], merged[least]
    return np.concatenate(chunks)[least], merged[least]


def merge_in_tree(merge: Callable, parts: list) -> Any:
    """Of delayed parts, some at a time; None of none."""
    while len(parts) > 1:
        parts = [merge(*parts[i : i + MERGED]) for i in range(0, len(parts), MERGED)]
    return parts[0] if parts else None


def map_chunks(detector: Any, method: str, X: Any) -> Any:
    """What the method returns for each chunk, as an array, a series or a bag.

    The detector is one key of the graph, on which all tasks depend. So it is sent to a worker once,
    and again to one that takes the place of a worker that died.

    Raises
    ------
    TypeError
        If X is another Dask object.
    ValueError
        If its shape and columns, as far as they are known, are not what was fitted.
    """
    from dask import delayed

    check_is_fitted(detector)
    model = delayed(detector, traverse=False)
    dtype = DTYPES.get(method, np.dtype(np.float64))
    kind = type(X).__module__.split(".")[1]
    if kind == "array":
        if not any(map(math.isnan, X.shape[1:])):
            detector._check_input(np.zeros((1, *X.shape[1:]), X.dtype), method)
        X = X.rechunk(dict.fromkeys(range(1, X.ndim), -1))  # a chunk has all of its samples
        return X.map_blocks(
            score_chunk, model, method, drop_axis=range(1, X.ndim), meta=np.empty(0, dtype)
        )
    if kind == "dataframe" and X.ndim == 2:
        from pandas import DataFrame

        detector._check_input(DataFrame(np.zeros((1, len(X.columns))), columns=X.columns), method)
        return X.map_partitions(score_partition, model, method, meta=(method, dtype))
    if kind == "bag" and hasattr(X, "map_partitions"):
        return X.map_partitions(_of_bag, model, method)
    raise TypeError(f"X is a {type(X).__module__}.{type(X).__name__}; {ACCEPTED}")


def score_chunk(chunk: Any, detector: Any, method: str, block_id: tuple[int, ...] = (0,)) -> Any:
    """What the method returns for a chunk of an array; errors name it."""
    return _values(detector, method, chunk, f"chunk {block_id[0]}")


def score_partition(
    part: Any, detector: Any, method: str, partition_info: dict | None = None
) -> Any:
    """What the method returns for a partition of a frame, with its index."""
    from pandas import Series

    number = (partition_info or {}).get("number", 0)
    values = _values(detector, method, part, f"partition {number}")
    return Series(values, index=part.index, name=method)


def _of_bag(samples: Iterable, detector: Any, method: str) -> list:
    samples = list(samples)
    return detector._result(samples, method).tolist() if samples else []


def _values(detector: Any, method: str, X: Any, where: str) -> Any:
    if len(X) == 0:
        return np.empty(0, DTYPES.get(method, np.float64))
    try:
        return detector._result(X, method)  # without the warnings of the public method
    except ValueError as error:
        raise ValueError(f"{where} of X: {error}") from error
