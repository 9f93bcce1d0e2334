"""Experiments that time: the search for nearest rows, and scoring beside the forward pass."""

import time
from functools import partial

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from skanomaly import MahalanobisCosine, NSADetector, SelfSupervisedEncoder
from skanomaly._angles import angle_of_chord, directions
from skanomaly._nearest_rows import NearestRows

from .data import read_images
from .memory import PeakMemory, in_new_process

SEARCHED = 50_000, 10_000, 512  # rows, queries, features
TILE = (1_024, 4_096)  # queries, rows
REPEATS = 5
N_CHECKED = 200  # queries whose angles are compared with those in longdouble
DUPLICATE_ANGLE = 1e-6
CLUSTERED = 200_000, 2_000  # rows, queries; 200 clusters in 64 dimensions

BACKBONES = ("compact", "resnet18")
N_TRAIN = 5_000
SCORED = {2_048: 3, 1: 20}  # repeats by number of images


def race(contestants, repeats, argument):
    """Seconds of calls: a row for each repeat, a column for each contestant, which take turns."""
    seconds = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, call in contestants.items():
            start = time.perf_counter()
            call(argument)
            seconds[name].append(time.perf_counter() - start)
    return pd.DataFrame(seconds)


def neighbors(options, records):
    """Exact k-Cos search beside the bare matrix product, faiss and scikit-learn.

    `seconds` are medians for 10,000 queries among 50,000 x 512 float32 rows; all run in turn on
    OMP_NUM_THREADS threads. `max_error` is that of the 10 nearest angles in radians, `same_nearest`
    the share of queries with the right nearest row; near-duplicates are rows turned by 1e-6. Last
    comes the detector with index="faiss" on rows in clusters. Needs faiss-cpu and Linux. Four
    minutes on two cores.
    """
    shape = (2_000, 500, 32) if options.small else SEARCHED
    rows, queries = make_rows(*shape)
    about = {"rows": len(rows), "features": shape[2]}
    measure = search_memory if options.small else partial(in_new_process, search_memory)
    memory = {(1, "skanomaly"): measure(*shape)}
    searches = make_searches(rows, queries)
    for k in 1, 10:
        for method, seconds in race(searches, REPEATS, k).median().items():
            row = {"queries": "random", "n_queries": len(queries), "k": k, "method": method}
            row |= {"seconds": round(seconds, 4), "memory_mib": memory.get((k, method))}
            records.add(**about, **row)
    checks = {"random": queries[:N_CHECKED], "near-duplicates": near_duplicates(rows[:N_CHECKED])}
    for name, checked in checks.items():
        for row in measure_accuracy(rows, checked, make_searches(rows, checked)):
            records.add(**about, queries=name, n_queries=len(checked), **row)
    records.add_all(list(measure_index(*((1_000, 200) if options.small else CLUSTERED))))


def make_rows(n_rows, n_queries, n_features):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n_rows + n_queries, n_features), dtype=np.float32)
    return rows[:n_rows], rows[n_rows:]


def make_searches(rows, queries):
    """Searches as functions of k. Faiss gets normalised queries, the others scale them on time."""
    import faiss

    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(unit(rows))
    unit_queries = unit(queries)
    ours = NearestRows(directions(rows))
    brute = NearestNeighbors(metric="cosine", algorithm="brute").fit(rows)
    return {
        "matrix product": lambda k: tiled_product(queries, rows),
        "faiss": lambda k: flat.search(unit_queries, k),
        "skanomaly": lambda k: nearest_angles(ours, queries, k),
        "scikit-learn": lambda k: brute.kneighbors(queries, k),
    }


def unit(X):
    return X / np.sqrt((X**2).sum(axis=-1, keepdims=True))


def tiled_product(queries, rows):
    """The arithmetic that no exact search can avoid, and nothing else."""
    tile = np.empty(TILE, queries.dtype)
    for i in range(0, len(queries), TILE[0]):
        for j in range(0, len(rows), TILE[1]):
            q, r = queries[i : i + TILE[0]], rows[j : j + TILE[1]]
            np.matmul(q, r.T, out=tile[: len(q), : len(r)])


def nearest_angles(stored, queries, k):
    """Angles (m, k), ascending, and indices of the nearest stored directions."""
    chords, indices = stored.nearest(directions(queries), k)
    return angle_of_chord(chords), indices


def search_memory(n_rows, n_queries, n_features):
    """MiB that our search needs beyond rows, queries and the search object."""
    rows, queries = make_rows(n_rows, n_queries, n_features)
    ours = NearestRows(directions(rows))
    tiled_product(queries[: TILE[0]], rows[: TILE[1]])  # BLAS allocates its buffers once
    with PeakMemory() as peak:
        nearest_angles(ours, queries, 1)
    return round(peak.mib, 1)


def near_duplicates(rows):
    """The rows, turned by DUPLICATE_ANGLE."""
    u = unit(rows.astype(np.float64))
    v = np.random.default_rng(1).standard_normal(u.shape)
    v = unit(v - (u * v).sum(axis=1, keepdims=True) * u)
    return (np.cos(DUPLICATE_ANGLE) * u + np.sin(DUPLICATE_ANGLE) * v).astype(np.float32)


def exact_nearest(rows, queries, k):
    """Angles (m, k) in longdouble, from the chords, and indices; float64 finds the candidates."""
    cosines = unit(queries.astype(np.float64)) @ unit(rows.astype(np.float64)).T
    candidates = np.argpartition(-cosines, 2 * k, axis=1)[:, : 2 * k]
    u = unit(queries.astype(np.longdouble))[:, None]
    v = unit(rows[candidates].astype(np.longdouble))
    chords = (np.sqrt(((u + sign * v) ** 2).sum(axis=-1)) for sign in (-1, 1))
    angles = 2 * np.arctan2(*chords)
    order = np.argsort(angles, axis=1)[:, :k]
    return np.take_along_axis(angles, order, 1), np.take_along_axis(candidates, order, 1)


def measure_accuracy(rows, queries, searches, k=10):
    """A row for each of skanomaly and faiss."""
    exact, nearest = exact_nearest(rows, queries, k)
    for method in "skanomaly", "faiss":
        angles, indices = searches[method](k)
        if method == "faiss":  # which gives cosines
            angles = np.arccos(np.clip(angles, -1, 1).astype(np.float64))
        error = float(np.abs(angles - exact).max())
        same = float((indices[:, 0] == nearest[:, 0]).mean())
        yield {"k": k, "method": method, "max_error": float(f"{error:.2g}"), "same_nearest": same}


def measure_index(n_rows, n_queries):
    """A row for each index of the detector; the nearest row is the same if the score is."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((200, 64), dtype=np.float32)
    X = centers[rng.integers(200, size=n_rows + n_queries)]
    X += 0.3 * rng.standard_normal(X.shape, dtype=np.float32)
    about = {"rows": n_rows, "features": 64, "queries": "in clusters"}
    scores = {}
    for index in "exact", "faiss":
        start = time.perf_counter()
        detector = MahalanobisCosine(whiten=False, index=index).fit(X[:n_rows])
        fitted = time.perf_counter()
        scores[index] = detector.score_samples(X[n_rows:])
        seconds = {"seconds": time.perf_counter() - fitted, "fit_seconds": fitted - start}
        same = (np.abs(scores[index] - scores["exact"]) < 1e-6).mean()
        yield {
            **about,
            "n_queries": n_queries,
            "k": 1,
            "method": f'index="{index}"',
            **{name: round(s, 4) for name, s in seconds.items()},
            "same_nearest": float(same),
        }


def scoring(options, records):
    """What scoring with all scores of all blocks costs beside the forward pass.

    `embedding` is a forward pass to the embedding, `all blocks` one that returns every block,
    `ensemble` is NSADetector.score_samples; seconds are medians, and `times_...` medians of ratios
    within a round. 2,048 images of Fashion-MNIST, and one image. Networks are untrained, which take
    as long as trained ones; the detector has seen 5,000 images. Five minutes on two cores.
    """
    n_train, scored = (50, {8: 2, 1: 2}) if options.small else (N_TRAIN, SCORED)
    X, y = read_images("fashion_mnist", "train", options.data)
    train = X[np.argsort(y != 0, kind="stable")[:n_train]]
    images = read_images("fashion_mnist", "test", options.data)[0][: max(scored)]
    for backbone in BACKBONES[:1] if options.small else BACKBONES:
        steps = make_steps(backbone, train)
        for n_images, repeats in scored.items():
            race(steps, 1, images[:n_images])  # what is allocated or compiled once
            seconds = race(steps, repeats, images[:n_images])
            about = {"backbone": backbone, "train_images": len(train), "images": n_images}
            records.add_all([about | row for row in compare_steps(seconds)])


def make_steps(backbone, train):
    """The work on images that is compared, each step with that of the one before it."""

    def make_encoder(layers):
        return SelfSupervisedEncoder(backbone=backbone, layers=layers, max_epochs=0, random_state=0)

    detector = NSADetector(make_encoder("all"), random_state=0).fit(train)
    return {
        "embedding": make_encoder("last").fit(train).transform,
        "all blocks": detector.encoder_.transform_blocks,
        "ensemble": detector.score_samples,
    }


def compare_steps(seconds):
    """A row for each step."""
    for step in seconds:
        ratios = {
            "times_embedding": seconds[step] / seconds["embedding"],
            "times_all_blocks": seconds[step] / seconds["all blocks"],
        }
        medians = {"seconds": seconds[step].median()} | {k: v.median() for k, v in ratios.items()}
        yield {"step": step, **{k: float(f"{v:.4g}") for k, v in medians.items()}}
