"""Images of one size from files, lists and datasets."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from PIL import UnidentifiedImageError

from .._array_api import is_dask
from ._decode import Header, decode, read_header
from ._images import Images
from ._sources import is_url, list_sources

RESIZES = ("pad", "crop", "stretch")
MEMORY_BYTES = 256 * 2**20  # larger arrays are kept in a temporary file
MAX_NAMED = 50  # files in a message
MAX_SIZES = 5
FETCHING_THREADS = 32  # that wait for a network


def read_images(source, *, image_size=None, resize="pad", channels=None, on_error="raise"):
    """Read images of one size from a folder, files, arrays or a dataset.

    Files are decoded once, in parallel, with Pillow: PNG, JPEG, WebP, TIFF and BMP of 8 and 16
    bits. EXIF's rotation is applied, and transparent pixels lie on white. Detectors and encoders
    call this function themselves when X is such a source, so it is for options that they lack.

    More than 256 MiB of pixels are kept in a temporary file, which is deleted with the result. The
    environment variable ``TMPDIR`` tells where.

    Parameters
    ----------
    source : path-like, list or dataset
        A folder, searched recursively for files that are not hidden, in the order of their names; a
        pattern such as ``"parts/**/*.png"``; one file; a ``.npy`` file, of which nothing is read;
        a list of paths, of PIL images or of arrays; or a dataset of torch, that is, anything with
        ``__len__`` and ``__getitem__``, which returns images or pairs (image, label). Paths with a
        protocol, such as ``"s3://bucket/image.png"``, are opened by fsspec, each once.
    image_size : int or (height, width), optional
        Size to which all images are resized; an int is a square. None takes them as they are, all
        of one size.
    resize : {"pad", "crop", "stretch"}, default="pad"
        How. "pad" keeps all of the image and its proportions, and fills what is missing with its
        mirror image, which scores like the image itself; "crop" cuts off what exceeds the
        proportions, equally on both sides; "stretch" changes them.
    channels : {1, 3}, optional
        1 converts colours to gray, 3 repeats gray images. None is 3 if there are colours.
    on_error : {"raise", "skip"}, default="raise"
        What to do with files that cannot be read. "skip" leaves them out, warns, and lists them in
        ``skipped``.

    Returns
    -------
    images : Images
        With ``pixels``, ``paths`` and ``skipped``. uint8, or float32 in [0, 1] if an image has more
        than 8 bits.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If there are no images, if some cannot be read, all of which are named, or if they differ in
        size without an `image_size`.
    TypeError
        If the source is something else, or a Dask collection.
    OSError
        If there is no space for the temporary file.

    Warns
    -----
    UserWarning
        If files are skipped.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import read_images
    >>> images = [np.zeros((20, 30), np.uint8), np.zeros((16, 16, 3), np.uint8)]
    >>> read_images(images, image_size=16)
    Images of shape (2, 16, 16, 3)
    """
    size = _check_options(image_size, resize, channels, on_error)
    if is_dask(source):
        raise TypeError("source is a Dask collection; pass what is in memory: source.compute()")
    paths, skipped = None, {}
    if isinstance(source, Images):
        source, paths, skipped = source.pixels, source.paths, source.skipped
    source = load_npy(source)
    if len(getattr(source, "shape", ())) in (3, 4):
        stack = _channels_last(source)
        if channels in (None, *stack.shape[3:]) and size in (None, stack.shape[1:3]):
            return Images(stack, paths, skipped)
    items = list_sources(source)
    files, fetch_errors = _fetch(items)
    headers, errors = _read_headers(files)
    errors |= fetch_errors
    target = _choose_target(headers, items, size, channels)
    pixels = _allocate(len(headers), target)

    def read(row: int) -> None:
        pixels[row] = decode(files[good[row]], target, size, resize)

    good = list(headers)
    rows, decode_errors = _for_each(read, range(len(good)), _n_threads(items))
    errors |= {good[row]: reason for row, reason in decode_errors.items()}
    if errors:
        named = {_name(items[i], i): errors[i] for i in sorted(errors)}
        _report(named, len(items), on_error)
        skipped = skipped | named
    for row, kept in enumerate(rows):
        if row != kept:
            pixels[row] = pixels[kept]
    if isinstance(items[0], str | os.PathLike):
        paths = [os.fspath(items[good[row]]) for row in rows]
    return Images(pixels[: len(rows)], paths, skipped)


def count_sizes(source: Any) -> Counter[tuple[int, int]]:
    """How many images a source has of each (height, width), but those that cannot be read."""
    headers, _ = _read_headers(_fetch(list_sources(load_npy(source)))[0])
    return Counter(header.size for header in headers.values())


def load_npy(source: Any) -> Any:
    """The array in a ``.npy`` file, which is mapped into memory; other sources as they are."""
    if isinstance(source, str | os.PathLike) and os.fspath(source).endswith(".npy"):
        return np.load(source, mmap_mode="r")
    return source


def _check_options(image_size, resize, channels, on_error) -> tuple[int, int] | None:
    for name, value, known in (
        ("resize", resize, RESIZES),
        ("channels", channels, (None, 1, 3)),
        ("on_error", on_error, ("raise", "skip")),
    ):
        if value not in known:
            raise ValueError(f"{name}={value!r}; pass one of {known}")
    if image_size is None:
        return None
    sides = [image_size] * 2 if isinstance(image_size, Integral) else list(image_size)
    if len(sides) != 2 or not all(isinstance(side, Integral) and int(side) > 0 for side in sides):
        raise ValueError(f"image_size={image_size!r}; pass an int or (height, width) above 0")
    return int(sides[0]), int(sides[1])


def _channels_last(stack: Any) -> np.ndarray:
    stack = stack.detach().cpu().numpy() if hasattr(stack, "detach") else np.asarray(stack)
    if stack.ndim == 4 and stack.shape[1] in (1, 3) and stack.shape[3] not in (1, 3):
        stack = stack.transpose(0, 2, 3, 1)
    return stack[..., 0] if stack.ndim == 4 and stack.shape[3] == 1 else stack


def _read_headers(items: Sequence[Any]) -> tuple[dict[int, Header], dict[int, str]]:
    return _for_each(lambda i: read_header(items[i]), range(len(items)), _n_threads(items))


def _fetch(items: Sequence[Any]) -> tuple[Sequence[Any], dict[int, str]]:
    """The items with the bytes of remote files in place of their URLs, and why some have none."""
    remote = [i for i, item in enumerate(items) if is_url(item)] if isinstance(items, list) else []
    if not remote:
        return items, {}
    from fsspec.core import url_to_fs

    def fetch(i: int) -> bytes:
        system, path = url_to_fs(items[i])
        return system.cat_file(path)

    found, errors = _for_each(fetch, remote, FETCHING_THREADS)
    return [found.get(i, b"") if is_url(item) else item for i, item in enumerate(items)], errors


def _n_threads(items: Sequence[Any]) -> int:
    # datasets may not be safe to read in several threads
    return joblib.cpu_count() if isinstance(items, list) else 1


def _for_each(
    function: Callable[[int], Any], positions: Iterable[int], n_threads: int
) -> tuple[dict, dict]:
    """What the function returns for each position, in threads, and the reasons where it fails."""

    def attempt(i: int) -> tuple[int, Any, str | None]:
        try:
            return i, function(i), None
        except Exception as error:  # of damaged files, Pillow raises errors of all kinds
            return i, None, _reason(error)

    with ThreadPoolExecutor(n_threads) as threads:
        results = list(threads.map(attempt, positions))
    return (
        {i: value for i, value, reason in results if reason is None},
        {i: reason for i, _, reason in results if reason is not None},
    )


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is no image that Pillow knows"
    if isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT).lower()  # fsspec's have the path alone
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _name(item: Any, i: int) -> str:
    return os.fspath(item) if isinstance(item, str | os.PathLike) else f"image {i}"


def _report(skipped: dict[str, str], n_items: int, on_error: str) -> None:
    """Raise or warn of what could not be read."""
    named = [f"{name} ({reason})" for name, reason in skipped.items()][:MAX_NAMED]
    more = f" and {len(skipped) - MAX_NAMED} more" if len(skipped) > MAX_NAMED else ""
    message = f"{len(skipped)} of {n_items} images cannot be read: {'; '.join(named)}{more}"
    if on_error == "raise" or len(skipped) == n_items:
        raise ValueError(f"{message}. Remove them, or pass read_images(..., on_error='skip') as X")
    warnings.warn(f"{message}. They are skipped", UserWarning, stacklevel=3)


def _choose_target(
    headers: dict[int, Header],
    items: Sequence[Any],
    image_size: tuple[int, int] | None,
    channels: int | None,
) -> Header:
    """What all images become."""
    counts = Counter(header.size for header in headers.values())
    if image_size is None and len(counts) > 1:
        first = {headers[i].size: i for i in reversed(headers)}
        sizes = [
            f"{n} of {size[0]} x {size[1]} ({_name(items[first[size]], first[size])})"
            for size, n in counts.most_common(MAX_SIZES)
        ]
        more = ", ..." if len(counts) > MAX_SIZES else ""
        raise ValueError(
            f"the images have {len(counts)} sizes: {', '.join(sizes)}{more}; "
            "resize them with the image_size of read_images or NSADetector"
        )
    return Header(
        image_size or next(iter(counts), (0, 0)),
        channels or max((header.channels for header in headers.values()), default=1),
        any(header.is_float for header in headers.values()),
    )


def _allocate(n_images: int, target: Header) -> np.ndarray:
    """An empty array, in a temporary file if it is large."""
    shape = (n_images, *target.size, *([3] if target.channels == 3 else []))
    dtype = np.dtype(np.float32 if target.is_float else np.uint8)
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes <= MEMORY_BYTES:
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            errno.ENOSPC,
            f"the images take {n_bytes / 2**30:.3g} GiB, but {folder} has {free / 2**30:.3g} GiB; "
            "pass a smaller image_size, or another folder as the environment variable TMPDIR",
        )
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, mode="w+", shape=shape)
