"""Training rows that are with the workers of Dask, and what is scored by them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from .._array_api import Array, is_dask, namespace, take_along_rows
from .._dask import map_chunks, merge_in_tree, row_chunks, score_chunk, score_partition
from ._block import Block


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
        return merge_in_tree(lambda *some: call(_nearest_of_all)(k, *some), found)

    def compute(self) -> ChunkedRows:
        """The same rows in memory."""
        if not self.is_remote:
            return self
        from dask import compute

        return ChunkedRows(list(compute(*self.parts)), self.sizes)


class FoundRows:
    """Gives what a search has found for some queries, in their order."""

    def __init__(self, distances: Array, indices: Array):
        self._found = distances, indices
        self._start = 0

    def nearest(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Distances and indices of the next queries, by the k of that search."""
        rows = slice(self._start, self._start + queries.shape[0])
        self._start = rows.stop
        distances, indices = self._found
        return distances[rows, :k], indices[rows, :k]


def remote_members(detector: Any) -> list[tuple[Any, Any]]:
    """The scorers whose rows are with the workers, each with the name of its block."""
    members = getattr(detector, "members_", [(None, None, detector)])
    return [(group, scorer) for group, _, scorer in members if _is_remote(scorer)]


def score_by_remote_rows(detector: Any, method: str, X: Any) -> Any:
    """As ``map_chunks``, by searches where the training rows are.

    The vectors of each chunk go to each part of the rows; what is nearest of all goes back.

    Raises
    ------
    TypeError
        If X is another Dask object than an array or a frame.
    ValueError
        If its shape and columns are not what was fitted.
    """
    from dask import delayed

    remote = remote_members(detector)
    light = _with_rows(detector, [None] * len(remote))
    result = map_chunks(light, method, X)  # tells kind and chunks, and checks what is known of X
    if not hasattr(X, "rechunk") and not hasattr(X, "to_dask_array"):
        raise TypeError(
            "X is a dask.bag, and the training rows are with the workers; pass a dask.array or a "
            "dask.dataframe, or score by what compute() returns"
        )
    light = delayed(light, traverse=False)
    scored = []
    for number, chunk in enumerate(row_chunks(X)):
        vectors = delayed(_vectors_of_chunk, nout=len(remote))(light, chunk, number)
        found = [
            scorer._neighbors.nearest_later(own, scorer.n_neighbors)
            for (_, scorer), own in zip(remote, vectors, strict=True)
        ]
        scored.append(delayed(_score_by_found)(light, method, chunk, number, found))
    if not hasattr(result, "chunks"):
        from dask.dataframe import from_delayed

        return from_delayed(scored, meta=result._meta, divisions=result.divisions)
    from dask import array

    sizes = result.chunks[0]
    meta = result._meta
    return array.concatenate(
        [array.from_delayed(s, (n,), meta=meta) for s, n in zip(scored, sizes, strict=True)]
    )


def _is_remote(scorer: Any) -> bool:
    rows = getattr(scorer, "_neighbors", False)
    return rows is None or getattr(rows, "is_remote", False)


def _with_rows(detector: Any, rows: list) -> Any:
    """A copy of the detector with others in place of rows that are with the workers."""
    remaining = iter(rows)

    def replace(scorer: Any) -> Any:
        if not _is_remote(scorer):
            return scorer
        replaced = copy.copy(scorer)
        replaced._neighbors = next(remaining)
        return replaced

    if not hasattr(detector, "members_"):
        return replace(detector)
    light = copy.copy(detector)
    light.members_ = [(group, name, replace(scorer)) for group, name, scorer in detector.members_]
    return light


def _vectors_of_chunk(light: Any, chunk: Any, number: int) -> list:
    members = remote_members(light)
    if len(chunk) == 0:
        return [None] * len(members)
    try:
        X = light._check_input(chunk, "score_samples")
    except ValueError as error:
        raise ValueError(f"chunk {number} of X: {error}") from error
    blocks = [Block(X if group is None else X[group]) for group, _ in members]
    return [
        scorer._vectors(scorer._coordinates(block))
        for (_, scorer), block in zip(members, blocks, strict=True)
    ]


def _score_by_found(light: Any, method: str, chunk: Any, number: int, found: list) -> Any:
    rows = [None if pair is None else FoundRows(*pair) for pair in found]
    detector = _with_rows(light, rows)
    if hasattr(chunk, "iloc"):
        return score_partition(chunk, detector, method, {"number": number})
    return score_chunk(chunk, detector, method, (number,))


def _nearest_in(part: Any, queries: Array | None, k: int, start: int) -> Any:
    if queries is None:  # of a chunk without rows
        return None
    distances, index = part.nearest(queries, k)
    return distances, index + start


def _nearest_of_all(k: int, *found: Any) -> Any:
    if found[0] is None:
        return None
    xp = namespace(found[0][0])
    distances, index = (xp.concat(parts, axis=1) for parts in zip(*found, strict=True))
    order = xp.argsort(distances, axis=1, stable=True)[:, :k]
    return take_along_rows(distances, order), take_along_rows(index, order)
