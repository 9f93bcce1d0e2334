"""Memory of training on images in a file that is mapped into memory, against the file's size.

    python benchmarks/mapped_images.py [--gib 4]

Random images of 128 x 128 pixels in a file of its own, deleted in the end; the default detector's
encoder, trained for some seconds. Counted is anonymous memory: pages of the file are the kernel's,
which drops them when memory runs short. A minute on two cores, besides writing the file. Writes
results/mapped_images.json; --small is a quick check that writes nothing.
"""

import argparse
import re
import tempfile
import threading
from pathlib import Path

import numpy as np
from _report import write_report

from skanomaly import SelfSupervisedEncoder

SHAPE = (3, 128, 128)
SECONDS = 20


class AnonymousMemory(threading.Thread):
    """Peak of the memory that belongs to this process alone, in MiB, looked at every 10 ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.done = threading.Event()
        self.before = self.peak = self._now()

    def run(self):
        while not self.done.wait(0.01):
            self.peak = max(self.peak, self._now())

    def stop(self):
        self.done.set()
        self.join()
        return round(self.peak - self.before, 1)

    @staticmethod
    def _now():
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024


def write_images(path, gib):
    n = int(gib * 2**30 / np.prod(SHAPE))
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (n, *SHAPE))
    rng = np.random.default_rng(0)
    for start in range(0, n, 1000):
        block = images[start : start + 1000]
        block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
    images.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--small", action="store_true", help="a small file, no result file")
    args = parser.parse_args()
    gib, seconds = (0.05, 1) if args.small else (args.gib, SECONDS)
    encoder = SelfSupervisedEncoder(max_epochs=None, max_time=seconds, random_state=0)
    warm_up = np.random.default_rng(0).integers(0, 256, (64, *SHAPE), dtype=np.uint8)
    encoder.fit(warm_up)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "X.npy", gib)
        X = np.load(Path(folder) / "X.npy", mmap_mode="r")
        memory = AnonymousMemory()
        memory.start()
        encoder.fit(X)
        peak = memory.stop()
    epoch = encoder.history_[-1]
    figures = {
        "file_mib": round(X.nbytes / 2**20),
        "images": len(X),
        "memory_mib": peak,
        "samples_per_second": round(epoch["samples_per_second"], 1),
    }
    print(figures)
    if not args.small:
        write_report("mapped_images", figures)


if __name__ == "__main__":
    main()
