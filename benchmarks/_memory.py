"""Peak memory of a stretch of code, by the kernel's high-water mark (Linux)."""

import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path


def _mebibytes(field):
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024


class PeakMemory:
    """Context manager; `mib` is the peak inside beyond what was resident on entry.

    The mark is reset on entry, which ru_maxrss does not allow, and misses no short peak, which
    sampling does.
    """

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")
        self.before = _mebibytes("VmRSS")
        return self

    def __exit__(self, *_):
        self.mib = max(0.0, _mebibytes("VmHWM") - self.before)


def in_new_process(function, *args):
    """Call in a fresh process, where memory freed earlier cannot hide what the call needs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()
