"""Files and folders that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .._files import beside


def check_file(path: Path) -> None:
    """Refuse a file that could not be written later.

    Raises
    ------
    OSError
        If it is a folder, or its folder does not exist or may not be written to.
    """
    if path.is_dir():
        raise OSError(errno.EISDIR, "is a folder; pass the name of a file", str(path))
    _check_parent(path)


def check_folder(path: Path, source: str) -> None:
    """Refuse a folder that is not new and empty, or whose files would be scored the next time.

    Raises
    ------
    OSError
        If it has files, or could not be created later.
    ValueError
        If it lies in the folder `source`.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OSError(errno.ENOTEMPTY, "exists; pass a folder that is new or empty", str(path))
    _check_parent(path)
    if os.path.isdir(source) and Path(source).resolve() in path.resolve().parents:
        raise ValueError(
            f"{path} lies in {source}, where its images would be scored the next time; pass a "
            "folder outside"
        )


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write to, which takes its place; that is new or empty."""
    partial = beside(path)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            path.rmdir()
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_parent(path: Path) -> None:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "cannot be written, since its folder does not exist", str(path)
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(
            errno.EACCES, "cannot be written: no permission for its folder", str(path)
        )
