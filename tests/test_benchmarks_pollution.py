"""The benchmark of outliers among the training images."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from benchmarks import pollution
from benchmarks.nsa_cells import Task
from benchmarks.report_detection import render_pollution


def test_sets_take_turns():
    options = SimpleNamespace(small=False, seeds=None, sets=None, classes=["2", "5"])
    tasks = pollution._tasks(options)
    assert tasks[:3] == [("cifar10", 2, 0.0, 0), ("cifar10", 2, 0.1, 0), ("fashion_mnist", 2, 0, 0)]
    assert len(set(tasks)) == 8 and tasks[4][:2] == ("cifar10", 5)


def test_a_row_for_each_method(rng, tmp_path):
    images = rng.integers(0, 60, (60, 8, 8), dtype=np.uint8)
    images[50:] += 100
    is_anomaly = np.arange(20) >= 10
    task = Task(images[:40], images[40:], is_anomaly, is_anomaly)
    found = dict(pollution.evaluate(task, seed=0, epochs=0, cache=tmp_path))
    assert set(found) == {*pollution.SCORERS, "untrained", *pollution.PIXELS}
    assert found["default"] == found["untrained"]  # of 0 epochs
    pixels = images.reshape(60, -1) / 255
    scores = IsolationForest(random_state=0).fit(pixels[:40]).score_samples(pixels[40:])
    expected = 100 * roc_auc_score(is_anomaly, -scores)
    assert found["isolation forest"] == pytest.approx(expected, abs=0.01)


def test_differences_are_from_the_default_of_the_same_class():
    auroc = {("default", 1): 80, ("default", 2): 90, ("robust", 1): 83, ("robust", 2): 91}
    rows = pd.DataFrame(
        {"set": "cifar10", "normal": normal, "pollution": 0.1, "method": method, "auroc": float(a)}
        for (method, normal), a in auroc.items()
    )
    assert "| robust | 87.0 (+2.0 ± 1.4) |" in render_pollution(rows)
    assert "| cifar10, 2, 10% | 90.0 | 91.0 |" in render_pollution(rows)
