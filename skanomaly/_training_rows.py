"""Recognises samples that a detector was fitted on."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

BLOCK_ROWS = 4096


class TrainingRows:
    """Fingerprints of the training samples, 8 bytes each.

    Parameters
    ----------
    X : array (n, ...)
        Training samples. Tables are compared as float64, images in their own dtype.
    """

    def __init__(self, X: np.ndarray):
        fingerprints = _fingerprints(X)
        self.order = np.argsort(fingerprints, kind="stable")
        self.fingerprints = fingerprints[self.order]

    def recall(self, X: np.ndarray, scores: np.ndarray, training_scores: np.ndarray) -> np.ndarray:
        """`scores`, but for samples that are identical to a training sample its training score."""
        wanted = _fingerprints(X)
        position = np.searchsorted(self.fingerprints, wanted)
        position = np.minimum(position, len(self.fingerprints) - 1)
        known = self.fingerprints[position] == wanted
        return np.where(known, training_scores[self.order[position]], scores)


def _fingerprints(X: np.ndarray) -> np.ndarray:
    digests = []
    for start in range(0, len(X), BLOCK_ROWS):
        rows = X[start : start + BLOCK_ROWS]
        if X.ndim == 2:
            rows = rows.astype(np.float64) + 0.0  # so that -0.0 and 0.0, 1 and 1.0 are the same
        rows = np.ascontiguousarray(rows).reshape(len(rows), -1)
        digests += [blake2b(row.data, digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)
