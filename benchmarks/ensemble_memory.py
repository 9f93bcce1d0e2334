"""Peak memory of NSADetector.fit with all maps of a ResNet-18, beyond the input.

    python benchmarks/ensemble_memory.py --data ../shared/data --images 60000

Fashion-MNIST, padded to 32 x 32 pixels of three channels; the network is untrained, which changes
neither its maps' sizes nor the scorer's work. Half an hour on two cores for 60,000 images. Writes
results/ensemble_memory.json.
"""

import argparse
import time

import numpy as np
from _data import read_images
from _memory import PeakMemory, in_new_process
from _report import write_report

from skanomaly import NSADetector, SelfSupervisedEncoder

N_SCORED = 5_000


def as_32_by_32(X):
    """Padded, with three channels."""
    return np.repeat(np.pad(X, ((0, 0), (2, 2), (2, 2)))[:, None], 3, axis=1)


def measure(train, images):
    """MiB and seconds of fitting and of scoring, in a process of its own."""
    encoder = SelfSupervisedEncoder(
        backbone="resnet18", layers="all", max_map_width=512, max_epochs=0
    )
    NSADetector(encoder, random_state=0).fit(train[:64]).score_samples(images[:64])
    detector = NSADetector(encoder, random_state=0)
    figures = {}
    for name, call in (
        ("fit", lambda: detector.fit(train)),
        ("score", lambda: detector.score_samples(images)),
    ):
        start = time.perf_counter()
        with PeakMemory() as peak:
            call()
        figures[name] = {
            "memory_mib": round(peak.mib, 1),
            "seconds": round(time.perf_counter() - start, 1),
        }
        print(name, figures[name])
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--small", action="store_true", help="few images, no result file")
    args = parser.parse_args()
    n_train, n_scored = (300, 100) if args.small else (args.images, N_SCORED)
    train, images = (
        as_32_by_32(read_images("fashion_mnist", split, args.data)[0][:n])
        for split, n in (("train", n_train), ("test", n_scored))
    )
    figures = {
        "train_images": n_train,
        "scored_images": n_scored,
        "input_mib": round(train.nbytes / 2**20, 1),
        **in_new_process(measure, train, images),
    }
    if not args.small:
        write_report("ensemble_memory", figures)


if __name__ == "__main__":
    main()
