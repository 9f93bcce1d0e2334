"""Errors of nearest-neighbour searches, against angles in more digits."""

import numpy as np

DUPLICATE_ANGLE = 1e-6


def unit(X):
    return X / np.sqrt((X**2).sum(axis=-1, keepdims=True))


def near_duplicates(rows):
    """The rows, turned by DUPLICATE_ANGLE."""
    u = unit(rows.astype(np.float64))
    v = np.random.default_rng(1).standard_normal(u.shape)
    v = unit(v - (u * v).sum(axis=1, keepdims=True) * u)
    return (np.cos(DUPLICATE_ANGLE) * u + np.sin(DUPLICATE_ANGLE) * v).astype(np.float32)


def exact_nearest(reference, queries, k):
    """Angles (m, k) in longdouble, from the chords, and indices; float64 finds the candidates."""
    cosines = unit(queries.astype(np.float64)) @ unit(reference.astype(np.float64)).T
    candidates = np.argpartition(-cosines, 2 * k, axis=1)[:, : 2 * k]
    u = unit(queries.astype(np.longdouble))[:, None]
    v = unit(reference[candidates].astype(np.longdouble))
    chords = (np.sqrt(((u + sign * v) ** 2).sum(axis=-1)) for sign in (-1, 1))
    angles = 2 * np.arctan2(*chords)
    order = np.argsort(angles, axis=1)[:, :k]
    return np.take_along_axis(angles, order, 1), np.take_along_axis(candidates, order, 1)


def accuracy(reference, queries, searches, k=10):
    """Greatest error of the k angles in radians, and share of queries with the right nearest.

    `searches` are functions of k: faiss gives cosines and indices, skanomaly angles and indices.
    """
    exact, nearest = exact_nearest(reference, queries, k)
    cosines, faiss_nearest = searches["faiss"](k)
    found = {
        "skanomaly": searches["skanomaly"](k),
        "faiss": (np.arccos(np.clip(cosines, -1, 1).astype(np.float64)), faiss_nearest),
    }
    return {
        name: {
            "max_error": float(f"{np.abs(angles - exact).max():.2g}"),
            "same_nearest": float((indices[:, 0] == nearest[:, 0]).mean()),
        }
        for name, (angles, indices) in found.items()
    }
