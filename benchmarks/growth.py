"""Experiments on what grows with the size of the data: seconds and peak memory."""

import importlib
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial

import numpy as np
from sklearn.base import clone

from skanomaly import (
    CenterCosine,
    DUMDetector,
    MahalanobisCosine,
    NSADetector,
    SelfSupervisedEncoder,
    diagnostics,
)

from .data import choose, read_images
from .memory import PeakMemory, in_new_process

N_QUERIES = 1_000
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
MORE_ROWS = [(n, 64) for n in ROWS]
MORE_FEATURES = [(500, d) for d in (64, 256, 1_024, 4_096, 16_384, 65_536)]
ALL_PAIRS = [(5_000, 512), (50_000, 512)]
# a detector or a function of rows, and the sizes (rows, features) in ascending order
METHODS = {
    "k-Cos": (MahalanobisCosine(whiten=False), (MORE_ROWS, MORE_FEATURES)),
    "k-Cos (Mah)": (MahalanobisCosine(), (MORE_ROWS, MORE_FEATURES)),
    "c-Cos (Mah)": (CenterCosine(), (MORE_ROWS, MORE_FEATURES)),
    "k-Cos (Mah), faiss": (MahalanobisCosine(index="faiss"), (MORE_ROWS,)),
    "DUM": (DUMDetector(random_state=0), ([(n, 10) for n in ROWS],)),
    "concentration": (diagnostics.concentration, (ALL_PAIRS,)),
    "mmd_to_uniform": (diagnostics.mmd_to_uniform, (ALL_PAIRS,)),
    "uniformity": (diagnostics.uniformity, (ALL_PAIRS,)),
}
LIMIT = 60  # seconds; larger sizes of a method that took longer are left out

IMAGES = 60_000, 5_000, 5_000  # fitted untrained, fitted with training, scored
MAX_MAP_WIDTH = 512


def growth(options, records):
    """Seconds and peak memory by the number of rows and of features.

    Of the angular scores, DUM and the diagnostics that compare all pairs. `seconds` is of a fit, or
    of the function, `score_seconds` of 1,000 new rows. `memory_mib` is what fitting and scoring
    need beyond the data, `process_mib` all that the process holds then. Each measurement has a
    process of its own. Needs faiss-cpu and Linux. Half an hour on two cores.
    """
    names = choose("--methods", options.methods, METHODS)
    for name in names:
        for sizes in METHODS[name][1]:
            for size in [(500, 16)] if options.small else sizes:
                call = measure if options.small else partial(in_new_process, measure)
                try:
                    figures = call(name, *size)
                except BrokenProcessPool:  # killed for its memory
                    break
                records.add(method=name, rows=size[0], features=size[1], **figures)
                if figures["seconds"] > LIMIT:
                    break


def measure(name, n_rows, n_features):
    """Figures of a method of METHODS."""
    X = np.random.default_rng(0).standard_normal((n_rows + N_QUERIES, n_features), np.float32)
    X += 1  # a mean to take the angle to
    rows, queries = X[:n_rows], X[n_rows:]
    method, _ = METHODS[name]
    time_method(method, rows[:100], queries[:2])  # libraries that are loaded on first use
    with PeakMemory() as peak:
        figures = time_method(method, rows, queries)
    figures |= {"memory_mib": peak.mib, "process_mib": peak.process_mib}
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


def time_method(method, rows, queries):
    start = time.perf_counter()
    fitted = clone(method).fit(rows) if hasattr(method, "fit") else method(rows)
    figures = {"seconds": time.perf_counter() - start}
    if hasattr(method, "fit"):
        start = time.perf_counter()
        fitted.score_samples(queries)
        figures["score_seconds"] = time.perf_counter() - start
    return figures


def memory(options, records):
    """Peak memory of NSADetector with all maps of a ResNet-18 on 60,000 images.

    Of Fashion-MNIST, padded to 32 x 32 pixels of three channels. The network is untrained, which
    changes neither its maps' sizes nor the scorer's work; 5,000 of them have one epoch of training.
    `memory_mib` is beyond the images, `input_mib`. Needs Linux. Forty minutes on two cores.
    """
    n_untrained, n_trained, n_scored = (100, 40, 40) if options.small else IMAGES
    train, images = (
        as_32_by_32(read_images("fashion_mnist", split, options.data)[0][:n])
        for split, n in (("train", n_untrained), ("test", n_scored))
    )
    call = measure_detector if options.small else partial(in_new_process, measure_detector)
    for n_fitted, epochs in (n_trained, 1), (n_untrained, 0):
        records.add_all(call(train[:n_fitted], images, epochs))


def as_32_by_32(X):
    """Padded, with three channels."""
    return np.repeat(np.pad(X, ((0, 0), (2, 2), (2, 2)))[:, None], 3, axis=1)


def measure_detector(train, images, max_epochs):
    """Rows for fitting and for scoring."""
    importlib.import_module("torchvision.models")  # loaded on first use, no matter of size
    encoder = SelfSupervisedEncoder(
        backbone="resnet18", layers="all", max_map_width=MAX_MAP_WIDTH, max_epochs=max_epochs
    )
    NSADetector(encoder, random_state=0).fit(train[:32]).score_samples(train[:32])
    detector = NSADetector(encoder, random_state=0)
    rows = []
    for step, call, X in (
        ("fit", detector.fit, train),
        ("score", detector.score_samples, images),
    ):
        start = time.perf_counter()
        with PeakMemory() as peak:
            call(X)
        rows.append(
            {
                "step": step,
                "images": len(X),
                "pixels": X.shape[-1],
                "epochs": max_epochs,
                "max_map_width": MAX_MAP_WIDTH,
                "input_mib": round(X.nbytes / 2**20, 1),
                "memory_mib": round(peak.mib, 1),
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
    return rows
