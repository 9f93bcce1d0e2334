"""Where in an image the anomaly is: nearest-neighbour angles at each position of a feature map."""

from __future__ import annotations

import numpy as np
import torch

from ._angles import angle_of_chord, directions
from ._nearest_rows import NearestRows
from ._whitening import Whitening

MAX_REFERENCE_IMAGES = 200
MAX_REFERENCE_BYTES = 16 * 2**20
MAX_REFERENCE_POSITIONS = 50_000


def choose_reference(X: np.ndarray) -> np.ndarray:
    """Positions of the training images that are kept, evenly spaced."""
    n_fitting = max(2, MAX_REFERENCE_BYTES // max(1, X[:1].nbytes))
    return _evenly_spaced(len(X), min(MAX_REFERENCE_IMAGES, n_fitting))


def angle_heatmaps(
    maps: np.ndarray, reference: np.ndarray, own: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Whitened angle of each position's features to the nearest among the reference images'.

    Positions are compared with all positions, so that moving an object is no anomaly.

    Parameters
    ----------
    maps, reference : float array (n, channels, height, width)
        A layer's outputs for the images to explain and for normal ones.
    own : int array (n,)
        Which reference image each image is, itself left out then, or -1.
    size : (height, width)
        Of the heatmaps, to which angles are interpolated.

    Returns
    -------
    heatmaps : float64 array (n, height, width)
        In radians.
    """
    n, _, height, width = maps.shape
    angles = np.empty((n, 1, height, width))
    for left_out in np.unique(own):
        chosen = own == left_out
        kept = np.flatnonzero(np.arange(len(reference)) != left_out)
        kept = kept[_evenly_spaced(len(kept), max(1, MAX_REFERENCE_POSITIONS // (height * width)))]
        rows = _positions(reference[kept])
        whitening = Whitening().fit(rows)
        stored = NearestRows(directions(whitening.transform(rows)))
        queries = directions(whitening.transform(_positions(maps[chosen])))
        chords, _ = stored.nearest(queries, 1)
        angles[chosen] = angle_of_chord(chords).reshape(-1, 1, height, width)
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(angles), size, mode="bilinear")
    return enlarged[:, 0].numpy()


def _evenly_spaced(n: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


def _positions(maps: np.ndarray) -> np.ndarray:
    """Features of all positions as rows (n * height * width, channels)."""
    return np.ascontiguousarray(maps.transpose(0, 2, 3, 1)).reshape(-1, maps.shape[1])
