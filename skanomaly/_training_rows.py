"""The one rule that tells whether a sample is a training sample, which is scored leave-one-out."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ._array_api import (
    BLOCK_BYTES,
    Array,
    as_float64,
    like,
    namespace,
    row_slices,
    sample_rows,
    to_numpy,
)

N_PROJECTIONS = 8
TOLERANCE = 1e-4  # deviations of a column, root mean square over columns: what rounding may do
ROUNDING = 1e-12  # of a column's values, relative to them
SCALE_SAMPLES = 2_000  # looked at for the scale of the columns
FAR = 1e30  # projections beyond it are all alike


class TrainingRows:
    """Recognises the samples that a detector was fitted on.

    A sample is a training sample if it equals one but for rounding: if they differ by less than
    1e-4 median absolute deviations, root mean square over the columns. So a step before, such as a
    PCA, may round a single row in another way than a batch, and images of uint8 equal the same
    images divided by 255.
    Compared are 8 random projections of the standardised samples, which takes little memory.

    Samples come as one array with ``TrainingRows.of(X)``, or block by block, followed by
    ``close``. They are rows of a table, or images of uint8 or of floats in [0, 1].
    """

    def __init__(self):
        self._scales: list[tuple[np.ndarray, np.ndarray]] = []  # of the columns of each block
        self._projections: Any = 0.0

    @classmethod
    def of(cls, X: Array) -> TrainingRows:
        """Of training samples X (n, ...)."""
        known = cls()
        known.add(X)
        return known.close()

    def add(self, X: Array) -> None:
        """Add a block of the training samples."""
        n_looked_at = max(2, min(SCALE_SAMPLES, BLOCK_BYTES // (8 * math.prod(X.shape[1:]))))
        scale = self.look_at(sample_rows(X, n_looked_at))
        self.add_projections(project(X, *scale, len(self._scales) - 1))

    def look_at(self, X: Array) -> tuple[np.ndarray, np.ndarray]:
        """Center and scale of the columns of a block, from some of its samples."""
        some = np.concatenate([to_numpy(rows) for rows in _rows(X)])
        center = np.sort(some, axis=0)[len(some) // 2]
        with np.errstate(over="ignore"):
            deviations = np.abs(some - center)
        # medians, since a gross error would make all others look equal; of those that differ by
        # more than rounding, since most entries of a column may be the same
        deviations[deviations <= ROUNDING * np.abs(center)] = np.inf
        n_varying = np.isfinite(deviations).sum(axis=0)
        median = np.take_along_axis(np.sort(deviations, axis=0), n_varying[None] // 2, axis=0)[0]
        constant = np.where(center != 0, np.abs(center), 1.0)
        scale = np.where(n_varying > 0, median, constant)
        self._scales.append((center, scale))
        return center, scale

    def add_projections(self, projections: np.ndarray) -> None:
        """Add what `project` made of a block's samples by its center and scale."""
        self._projections = self._projections + projections

    def add_blocks(self, blocks: Iterable[tuple[str, Array]]) -> Iterator[tuple[str, Array]]:
        """Add named blocks, and pass them on as they come."""
        for name, rows in blocks:
            self.add(rows)
            yield name, rows

    def close(self) -> TrainingRows:
        """After the last block."""
        projections = self._normalised(self._projections)
        del self._projections
        # of samples that are equal the first stands for all
        _, self._first, place = np.unique(
            projections.round(9), axis=0, return_index=True, return_inverse=True
        )
        self._place = self._first[place.ravel()]
        self._tree = _plant(projections[self._first])
        return self

    def __getstate__(self):
        return {
            "scales": self._scales,
            "first": self._first,
            "projections": np.asarray(self._tree.data, np.float32),
        }

    def __setstate__(self, state):
        self._scales, self._first = state["scales"], state["first"]
        self._tree = _plant(state["projections"])

    @property
    def n_distinct(self) -> int:
        """Number of samples that differ."""
        return len(self._first)

    def find(self, X: Array | dict[str, Array]) -> np.ndarray:
        """Position of the training sample that each sample is, or -1.

        Samples are an array, or a dict of the blocks that were added. Of training samples that are
        equal it is the same one for all.
        """
        blocks = X.values() if isinstance(X, dict) else [X]
        projections: Any = sum(
            project(block, *self._scales[i], i) for i, block in enumerate(blocks)
        )
        radius = 3 * TOLERANCE  # about the length of 8 normal numbers
        _, nearest = self._tree.query(self._normalised(projections), distance_upper_bound=radius)
        return np.append(self._first, -1)[nearest]  # what is not found has the index n

    def share(self, scores: Array) -> Array:
        """Scores of the training samples, one for all that are equal."""
        return namespace(scores).take(scores, like(self._place, scores), axis=0)

    def _normalised(self, projections: np.ndarray) -> np.ndarray:
        width = sum(len(scale) for _, scale in self._scales)
        return np.nan_to_num(projections / math.sqrt(width), nan=FAR).clip(-FAR, FAR)


def project(X: Array, center: np.ndarray, scale: np.ndarray, block: int) -> np.ndarray:
    """Random projections of standardised samples of the block of that number."""
    parts = []
    for rows in _rows(X):
        axes = _random_axes(rows.shape[1], block)
        middle, unit, axes = (like(values, rows) for values in (center, scale, axes))
        with np.errstate(over="ignore", invalid="ignore"):  # of values that are far away
            if X.ndim > 2:  # in [0, 1], so that nothing is lost by standardising the axes instead
                axes = axes / unit[:, None]
                parts.append(to_numpy(rows @ axes - middle @ axes))
            else:
                parts.append(to_numpy(((rows - middle) / unit) @ axes))
    return np.concatenate(parts)


def _plant(projections: np.ndarray) -> cKDTree:
    return cKDTree(projections, balanced_tree=False)


@functools.lru_cache(maxsize=16)
def _random_axes(n_features: int, block: int) -> np.ndarray:
    return np.random.default_rng(block).standard_normal((n_features, N_PROJECTIONS))


def _rows(X: Array) -> Iterator[Array]:
    """Consecutive samples as rows of float64; images of uint8 divided by 255."""
    unit = 255.0 if X.ndim > 2 and X.dtype == np.uint8 else 1.0
    for part in row_slices(X.shape[0], 8 * math.prod(X.shape[1:]), BLOCK_BYTES):
        rows = X[part, ...]
        yield as_float64(rows if X.ndim == 2 else rows.reshape(len(rows), -1)) / unit


def replace_known(index: np.ndarray, scores: Array, training_scores: Array) -> Array:
    """`scores`, but ``training_scores[index]`` where the index is not -1."""
    if (index < 0).all():
        return scores
    xp = namespace(scores)
    index = like(index, scores)
    known = xp.reshape(index >= 0, (-1,) + (1,) * (scores.ndim - 1))
    return xp.where(known, xp.take(training_scores, xp.clip(index, min=0), axis=0), scores)
