"""Experiments on what grows with the size of the data: seconds and peak memory."""

import importlib
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

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

IMAGES = 60_000, 5_000  # fitted, scored
MAX_MAP_WIDTH = 512
MAPPED_GIB, MAPPED_SECONDS = 4.0, 20
MAPPED_SHAPE = (3, 128, 128)


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
    """Peak memory of NSADetector with all maps of a ResNet-18, and of images in a mapped file.

    60,000 images of Fashion-MNIST, padded to 32 x 32 pixels of three channels: the network is
    untrained, which changes neither its maps' sizes nor the scorer's work; 5,000 of them with one
    epoch of training. Then random images of 128 x 128 pixels in a file of 4 GiB, which is deleted
    in the end, for 20 s. `memory_mib` is beyond the images, `input_mib`; of the mapped file, what
    has been read within that time is counted. Needs Linux. Forty minutes on two cores.
    """
    n_train, n_scored = (100, 40) if options.small else IMAGES
    train, images = (
        as_32_by_32(read_images("fashion_mnist", split, options.data)[0][:n])
        for split, n in (("train", n_train), ("test", n_scored))
    )
    call = (lambda f, *args: f(*args)) if options.small else in_new_process
    few = train[:40] if options.small else train[:n_scored]
    records.add_all(call(measure_detector, few, images[:0], 0 if options.small else 1))
    records.add_all(call(measure_detector, train, images, 0))
    gib, seconds = (0.05, 1) if options.small else (MAPPED_GIB, MAPPED_SECONDS)
    records.add_all(call(measure_mapped_file, gib, seconds))


def as_32_by_32(X):
    """Padded, with three channels."""
    return np.repeat(np.pad(X, ((0, 0), (2, 2), (2, 2)))[:, None], 3, axis=1)


def measure_detector(train, images, max_epochs):
    """Rows for fitting and for scoring, if there are images to score."""
    importlib.import_module("torchvision.models")  # loaded on first use, no matter of size
    encoder = SelfSupervisedEncoder(
        backbone="resnet18", layers="all", max_map_width=MAX_MAP_WIDTH, max_epochs=max_epochs
    )
    NSADetector(encoder, random_state=0).fit(train[:32]).score_samples(train[:32])
    detector = NSADetector(encoder, random_state=0)
    steps = [("fit", detector.fit, train), ("score", detector.score_samples, images)]
    rows = []
    for step, call, X in steps[: 2 if len(images) else 1]:
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


def measure_mapped_file(gib, seconds):
    """A row for training the default encoder for some seconds on a mapped file."""
    encoder = SelfSupervisedEncoder(max_epochs=None, max_time=seconds, random_state=0)
    warm_up = np.random.default_rng(0).integers(0, 256, (64, *MAPPED_SHAPE), dtype=np.uint8)
    encoder.fit(warm_up)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.npy")
        write_images(path, gib)
        X = np.load(path, mmap_mode="r")
        with PeakMemory() as peak:
            encoder.fit(X)
    return [
        {
            "step": "train, mapped file",
            "images": len(X),
            "pixels": X.shape[-1],
            "input_mib": round(X.nbytes / 2**20),
            "memory_mib": round(peak.mib, 1),
            "seconds": seconds,
            "images_per_second": round(encoder.history_[-1]["samples_per_second"], 1),
        }
    ]


def write_images(path, gib):
    n = int(gib * 2**30 / np.prod(MAPPED_SHAPE))
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (n, *MAPPED_SHAPE))
    rng = np.random.default_rng(0)
    for start in range(0, n, 1000):
        block = images[start : start + 1000]
        block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
    images.flush()
