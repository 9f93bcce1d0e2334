"""An experiment on Dask clusters of worker processes on this machine."""

import time
from itertools import product

import numpy as np
from sklearn.base import clone

from skanomaly import CenterCosine, MahalanobisCosine

from .data import choose
from .memory import mebibytes

N_FEATURES = 64
N_STORED = 2_000  # training rows of the detector that scores
N_WORKERS = (1, 2)
FIT_CENTER = "CenterCosine: fit"
FIT_NEIGHBORS = "MahalanobisCosine: fit"
FIT_FAISS = "MahalanobisCosine with faiss: fit"
SCORE = "MahalanobisCosine of 2,000 rows: scoring"
ROWS = {
    SCORE: (100_000, 1_000_000),
    FIT_CENTER: (100_000, 1_000_000, 10_000_000),
    FIT_NEIGHBORS: (25_000, 50_000, 100_000),
    FIT_FAISS: (25_000, 50_000),
}
CHUNKS = {SCORE: 20_000, FIT_CENTER: 20_000, FIT_NEIGHBORS: 12_500, FIT_FAISS: 12_500}
FITTED = {
    FIT_CENTER: CenterCosine(),
    FIT_NEIGHBORS: MahalanobisCosine(),
    FIT_FAISS: MahalanobisCosine(index="faiss"),
}


def dask_cluster(options, records):
    """Seconds by the number of rows and of workers, of one thread each.

    Random float64 rows of 64 columns are drawn in their chunks of 20,000; of the fits of
    neighbours, whose chunks are compared in pairs, 12,500. `memory_mib` is the peak of the largest
    worker, and `client_mib` that of the process that calls, also before; `sent_mib` is what
    workers sent to each other and to it. `recall` is the share of the training scores with faiss
    that are those of the exact search. Needs distributed and Linux. 20 minutes on two cores.
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

    chunks = CHUNKS[method], N_FEATURES
    X = array.random.default_rng(0).normal(3, 1, (rows, N_FEATURES), chunks=chunks)
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    stored = np.random.default_rng(1).normal(3, 1, (min(rows, N_STORED), N_FEATURES))
    detector = clone(FITTED[method]) if method in FITTED else MahalanobisCosine().fit(stored)
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "spawn"}),
        LocalCluster(**options) as cluster,
        Client(cluster) as client,
    ):
        client.run(_import)
        start = time.perf_counter()
        if method == SCORE:
            detector.score_samples(X).compute()
        else:
            detector.fit(X)
        seconds = time.perf_counter() - start
        peaks = client.run(_peak_mib)
        sent = client.run(_sent_mib)
    row = {
        "seconds": float(f"{seconds:.3g}"),
        "memory_mib": max(peaks.values()),
        "client_mib": _peak_mib(),
        "sent_mib": round(sum(sent.values())),
    }
    if method == FIT_FAISS and workers == 1:  # as with 2
        exact = MahalanobisCosine().fit(X.compute()).training_scores_
        row["recall"] = np.isclose(detector.training_scores_, exact, atol=1e-6).mean().round(4)
    return row


def _import():
    import skanomaly.scorers  # noqa: F401


def _sent_mib(dask_worker):
    return dask_worker.transfer_outgoing_bytes_total / 2**20


def _peak_mib():
    return round(mebibytes("VmHWM"))
