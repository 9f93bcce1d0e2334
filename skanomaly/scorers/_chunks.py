"""Scorers that are fitted to Dask arrays: each chunk of rows answers for its part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from .._array_api import Array, as_float64, is_dask, namespace, sample_rows, take_along_rows
from .._moments import ColumnMoments, Moments
from .._training_rows import SCALE_SAMPLES, TrainingRows, project
from .._validation import check_table
from .._whitening import Whitening
from ._block import Block

MERGED = 8  # results that one task merges


class ChunkedBlock:
    """Of rows in chunks what a score's space is made of; the methods are those of `Block`."""

    def __init__(self, moments: Moments | ColumnMoments):
        self._moments: Any = moments
        self.n_rows = moments.n_rows

    def column_means(self) -> Array:
        return self._moments.column_means

    def total_variance(self) -> float:
        return self._moments.total_variance

    def columns(self) -> ColumnMoments:
        return self._moments

    def fit_whitening(self, **options) -> Whitening:
        return Whitening(**options).fit_moments(self._moments)


class ChunkedRows:
    """The search of `NearestRows` over parts, which are in memory or references to workers.

    Parameters
    ----------
    parts : list of NearestRows, TreeRows or dask.delayed.Delayed
        An index of the rows of each chunk.
    sizes : list of int
        Their numbers of rows.
    """

    def __init__(self, parts: list, sizes: list[int]):
        self.parts = parts
        self.sizes = sizes

    def __len__(self) -> int:
        return sum(self.sizes)

    def __getstate__(self):
        if self.is_remote:
            raise ValueError(
                "the training rows are with the workers of Dask; save what compute() returns"
            )
        return vars(self)

    @property
    def is_remote(self) -> bool:
        """Whether the parts are references."""
        return is_dask(self.parts[0])

    def nearest(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Distances (m, k), ascending, to the k stored rows nearest to each query, and indices."""
        if not self.is_remote:
            return self._search(queries, k, lambda function: function)
        from dask import delayed

        return self._search(delayed(queries, traverse=False), k, delayed).compute()

    def nearest_later(self, queries: Any, k: int) -> Any:
        """As `nearest`, of delayed queries, and delayed."""
        from dask import delayed

        return self._search(queries, k, delayed)

    def _search(self, queries: Any, k: int, call: Callable) -> Any:
        starts = np.cumsum([0, *self.sizes[:-1]]).tolist()
        found = [
            call(_nearest_in)(part, queries, min(k, size), start)
            for part, size, start in zip(self.parts, self.sizes, starts, strict=True)
        ]
        return _merge_in_tree(lambda *some: call(_nearest_of_all)(k, *some), found)

    def compute(self) -> ChunkedRows:
        """The same rows in memory."""
        if not self.is_remote:
            return self
        from dask import compute

        return ChunkedRows(list(compute(*self.parts)), self.sizes)


def fit_chunks(scorer: Any, X: Any) -> Any:
    """Fit a scorer to a Dask array or frame; the passes over its chunks are two.

    The first one finds the moments, in a tree; the second one indexes the rows of each chunk, and
    scores them leave-one-out against all chunks.
    """
    from dask import compute, delayed, persist

    _refuse_parameters(scorer)
    chunks = _checked_chunks(scorer, X)
    kind = Moments if getattr(scorer, "whiten", False) else ColumnMoments
    moments, sizes, samples = compute(
        _merge_in_tree(delayed(_merge_moments), [delayed(_moments_of)(c, kind) for c in chunks]),
        [delayed(len)(chunk) for chunk in chunks],
        [delayed(sample_rows)(chunk, -(-SCALE_SAMPLES // len(chunks))) for chunk in chunks],
    )
    _refuse_few_rows(scorer, sum(sizes), kind)
    chunks = [chunk for chunk, size in zip(chunks, sizes, strict=True) if size]
    sizes = [size for size in sizes if size]
    scorer._fit_space(ChunkedBlock(moments))
    known = TrainingRows()
    scale = known.look_at(np.concatenate(samples))
    space = copy.copy(scorer)
    for name in ("_neighbors", "_known", "training_scores_"):  # of an earlier fit
        vars(space).pop(name, None)
    light = delayed(space, traverse=False)
    if hasattr(scorer, "neighbors_in_block"):
        index = persist(*[delayed(_index_of)(light, chunk) for chunk in chunks])
        scorer._neighbors = ChunkedRows(list(index), sizes)
        scores = _neighbor_scores(light, scorer.n_neighbors, chunks, index, sizes)
    else:
        scores = [delayed(_center_scores)(light, chunk, sum(sizes)) for chunk in chunks]
    anomaly, projections = compute(scores, [delayed(project)(c, *scale, 0) for c in chunks])
    scorer._kept = None
    known.add_projections(np.concatenate(projections))
    scorer._finish_fit(-np.concatenate(anomaly), known.close())
    return scorer


def _refuse_parameters(scorer: Any) -> None:
    if scorer.trim:
        raise ValueError(f"trim={scorer.trim} of a Dask array; pass trim=0, or fit on X.compute()")
    if getattr(scorer, "index", "exact") != "exact":
        raise ValueError(f"index={scorer.index!r} of a Dask array; pass index='exact'")


def _refuse_few_rows(scorer: Any, n_rows: int, kind: type) -> None:
    needed = max(2, getattr(scorer, "n_neighbors", 1) + 1)
    if kind is Moments:
        needed = max(needed, scorer.n_features_in_)
    if n_rows < needed:
        raise ValueError(
            f"Found {n_rows} samples of {scorer.n_features_in_} features in a Dask array, at least "
            f"{needed} are needed; fit on X.compute()"
        )


def _checked_chunks(scorer: Any, X: Any) -> list:
    """Delayed chunks of X as finite matrices of float64; width and names are recorded."""
    from dask import delayed

    if not hasattr(X, "rechunk") and not hasattr(X, "to_dask_array"):
        kind = ".".join(type(X).__module__.split(".")[:2])
        raise TypeError(f"X is a {kind}; pass a dask.array or a dask.dataframe, or X.compute()")
    if hasattr(X, "to_dask_array"):
        check_table(scorer, X._meta_nonempty, reset=True)
        parts = X.to_delayed()
    else:
        check_table(scorer, np.zeros((2, *X.shape[1:]), X.dtype), reset=True)
        parts = X.rechunk({1: -1}).to_delayed().ravel().tolist()
    shell = copy.copy(scorer)
    vars(shell).clear()
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(scorer, name):
            setattr(shell, name, getattr(scorer, name))
    shell = delayed(shell, traverse=False)
    return [delayed(_checked)(shell, part, number) for number, part in enumerate(parts)]


def _checked(shell: Any, part: Any, number: int) -> Array:
    if len(part) == 0:
        return np.empty((0, shell.n_features_in_))
    try:
        return as_float64(check_table(shell, part, reset=False))
    except ValueError as error:
        raise ValueError(f"chunk {number} of X: {error}") from error


def _merge_in_tree(merge: Callable, parts: list) -> Any:
    while len(parts) > 1:
        parts = [merge(*parts[i : i + MERGED]) for i in range(0, len(parts), MERGED)]
    return parts[0] if parts else None


def _moments_of(chunk: Array, kind: Any) -> Any:
    return kind.of(chunk) if len(chunk) else None


def _merge_moments(*parts: Any) -> Any:
    merged = None
    for part in parts:
        if part is not None:
            merged = part if merged is None else merged.merge(part)
    return merged


def _center_scores(scorer: Any, chunk: Array, n_rows: int) -> Array:
    return scorer._leave_one_out(Block(chunk), n_rows)


def _index_of(scorer: Any, chunk: Array) -> Any:
    return scorer._make_index(Block(chunk))


def _neighbor_scores(light: Any, k: int, chunks: list, index: Any, sizes: list[int]) -> list:
    """Delayed leave-one-out anomaly scores of each chunk, by the nearest rows of all."""
    from dask import delayed

    scores = []
    for i, chunk in enumerate(chunks):
        found = [
            delayed(_distances_in_part)(
                light, chunk, None if i == j else other, part, min(k, size - (i == j)), sum(sizes)
            )
            for j, (other, part, size) in enumerate(zip(chunks, index, sizes, strict=True))
        ]
        merge = delayed(_smallest)
        nearest = _merge_in_tree(lambda *some, merge=merge: merge(k, *some), found)
        scores.append(delayed(_aggregated)(light, nearest))
    return scores


def _distances_in_part(
    scorer: Any, chunk: Array, other: Array | None, index: Any, k: int, n_rows: int
) -> Array:
    if k == 0:  # a row that is alone in its chunk
        return chunk[:, :0]
    part = None if other is None else Block(other)
    return scorer._distances_in_part(Block(chunk), part, index, k, n_rows)


def _aggregated(scorer: Any, distances: Array) -> Array:
    return scorer._aggregate(distances)


def _smallest(k: int, *distances: Array) -> Array:
    xp = namespace(distances[0])
    return xp.sort(xp.concat(distances, axis=1), axis=1)[:, :k]


def _nearest_in(part: Any, queries: Array, k: int, start: int) -> tuple[Array, Array]:
    distances, index = part.nearest(queries, k)
    return distances, index + start


def _nearest_of_all(k: int, *found: tuple[Array, Array]) -> tuple[Array, Array]:
    xp = namespace(found[0][0])
    distances, index = (xp.concat(parts, axis=1) for parts in zip(*found, strict=True))
    order = xp.argsort(distances, axis=1, stable=True)[:, :k]
    return take_along_rows(distances, order), take_along_rows(index, order)
