"""What the workers of a cluster do in the tests."""

import os
import signal
import threading

STARTED, ENDED = threading.Event(), threading.Event()  # of what runs in threads of the tests


def die_once(chunk, marker):
    """The chunk; the first time, the worker is killed in the middle of it."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return chunk
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_the_end(chunk):
    """Never returns, as long as anybody waits for it."""
    STARTED.set()
    ENDED.wait(60)
    return chunk
