"""Scorers that are fitted to Dask arrays: each chunk of rows answers for its part."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._array_api import Array, as_float64, namespace, sample_rows
from .._dask import merge_in_tree, row_chunks
from .._moments import ColumnMoments, Moments
from .._training_rows import SCALE_SAMPLES, TrainingRows, project
from .._validation import check_table
from .._whitening import Whitening
from ._block import Block
from ._chunked_rows import ChunkedRows


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


class ChunkedGroup(NamedTuple):
    """Some columns of all chunks, and what scores them."""

    label: str  # in front of messages
    columns: Any  # a slice or positions
    scorers_of: Callable[[int], list]  # new scorers for that many rows


def fit_chunks(scorer: Any, X: Any) -> Any:
    """Fit a scorer to a Dask array or frame."""
    refuse_trim(scorer)
    group = ChunkedGroup("", slice(None), lambda n_rows: [scorer])
    anomaly, _, known = fit_groups(checked_chunks(scorer, X), [group])
    scorer._finish_fit(-anomaly[:, 0], known)
    return scorer


def fit_groups(chunks: list, groups: list[ChunkedGroup]) -> tuple[Array, list, TrainingRows]:
    """Fit scorers to groups of columns; the passes over the chunks are two.

    The first one finds the moments, in a tree; the second one indexes the rows of each chunk, and
    scores them leave-one-out against all chunks.

    Returns
    -------
    anomaly : float64 array (n_rows, n_scorers)
        Leave-one-out anomaly scores of the rows.
    scorers : list of list of BlockScorer
        The fitted scorers of each group.
    known : TrainingRows
    """
    from dask import compute, delayed

    parts = [_columns_of(chunks, group.columns) for group in groups]
    sizes, samples, moments = compute(
        [delayed(len)(chunk) for chunk in chunks],
        [[delayed(sample_rows)(p, -(-SCALE_SAMPLES // len(chunks))) for p in own] for own in parts],
        [_delayed_moments(own, group) for own, group in zip(parts, groups, strict=True)],
    )
    parts = [[p for p, size in zip(own, sizes, strict=True) if size] for own in parts]
    sizes = [size for size in sizes if size]
    fitted = [group.scorers_of(sum(sizes)) for group in groups]
    for group, scorers, of_kind, some in zip(groups, fitted, moments, samples, strict=True):
        for scorer in scorers:
            scorer.n_features_in_ = some[0].shape[1]
            try:
                _fit_space(scorer, of_kind, sum(sizes))
            except ValueError as error:
                raise ValueError(f"{group.label}{error}") from error
    pairs = [
        (scorer, own) for scorers, own in zip(fitted, parts, strict=True) for scorer in scorers
    ]
    known, projections = TrainingRows(), []
    for number, (own, some) in enumerate(zip(parts, samples, strict=True)):
        scale = known.look_at(np.concatenate(some))
        projections.append([delayed(project)(p, *scale, number) for p in own])
    scores = _delayed_scores(pairs, sizes)
    scores, projections = compute(scores, projections)
    for of_group in projections:
        known.add_projections(np.concatenate(of_group))
    anomaly = np.stack([np.concatenate(of_scorer) for of_scorer in scores], axis=1)
    for column, (scorer, _) in enumerate(pairs):
        scorer._kept = None
        scorer._set_threshold(-anomaly[:, column])
    return anomaly, fitted, known.close()


def _delayed_scores(pairs: list[tuple[Any, list]], sizes: list[int]) -> list[list]:
    """Leave-one-out anomaly scores of each chunk, by each scorer, which gets its rows.

    Scorers come with the chunks of their columns.
    """
    from dask import delayed, persist

    lights = [delayed(copy.copy(scorer), traverse=False) for scorer, _ in pairs]
    indices = persist(
        *[
            [delayed(_index_of)(light, p) for p in own] if _has_rows(scorer) else []
            for (scorer, own), light in zip(pairs, lights, strict=True)
        ]
    )
    scores = []
    for (scorer, own), light, index in zip(pairs, lights, indices, strict=True):
        if index:
            scorer._neighbors = ChunkedRows(index, sizes)
            scores.append(_neighbor_scores(light, scorer.n_neighbors, own, index, sizes))
        else:
            scores.append([delayed(_center_scores)(light, p, sum(sizes)) for p in own])
    return scores


def _columns_of(chunks: list, columns: Any) -> list:
    from dask import delayed

    if isinstance(columns, slice) and columns == slice(None):
        return chunks
    return [delayed(_take_columns)(chunk, columns) for chunk in chunks]


def _take_columns(chunk: Array, columns: Any) -> Array:
    return chunk[:, columns]


def _has_rows(scorer: Any) -> bool:
    return hasattr(scorer, "explain_block")


def _kind_of_moments(scorer: Any) -> type:
    return Moments if getattr(scorer, "whiten", False) else ColumnMoments


def _delayed_moments(parts: list, group: ChunkedGroup) -> dict:
    from dask import delayed

    kinds = {_kind_of_moments(scorer) for scorer in group.scorers_of(1)}  # for any number of rows
    return {
        kind: merge_in_tree(delayed(_merge_moments), [delayed(_moments_of)(p, kind) for p in parts])
        for kind in kinds
    }


def _fit_space(scorer: Any, moments: dict, n_rows: int) -> None:
    scorer._validate_params()
    for name in ("_neighbors", "_known", "training_scores_"):  # of an earlier fit
        vars(scorer).pop(name, None)
    kind = _kind_of_moments(scorer)
    _refuse_few_rows(scorer, n_rows, kind)
    scorer._fit_space(ChunkedBlock(moments[kind]))


def refuse_trim(scorer: Any) -> None:
    """Refuse repeated fits, which need all rows in one place."""
    if scorer.trim:
        raise ValueError(f"trim={scorer.trim} of a Dask array; pass trim=0, or fit on X.compute()")


def _refuse_few_rows(scorer: Any, n_rows: int, kind: type) -> None:
    needed = max(2, getattr(scorer, "n_neighbors", 1) + 1)
    if kind is Moments:
        needed = max(needed, scorer.n_features_in_)
    if n_rows < needed:
        raise ValueError(
            f"Found {n_rows} samples of {scorer.n_features_in_} features in a Dask array, at least "
            f"{needed} are needed; fit on X.compute()"
        )


def checked_chunks(scorer: Any, X: Any) -> list:
    """Delayed chunks of X as finite matrices of float64; width and names are recorded."""
    from dask import delayed

    if not hasattr(X, "rechunk") and not hasattr(X, "to_dask_array"):
        kind = ".".join(type(X).__module__.split(".")[:2])
        raise TypeError(f"X is a {kind}; pass a dask.array or a dask.dataframe, or X.compute()")
    if hasattr(X, "to_dask_array"):
        check_table(scorer, X._meta_nonempty, reset=True)
    else:
        check_table(scorer, np.zeros((2, *X.shape[1:]), X.dtype), reset=True)
    shell = copy.copy(scorer)
    vars(shell).clear()
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(scorer, name):
            setattr(shell, name, getattr(scorer, name))
    shell = delayed(shell, traverse=False)
    return [delayed(_checked)(shell, part, number) for number, part in enumerate(row_chunks(X))]


def _checked(shell: Any, part: Any, number: int) -> Array:
    if len(part) == 0:
        return np.empty((0, shell.n_features_in_))
    try:
        return as_float64(check_table(shell, part, reset=False))
    except ValueError as error:
        raise ValueError(f"chunk {number} of X: {error}") from error


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
        nearest = merge_in_tree(lambda *some, merge=merge: merge(k, *some), found)
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
