"""Accuracy of the concentration, and seconds and memory of the diagnostics that compare all pairs.

    python benchmarks/diagnostics.py [--threads 1]

Errors of kappa are relative to 30 digits by mpmath, beside those of the approximation in closed
form of Banerjee et al. (2005). Each timing has a process of its own. Needs mpmath and Linux. Writes
results/diagnostics.json; --small is a quick check that writes nothing.
"""

import argparse
import json
import time

import mpmath
import numpy as np
from _memory import PeakMemory, in_new_process
from _report import write_report
from threadpoolctl import threadpool_limits

from skanomaly import diagnostics
from skanomaly.diagnostics._concentration import concentration_from_length

DIMENSIONS = (2, 3, 10, 128, 512, 4096)
KAPPA_PER_DIMENSION = (1e-3, 0.1, 1, 3, 100, 1e4, 1e8, 1e12)
MEASURED = ("concentration", "mmd_to_uniform", "uniformity")


def kappa_errors(d):
    """Largest relative errors over all kappas: ours and that of the closed form."""
    errors = {"skanomaly": [], "closed form": []}
    for per_dimension in KAPPA_PER_DIMENSION:
        with mpmath.workdps(30):
            kappa = mpmath.mpf(per_dimension) * d
            above, below = (
                mpmath.besseli(v, kappa, maxterms=10**6) for v in (mpmath.mpf(d) / 2, d / 2 - 1)
            )
            R = above / below
            deficit = 1 - R**2
            closed = R * (d - R**2) / deficit
        ours = concentration_from_length(float(R), d, deficit=float(deficit))
        errors["skanomaly"].append(abs(ours / float(kappa) - 1))
        errors["closed form"].append(abs(float(closed / kappa) - 1))
    return {name: float(f"{max(values):.2g}") for name, values in errors.items()}


def measure(name, n_rows, n_features, threads):
    """Seconds, and peak memory in MiB beyond the float32 rows."""
    threadpool_limits(threads)
    X = np.random.default_rng(0).standard_normal((n_rows, n_features), np.float32)
    function = getattr(diagnostics, name)
    function(X[:100])  # what is loaded on first use is no matter of size
    with PeakMemory() as peak:
        start = time.perf_counter()
        function(X)
        seconds = time.perf_counter() - start
    return {"seconds": float(f"{seconds:.3g}"), "memory_mib": round(peak.mib, 1)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="tiny sizes, no result file")
    args = parser.parse_args()
    n_rows, n_features = (2_000, 32) if args.small else (50_000, 512)
    figures = {
        "kappa_per_dimension": KAPPA_PER_DIMENSION,
        "largest_relative_error_of_kappa": {f"d={d}": kappa_errors(d) for d in DIMENSIONS},
        "rows": n_rows,
        "features": n_features,
        "threads": args.threads,
        **{
            name: in_new_process(measure, name, n_rows, n_features, args.threads)
            for name in MEASURED
        },
    }
    print(json.dumps(figures, indent=2))
    if not args.small:
        write_report("diagnostics", figures, rivals=("mpmath",))


if __name__ == "__main__":
    main()
