"""Seconds and peak memory of the angular scores against the number of rows and of features.

    python benchmarks/growth.py [--limit 60]

Each measurement has a process of its own. The exact leave-one-out of fit is quadratic in the rows:
after a fit of more than --limit seconds larger sizes are left out, as null. Needs faiss-cpu,
matplotlib and Linux. Writes results/growth.json and results/growth.png; --small is a quick check
that writes nothing.
"""

import argparse
import time
from concurrent.futures.process import BrokenProcessPool

import matplotlib.pyplot as plt
import numpy as np
from _markdown import table
from _memory import PeakMemory, in_new_process
from _report import RESULTS, write_report
from sklearn.base import clone

from skanomaly import CenterCosine, MahalanobisCosine

N_QUERIES = 1_000
N_FEATURES = 64  # while the rows grow
N_ROWS = 500  # while the features grow
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FEATURES = (64, 256, 1_024, 4_096, 16_384, 65_536)
EXACT = {
    "k-Cos": MahalanobisCosine(whiten=False),
    "k-Cos (Mah)": MahalanobisCosine(),
    "c-Cos (Mah)": CenterCosine(),
}
METHODS = {**EXACT, "k-Cos (Mah), faiss": MahalanobisCosine(index="faiss")}


def measure(detector, n_rows, n_features):
    """Seconds of fit and of scoring, and peak memory in MiB beyond rows and queries."""
    X = np.random.default_rng(0).standard_normal((n_rows + N_QUERIES, n_features), np.float32)
    X += 1  # a mean to take the angle to
    rows, queries = X[:n_rows], X[n_rows:]
    # libraries that are loaded on first use are no matter of size
    clone(detector).fit(rows[:100]).score_samples(queries[:2])
    with PeakMemory() as peak:
        start = time.perf_counter()
        detector.fit(rows)
        fitted = time.perf_counter()
        detector.score_samples(queries)
        scored = time.perf_counter()
    figures = {"fit_seconds": fitted - start, "score_seconds": scored - fitted}
    return {name: float(f"{v:.3g}") for name, v in {**figures, "memory_mib": peak.mib}.items()}


def sweep(detector, sizes, limit):
    """A measurement for each (n_rows, n_features), None after one that took too long or died."""
    cells = []
    for size in sizes:
        if cells and (cells[-1] is None or cells[-1]["fit_seconds"] > limit):
            cells.append(None)
            continue
        try:
            cells.append(in_new_process(measure, detector, *size))
        except BrokenProcessPool:  # killed for its memory
            cells.append(None)
    return cells


def print_table(sizes, methods):
    columns = ["rows", "features", "fit, s", "score, s", "memory, MiB"]
    rows = [
        [method, *size, *(cell.values() if cell else ["-"] * 3)]
        for method, cells in methods.items()
        for size, cell in zip(sizes, cells, strict=True)
    ]
    print("\n" + table(columns, rows, "method"))


def plot(sizes, results, path):
    figure, axes = plt.subplots(2, 2, figsize=(8, 6), sharey="row", layout="constrained")
    for column, (swept, methods) in enumerate(results.items()):
        x = [size[column] for size in sizes[swept]]
        for color, (method, cells) in enumerate(methods.items()):
            for row, name, style in (
                (0, "fit_seconds", "o-"),
                (0, "score_seconds", "o:"),
                (1, "memory_mib", "o-"),
            ):
                y = [cell[name] if cell else np.nan for cell in cells]
                label = method if name == "fit_seconds" else None
                axes[row, column].plot(x, y, style, color=f"C{color}", label=label, markersize=3)
        axes[1, column].set_xlabel(swept)
    for axis in axes.flat:
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel(f"seconds: fit (solid), {N_QUERIES} scores (dotted)")
    axes[1, 0].set_ylabel("peak memory beyond the data, MiB")
    axes[0, 0].legend()
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--limit", type=float, default=60, help="seconds of a fit")
    parser.add_argument("--small", action="store_true", help="tiny sizes, no result file")
    args = parser.parse_args()
    n_sizes = 2 if args.small else None
    sizes = {
        f"rows ({N_FEATURES} features)": [(n, N_FEATURES) for n in ROWS[:n_sizes]],
        f"features ({N_ROWS} rows)": [(N_ROWS, d) for d in FEATURES[:n_sizes]],
    }
    results = {}
    for (swept, swept_sizes), methods in zip(sizes.items(), (METHODS, EXACT), strict=True):
        results[swept] = {m: sweep(d, swept_sizes, args.limit) for m, d in methods.items()}
        print_table(swept_sizes, results[swept])
    if not args.small:
        write_report("growth", {"limit": args.limit, "sizes": sizes, **results}, ("faiss-cpu",))
        plot(sizes, results, RESULTS / "growth.png")


if __name__ == "__main__":
    main()
