"""Where images come from: folders, patterns, lists and datasets."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ._images import Images

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".webp", ".tif", ".tiff", ".bmp")
ACCEPTED = (
    "pass a folder, a pattern such as 'folder/**/*.png', a list of paths, of PIL images or of "
    "arrays, or a dataset with __len__ and __getitem__"
)


def is_image_source(X: Any) -> bool:
    """Whether X must be read to be an array of images."""
    if isinstance(X, str | os.PathLike | Images):
        return True
    if isinstance(X, dict) or not hasattr(X, "__len__") or len(X) == 0:
        return False
    if not hasattr(X, "__array__") and not isinstance(X, Sequence):
        return hasattr(X, "__getitem__")  # a dataset
    if len(getattr(X, "shape", (0,))) != 1:
        return False
    first = next(iter(X))
    if isinstance(first, str | os.PathLike | Image.Image):
        return True
    shapes = {np.shape(image) for image in X} if len(np.shape(first)) >= 2 else set()
    return len(shapes) > 1


def is_url(item: Any) -> bool:
    """Whether a file is named with a protocol, such as ``s3://bucket/image.png``."""
    return isinstance(item, str) and "://" in item


def list_sources(source: Any) -> Sequence[Any]:
    """The images of a source, as paths, PIL images or arrays; a dataset is returned as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError, TypeError
        If there are no images, or the source is something else.
    """
    if isinstance(source, str | os.PathLike):
        return _list_files(os.fspath(source))
    if isinstance(source, dict) or not hasattr(source, "__getitem__"):
        raise TypeError(f"the images are {type(source).__name__}; {ACCEPTED}")
    if not hasattr(source, "__len__"):
        raise TypeError(f"{type(source).__name__} has no length; {ACCEPTED}")
    if len(source) == 0:
        raise ValueError(f"Found 0 images in an empty {type(source).__name__}; {ACCEPTED}")
    if hasattr(source, "shape") or isinstance(source, Sequence):
        source = list(source)
        kinds = {_kind(image) for image in source}
        if len(kinds) > 1:
            raise TypeError(f"the images are {' and '.join(sorted(kinds))}; pass one kind")
    return source


def _kind(image: Any) -> str:
    if isinstance(image, str | os.PathLike):
        return "paths"
    return "PIL images" if isinstance(image, Image.Image) else "arrays"


def _list_files(path: str) -> list[str]:
    if is_url(path):
        return [path]
    if os.path.isdir(path):
        files = list(_walk(path))
        found = _images_among(files)
        if not found:
            raise ValueError(
                f"the folder {path!r} has no images ({len(files)} other files); files that end in "
                f"{', '.join(SUFFIXES)} are read"
            )
        return found
    if os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        problem = "matches no file" if glob.has_magic(path) else "does not exist"
        raise FileNotFoundError(f"{path!r} {problem}; {ACCEPTED}")
    return [file for file in found if not os.path.isdir(file)]


def list_images(folder: str) -> list[str]:
    """The files of images below a folder, of which there may be none, in the order of names."""
    return _images_among(_walk(folder))


def _images_among(files: Iterable[str]) -> list[str]:
    return sorted(file for file in files if file.lower().endswith(SUFFIXES))


def _walk(folder: str) -> Iterator[str]:
    """Files below a folder that are not hidden; links are followed, but no folder twice."""
    seen = {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        kept = []
        for name in sorted(folders):
            target = os.path.realpath(os.path.join(parent, name))
            if not name.startswith(".") and target not in seen:
                seen.add(target)
                kept.append(name)
        folders[:] = kept
        yield from (os.path.join(parent, name) for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error
