"""Heatmaps against angles of each position by themselves, in float64."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skanomaly import _heatmaps
from skanomaly._heatmaps import angle_heatmaps, choose_reference
from skanomaly._whitening import Whitening
from tests.test_nearest_rows import exhaustive


@pytest.fixture
def maps(rng):
    """Higher than wide, 2 images to explain and 4 normal ones."""
    maps = rng.normal(size=(6, 3, 5, 2)) + 1
    return maps[:2], maps[2:]


@pytest.mark.parametrize("own", [[-1, -1], [2, 0]])
def test_angle_of_each_position_to_the_nearest_of_all(maps, own):
    queries, reference = maps
    heatmaps = angle_heatmaps(queries, reference, np.array(own), (5, 2))
    for image, left_out, heatmap in zip(queries, own, heatmaps, strict=True):
        others = [normal for i, normal in enumerate(reference) if i != left_out]
        rows = np.array([normal[:, i, j] for normal in others for i in range(5) for j in range(2)])
        whitening = Whitening().fit(rows)
        for i, j in np.ndindex(5, 2):
            query = whitening.transform(image[:, i, j][None])
            nearest = exhaustive(query, whitening.transform(rows)).min()
            assert_allclose(heatmap[i, j], nearest, atol=2e-7)


def test_angles_are_interpolated_to_the_size_of_the_image(maps):
    coarse, fine = (angle_heatmaps(*maps, np.array([-1, -1]), size) for size in [(5, 2), (15, 6)])
    assert fine.shape == (2, 15, 6)
    assert_allclose(fine[:, 1::3, 1::3], coarse)


def test_positions_of_large_sets_are_thinned_evenly(maps, monkeypatch):
    queries, reference = maps
    monkeypatch.setattr(_heatmaps, "MAX_REFERENCE_POSITIONS", 2 * 5 * 2)
    found = angle_heatmaps(queries, reference, np.array([-1, -1]), (5, 2))
    monkeypatch.undo()
    assert_allclose(found, angle_heatmaps(queries, reference[[0, 3]], np.array([-1, -1]), (5, 2)))
    images = np.zeros((1001, 1, 4, 4), dtype=np.uint8)
    chosen = choose_reference(images)
    assert len(chosen) == 200 and chosen[0] == 0 and chosen[-1] == 1000
