"""An experiment on Dask clusters of worker processes on this machine."""

import time
from itertools import product

import numpy as np

from skanomaly import CenterCosine, MahalanobisCosine

from .data import choose
from .memory import mebibytes

N_FEATURES = 64
N_STORED = 2_000  # training rows of the detector that scores
N_WORKERS = (1, 2)
FIT_CENTER = "CenterCosine: fit"
FIT_NEIGHBORS = "MahalanobisCosine: fit"
SCORE = "MahalanobisCosine of 2,000 rows: scoring"
ROWS = {
    FIT_CENTER: (100_000, 1_000_000),
    SCORE: (100_000, 1_000_000),
    FIT_NEIGHBORS: (20_000, 40_000),
}
CHUNK = 20_000


def dask_cluster(options, records):
    """Seconds by the number of rows and of workers, of one thread each.

    Random float64 rows of 64 columns are drawn in their chunks of 20,000; of the fit of neighbours,
    whose chunks are compared in pairs, 5,000. `memory_mib` is the peak of the largest worker, and
    `client_mib` that of the process that calls, also before. Needs distributed and Linux. Five
    minutes on two cores.
    """
    for method in choose("--methods", options.methods, ROWS):
        for n_rows, n_workers in product(ROWS[method], N_WORKERS):
            size = {"method": method, "rows": n_rows, "workers": n_workers}
            if options.small:
                size["rows"] = 500
            if not records.has(**size):
                records.add(**size, **measure(**size))


def measure(method, rows, workers):
    """Seconds and MiB of a method on a cluster of its own."""
    import dask
    from dask import array
    from distributed import Client, LocalCluster

    chunk = CHUNK // 4 if method == FIT_NEIGHBORS else CHUNK
    X = array.random.default_rng(0).normal(3, 1, (rows, N_FEATURES), chunks=(chunk, N_FEATURES))
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    stored = np.random.default_rng(1).normal(3, 1, (min(rows, N_STORED), N_FEATURES))
    scorer = MahalanobisCosine().fit(stored)
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(**options) as cluster,
        Client(cluster) as client,
    ):
        client.run(_import)
        start = time.perf_counter()
        if method == SCORE:
            scorer.score_samples(X).compute()
        else:
            (CenterCosine() if method == FIT_CENTER else MahalanobisCosine()).fit(X)
        seconds = time.perf_counter() - start
        peaks = client.run(_peak_mib)
    return {
        "seconds": float(f"{seconds:.3g}"),
        "memory_mib": max(peaks.values()),
        "client_mib": _peak_mib(),
    }


def _import():
    import skanomaly.scorers  # noqa: F401


def _peak_mib():
    return round(mebibytes("VmHWM"))
