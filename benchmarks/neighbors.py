"""Exact k-Cos search beside the bare matrix product, faiss and scikit-learn: speed and accuracy.

    python benchmarks/neighbors.py [--threads 2] [--index]

10,000 queries among 50,000 x 512 float32 rows, all contestants in one run on the same threads.
--index adds the recall of MahalanobisCosine(index="faiss"). Needs faiss-cpu and Linux. Writes
results/neighbors.json; --small is a quick check that writes nothing.
"""

import argparse
import json
import os
import time

import faiss
import numpy as np
from _accuracy import accuracy, near_duplicates, unit
from _memory import PeakMemory, in_new_process
from _report import write_report
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from skanomaly import MahalanobisCosine
from skanomaly._angles import angle_of_chord, directions
from skanomaly._nearest_rows import NearestRows

TILE = (1024, 4096)  # queries, rows
REPEATS = 5
N_CHECKED = 200  # queries compared with the angles in longdouble


def limit_threads(threads):
    threadpool_limits(threads)
    faiss.omp_set_num_threads(threads)


def make_rows(n_rows, n_queries, n_features):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n_rows + n_queries, n_features), dtype=np.float32)
    return rows[:n_rows], rows[n_rows:]


def tiled_product(queries, reference):
    """The arithmetic that no exact search can avoid, and nothing else."""
    tile = np.empty(TILE, queries.dtype)
    for i in range(0, len(queries), TILE[0]):
        for j in range(0, len(reference), TILE[1]):
            q, r = queries[i : i + TILE[0]], reference[j : j + TILE[1]]
            np.matmul(q, r.T, out=tile[: len(q), : len(r)])


def nearest_angles(stored, queries, k):
    """Angles (m, k), ascending, and indices of the nearest stored directions."""
    chords, indices = stored.nearest(directions(queries), k)
    return angle_of_chord(chords), indices


def contestants(reference, queries):
    """Searches as functions of k. Faiss gets normalised queries, the others scale them on time."""
    flat = faiss.IndexFlatIP(reference.shape[1])
    flat.add(unit(reference))
    unit_queries = unit(queries)
    ours = NearestRows(directions(reference))
    brute = NearestNeighbors(metric="cosine", algorithm="brute").fit(reference)
    return {
        "product": lambda k: tiled_product(queries, reference),
        "faiss": lambda k: flat.search(unit_queries, k),
        "skanomaly": lambda k: nearest_angles(ours, queries, k),
        "scikit-learn": lambda k: brute.kneighbors(queries, k),
    }


def race(searches, k):
    """Median seconds, interleaved so that a busy machine slows all of them alike."""
    seconds = {name: [] for name in searches}
    for _ in range(REPEATS):
        for name, search in searches.items():
            start = time.perf_counter()
            search(k)
            seconds[name].append(time.perf_counter() - start)
    median = {name: np.median(values) for name, values in seconds.items()}
    return {
        name: {
            "seconds": round(float(median[name]), 4),
            "to_product": round(float(median[name] / median["product"]), 3),
            "to_faiss": round(float(median[name] / median["faiss"]), 3),
        }
        for name in searches
    }


def search_memory(threads, shape):
    """MiB that our search needs beyond rows, queries and the search object; for a new process."""
    limit_threads(threads)
    reference, queries = make_rows(*shape)
    ours = NearestRows(directions(reference))
    tiled_product(queries[: TILE[0]], reference[: TILE[1]])  # BLAS allocates its buffers once
    with PeakMemory() as peak:
        nearest_angles(ours, queries, 1)
    return round(peak.mib, 1)


def recall_of_index(n_rows, n_queries):
    """Share of queries that index="faiss" scores as index="exact" does; rows in 200 clusters."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((200, 64), dtype=np.float32)
    X = centers[rng.integers(200, size=n_rows + n_queries)]
    X += 0.3 * rng.standard_normal(X.shape, dtype=np.float32)
    scores, figures = {}, {"rows": n_rows, "queries": n_queries}
    for index in ("exact", "faiss"):
        start = time.perf_counter()
        detector = MahalanobisCosine(whiten=False, index=index).fit(X[:n_rows])
        fitted = time.perf_counter()
        scores[index] = detector.score_samples(X[n_rows:])
        scored = time.perf_counter()
        seconds = {"fit_seconds": fitted - start, "score_seconds": scored - fitted}
        figures[index] = {name: round(s, 4) for name, s in seconds.items()}
    same = np.abs(scores["faiss"] - scores["exact"]) < 1e-6
    return {**figures, "recall": float(same.mean())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--index", action="store_true", help='recall of index="faiss" too')
    parser.add_argument("--small", action="store_true", help="tiny sizes, no result file")
    args = parser.parse_args()
    limit_threads(args.threads)
    shape = (2_000, 500, 32) if args.small else (50_000, 10_000, 512)
    reference, queries = make_rows(*shape)
    searches = contestants(reference, queries)
    checks = {
        "random queries": queries[:N_CHECKED],
        "near-duplicates": near_duplicates(reference[:N_CHECKED]),
    }
    figures = {
        **dict(zip(("rows", "queries", "features"), shape, strict=True)),
        "threads": args.threads,
        "k=1": race(searches, 1),
        "k=10": race(searches, 10),
        "extra_memory_mib": in_new_process(search_memory, args.threads, shape),
        "accuracy": {
            name: accuracy(reference, checked, contestants(reference, checked))
            for name, checked in checks.items()
        },
    }
    if args.index:
        figures["index"] = recall_of_index(*((5_000, 200) if args.small else (200_000, 2_000)))
    print(json.dumps(figures, indent=2))
    if not args.small:
        write_report("neighbors", figures, rivals=("faiss-cpu",))


if __name__ == "__main__":
    main()
