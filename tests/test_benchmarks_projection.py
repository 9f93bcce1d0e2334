"""The benchmark of the projection of wide maps."""

import numpy as np
import pandas as pd
from numpy.testing import assert_array_equal

from benchmarks.nsa_cells import Task
from benchmarks.projection import WIDTHS, evaluate, project
from benchmarks.report_detection import render_projection


def test_only_wide_maps_are_projected(rng):
    blocks = {"a": rng.normal(size=(3, 90)), "a (1x1)": np.ones((3, 90)), "b": np.ones((3, 64))}
    projected = project(blocks, 64, seed=0)
    assert [rows.shape[1] for rows in projected.values()] == [64, 90, 64]
    assert_array_equal(projected["a"], project(blocks, 64, seed=0)["a"])
    assert project(blocks, 0, seed=0)["a"] is blocks["a"]


def test_a_figure_for_each_width(rng):
    images = rng.integers(0, 60, (40, 16, 16), dtype=np.uint8)
    images[30:] += 100
    is_anomaly = np.arange(20) >= 10
    task = Task(images[:20], images[20:], is_anomaly, is_anomaly)
    found = dict(evaluate(task, seed=0, epochs=0))
    assert list(found) == list(WIDTHS) and min(found.values()) > 90


def test_differences_are_from_whole_maps_of_the_same_network():
    auroc = {(0, 1): 80, (0, 2): 90, (64, 1): 81, (64, 2): 90}
    rows = pd.DataFrame(
        {"set": "cifar10", "normal": normal, "seed": 0, "width": width, "auroc": float(a)}
        for (width, normal), a in auroc.items()
    )
    page = render_projection(rows)
    assert "| whole | 85.0 |" in page and "| 64 | 85.5 | +0.50 ± 0.50 |" in page
