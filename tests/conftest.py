"""Fixtures shared by all tests."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"  # before scipy is imported: else scikit-learn skips a check

import numpy as np
import pytest
from hypothesis import settings

# no time limits in tests; continuous integration draws the same examples every time
settings.register_profile("default", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("default")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def table(rng):
    """60 x 5 normal samples away from the origin."""
    return rng.normal(size=(60, 5)) + [5, 4, 3, 2, 1]


@pytest.fixture
def images(rng):
    """24 gray images of 12 x 12 pixels: a bright square at a random place."""
    X = rng.integers(0, 40, (24, 12, 12), dtype=np.uint8)
    for image, (row, column) in zip(X, rng.integers(1, 7, (24, 2)), strict=True):
        image[row : row + 4, column : column + 4] += 180
    return X
