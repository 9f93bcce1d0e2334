"""Checkpoints: a training that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import io
import os
import time
import warnings
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from . import distributed

FORMAT = b"skanomaly training checkpoint 2\n"
DIGEST_SIZE = 32  # bytes
SAVING_SHARE = 0.05  # of the time may go into saving


class Checkpoint:
    """A file that always holds one complete state of a training.

    Its format is a line with a name, a digest of what follows, and that as torch saves it.

    Parameters
    ----------
    path : path-like
        The file. It is replaced as a whole, never written in place, so that a process that is
        killed while it saves leaves the state before.
    identity : dict of str to str
        What is trained on what. A checkpoint of another identity is refused.
    """

    def __init__(self, path: str | os.PathLike, identity: dict[str, str]):
        self.path = Path(path)
        self.identity = identity
        self._saved = -float("inf")
        self._cost = 0.0
        self._is_writable = True

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None if there is none yet.

        Raises
        ------
        ValueError
            If the file is no checkpoint, is damaged, or belongs to another training.
        OSError
            If the file cannot be read.
        """
        return distributed.call_in_first_process(self._read)

    def save(self, state: dict[str, Any], *, first: bool = False, last: bool = False) -> None:
        """Replace the file, unless that would take too large a share of the time.

        A disk that is full or has become read-only in the meantime does not end the training: the
        state before is kept, with a warning. The first time it raises, before time is spent.

        Raises
        ------
        OSError
            If the first state cannot be saved.
        """
        if first:
            distributed.call_in_first_process(lambda: self._save(state, first=True))
            return
        is_due = time.monotonic() - self._saved >= self._cost / SAVING_SHARE
        if distributed.rank() == 0 and (is_due or last):
            self._save(state)

    def _save(self, state: dict[str, Any], *, first: bool = False) -> None:
        start = time.monotonic()
        try:
            self._write(state)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._partial.unlink()
            if first:
                raise OSError(
                    f"checkpoint={str(self.path)!r} cannot be written: {error}. Pass a path in a "
                    "folder that exists, is writable and has space, or None"
                ) from error
            if self._is_writable:
                self._is_writable = False
                warnings.warn(
                    f"checkpoint={str(self.path)!r} can no longer be written: {error}. Training "
                    "goes on; if it is killed, it resumes from the last state that was saved",
                    UserWarning,
                    stacklevel=2,
                )
        self._saved = time.monotonic()
        self._cost = self._saved - start

    @property
    def _partial(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    def _write(self, state: dict[str, Any]) -> None:
        content = io.BytesIO()
        torch.save({"identity": self.identity, **state}, content)
        with open(self._partial, "wb") as file:
            file.write(FORMAT + _digest(content.getbuffer()))
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._partial, self.path)

    def _read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        advice = "; pass another path, or delete the file if it is not needed"
        saved = self.path.read_bytes()
        start = len(FORMAT) + DIGEST_SIZE
        content = memoryview(saved)[start:]
        if saved[:start] != FORMAT + _digest(content):
            raise ValueError(
                f"checkpoint={str(self.path)!r} is damaged or no checkpoint of this version{advice}"
            )
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        found = state["identity"]
        differing = [
            f"{name} is {self.identity.get(name)}, not {found.get(name)}"
            for name in sorted({*found, *self.identity})
            if found.get(name) != self.identity.get(name)
        ]
        if differing:
            raise ValueError(
                f"checkpoint={str(self.path)!r} belongs to another training: "
                f"{'; '.join(differing)}{advice}"
            )
        return state


def _digest(content: memoryview) -> bytes:
    return blake2b(content, digest_size=DIGEST_SIZE).digest()
