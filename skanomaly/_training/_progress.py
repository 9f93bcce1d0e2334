"""What a training shows of itself: a bar in terminals and notebooks, a few lines in logs."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

N_LINES = 10  # of a training in a log, besides the first


class Progress:
    """One progress bar, or about ten lines if standard error is a file or a pipe.

    Use it as a context manager.

    Parameters
    ----------
    n_done : int
        Epochs that are done already.
    n_epochs : int or None
        All of them, or None if only time limits the training.
    is_shown : bool
        False shows nothing.
    """

    def __init__(self, n_done: int, n_epochs: int | None, is_shown: bool):
        in_notebook = _is_in_notebook()
        shows_bar = in_notebook or sys.stderr.isatty()
        bar: Any = _notebook_bar() if in_notebook else tqdm
        self._bar = bar(
            desc="training",
            unit="epoch",
            initial=n_done,
            total=n_epochs,
            disable=not (is_shown and shows_bar),
        )
        self._writes_lines = is_shown and not shows_bar
        self._line = ""  # not written yet
        self._n_written = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        self._write()

    def show(self, epoch: int, record: dict[str, float], share: float) -> None:
        """Show an epoch that has ended.

        Parameters
        ----------
        epoch : int
            Its number, from 1.
        record : dict
            Its loss and samples per second.
        share : float
            Share of the training that is done.
        """
        loss, speed = f"{record['loss']:.4f}", f"{record['samples_per_second']:.0f}/s"
        self._bar.set_postfix(loss=loss, samples=speed)
        self._bar.update()
        if self._writes_lines:
            share = min(share, 1.0)
            self._line = f"training: {share:.0%}, epoch {epoch}, loss {loss}, samples {speed}\n"
            if share * N_LINES >= self._n_written:
                self._write()
                self._n_written = int(share * N_LINES) + 1

    def _write(self) -> None:
        sys.stderr.write(self._line)
        sys.stderr.flush()
        self._line = ""


def _is_in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config


def _notebook_bar() -> Any:
    """The bar of widgets, or the one of characters where a notebook has none."""
    if find_spec("ipywidgets") is None:
        return tqdm
    from tqdm.notebook import tqdm as notebook_tqdm

    return notebook_tqdm
