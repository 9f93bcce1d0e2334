"""Recognises samples that a detector was fitted on."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ._array_api import Array, like, namespace, row_slices, to_numpy

BLOCK_ROWS = 4096


class TrainingRows:
    """Fingerprints of training samples, 8 bytes each.

    Parameters
    ----------
    fingerprints : uint64 array (n,)
        Of each sample, from `fingerprint`.
    """

    def __init__(self, fingerprints: np.ndarray):
        self.fingerprints = fingerprints
        self.order = np.argsort(fingerprints, kind="stable")

    @classmethod
    def of(cls, X: Array) -> TrainingRows:
        """Of training samples X (n, ...)."""
        return cls(fingerprint(X))

    def subset(self, index: np.ndarray) -> TrainingRows:
        return TrainingRows(self.fingerprints[index])

    def find(self, X: Array) -> np.ndarray:
        """Index of a training sample identical to each sample of X, or -1."""
        wanted = fingerprint(X)
        position = np.searchsorted(self.fingerprints, wanted, sorter=self.order)
        index = self.order[np.minimum(position, len(self.order) - 1)]
        return np.where(self.fingerprints[index] == wanted, index, -1)

    def recall(self, X: Array, scores: Array, training_scores: Array) -> Array:
        """`scores`, but for samples that are identical to a training sample its training score."""
        return replace_known(self.find(X), scores, training_scores)

    def limit_copies(self, n_copies: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples without more than `n_copies` of each, and where in them each sample is."""
        in_order = self.fingerprints[self.order]
        starts = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
        first = np.repeat(starts, np.diff(np.r_[starts, len(in_order)]))
        copy = np.arange(len(in_order)) - first
        kept = np.sort(self.order[copy < n_copies])
        # each sample stands for itself if it is kept, else for the first of its copies
        place = np.empty(len(in_order), dtype=np.int64)
        place[self.order] = np.where(copy < n_copies, self.order, self.order[first])
        return kept, np.searchsorted(kept, place)


def replace_known(index: np.ndarray, scores: Array, training_scores: Array) -> Array:
    """`scores`, but ``training_scores[index]`` where the index is not -1."""
    if (index < 0).all():
        return scores
    xp = namespace(scores)
    index = like(index, scores)
    known = xp.reshape(index >= 0, (-1,) + (1,) * (scores.ndim - 1))
    return xp.where(known, xp.take(training_scores, xp.clip(index, min=0), axis=0), scores)


def positions_in(kept: Array | None, index: Array) -> Array:
    """``kept[index]`` for an index of any shape, where -1 stays; None keeps all."""
    if kept is None:
        return index
    xp = namespace(index)
    flat = xp.reshape(index, (-1,))
    found = xp.take(kept, xp.clip(flat, min=0))
    return xp.reshape(xp.where(flat >= 0, found, flat), index.shape)


def fingerprint(X: Array) -> np.ndarray:
    """64 bits of a hash of each sample; of tables as float64, of images in their own dtype."""
    digests = []
    for chosen in row_slices(X.shape[0], 1, BLOCK_ROWS):
        rows = to_numpy(X[chosen, ...])
        if X.ndim == 2:
            rows = rows.astype(np.float64) + 0.0  # so that -0.0 and 0.0, 1 and 1.0 are the same
        rows = np.ascontiguousarray(rows).reshape(len(rows), -1)
        as_bytes = rows.view(f"V{rows[0].nbytes}").ravel().tolist()
        digests += [blake2b(row, digest_size=8).digest() for row in as_bytes]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
