"""The bundled sample against the full data set, where that is at hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from skanomaly.datasets import load_fashion_mnist_sample

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data, the full data sets, is missing")
@pytest.mark.parametrize("normal, label", [("t-shirt", 0), ("shirt", 6)])
def test_sample_is_the_first_images_of_each_class(normal, label):
    spec = importlib.util.spec_from_file_location("load", SHARED / "load.py")
    load = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(load)
    X, y = load.images("fashion_mnist", "train", shards=2)
    X_test, y_test = load.images("fashion_mnist", "test")
    data = load_fashion_mnist_sample(normal)
    assert np.array_equal(data.X_train[:500], X[y == label][:500])
    first = np.sort(np.concatenate([np.flatnonzero(y_test == c)[:250] for c in range(10)]))
    assert np.array_equal(data.X_test, X_test[first])
    assert np.array_equal(data.y_test, np.where(y_test[first] == label, 1, -1))
