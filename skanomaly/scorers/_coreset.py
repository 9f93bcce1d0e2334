"""A part of some rows that covers them all."""

from __future__ import annotations

import numpy as np

from .._angles import directions

WIDTH = 32  # of a random projection, in which distances are compared


def farthest_points(rows: np.ndarray, n_kept: int, rng: np.random.RandomState) -> np.ndarray:
    """Positions of rows, each the farthest from those chosen before, as in PatchCore's coreset.

    Parameters
    ----------
    rows : float array (n, d)
        Compared by their directions, in a random projection.
    n_kept : int
        Number of rows, or all if there are no more.
    rng : RandomState
        Draws the projection and the first row.

    Returns
    -------
    positions : int array (n_kept,)
        Ascending.
    """
    if n_kept >= len(rows):
        return np.arange(len(rows))
    units = directions(rows)
    points = units @ rng.standard_normal((units.shape[1], WIDTH)) / np.sqrt(WIDTH)
    distances = np.full(len(points), np.inf)
    chosen = np.empty(n_kept, dtype=np.int64)
    last = rng.randint(len(points))
    for i in range(n_kept):
        chosen[i] = last
        distances = np.minimum(distances, ((points - points[last]) ** 2).sum(axis=1))
        last = int(distances.argmax())
    return np.sort(chosen)
