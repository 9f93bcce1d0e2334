"""Fixtures shared by all tests."""

import multiprocessing
import os
from multiprocessing import forkserver

os.environ["SCIPY_ARRAY_API"] = "1"  # before scipy is imported: else scikit-learn skips a check

import numpy as np
import pytest
from hypothesis import settings

# no time limits in tests; continuous integration draws the same examples every time
settings.register_profile("default", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("default")


@pytest.fixture(scope="session")
def processes():
    """Starts new processes, all from one that has imported torch and never used it.

    A process that trains would import torch's compiler else, for ten seconds.
    """
    if not hasattr(os, "fork"):
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "distributed", "skanomaly.nsa"])
    forkserver.ensure_running()
    return context


@pytest.fixture(scope="module")
def client(processes):
    """A Dask cluster of two worker processes."""
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    method = processes.get_start_method()
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": method}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


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
