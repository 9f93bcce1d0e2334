"""Peak memory of a stretch of code, on Linux."""

import re
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path


def mebibytes(field):
    """What the kernel says of this process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024


class PeakMemory:
    """Context manager; `mib` is the peak inside beyond what was resident on entry.

    The kernel's high-water mark is reset on entry; unlike samples it misses no short peak.
    """

    def __enter__(self):
        Path("/proc/self/clear_refs").write_text("5")
        self._before = mebibytes("VmRSS")
        return self

    def __exit__(self, *_):
        self.process_mib = round(mebibytes("VmHWM"))  # of all that the process holds
        self.mib = max(0.0, mebibytes("VmHWM") - self._before)


def in_new_process(function, *args):
    """Call in a fresh process, where memory freed earlier cannot hide what the call needs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


class PeakAnonymousMemory:
    """Context manager; `mib` is the largest memory inside that is no page of a file.

    Beyond that on entry, looked at every 10 ms: the kernel keeps no high-water mark of it.
    """

    def __enter__(self):
        self._before = self._peak = mebibytes("RssAnon")
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self):
        while not self._ended.wait(0.01):
            self._peak = max(self._peak, mebibytes("RssAnon"))

    def __exit__(self, *_):
        self._ended.set()
        self._watch.join()
        self.mib = self._peak - self._before
