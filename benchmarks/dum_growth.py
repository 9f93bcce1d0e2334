"""Seconds and memory of DUMDetector by the number of samples.

    python benchmarks/dum_growth.py

Samples are standard normal with 10 coordinates. Scores are of samples that were not trained on.
Memory is the peak of the process, the libraries included. Writes
results/dum_growth.json; --small is a quick check that writes nothing.
"""

import argparse
import resource
import time

import numpy as np
from _report import write_report

from skanomaly import DUMDetector

N_FEATURES = 10
SIZES = 1_000, 10_000, 100_000, 1_000_000
SMALL_SIZES = 500, 1_000


def measure(n_samples):
    """Seconds of fit and of scoring as many new samples, and peak MiB so far."""
    rng = np.random.default_rng(0)
    X, new = rng.normal(size=(2, n_samples, N_FEATURES))
    start = time.perf_counter()
    detector = DUMDetector(random_state=0).fit(X)
    fitted = time.perf_counter()
    detector.score_samples(new)
    scored = time.perf_counter()
    return {
        "n_samples": n_samples,
        "fit_seconds": round(fitted - start, 2),
        "score_seconds": round(scored - fitted, 3),
        "rows_per_second": round(n_samples / (scored - fitted)),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="few samples, no result file")
    args = parser.parse_args()
    DUMDetector(max_epochs=1).fit(np.eye(9))  # what is imported on first use
    results = [measure(n) for n in (SMALL_SIZES if args.small else SIZES)]
    for row in results:
        print(row)
    if not args.small:
        write_report("dum_growth", {"n_features": N_FEATURES, "results": results})


if __name__ == "__main__":
    main()
