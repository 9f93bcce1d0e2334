"""Images of one size with the files that they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Images of one size with the files that they come from, as :func:`read_images` returns them.

    Detectors and encoders take them as X. ``images[index]``, with a slice, a mask or an array of
    positions, are some of them, so that cross-validation splits them as it splits arrays.

    Parameters
    ----------
    pixels : array of shape (n, height, width) or (n, height, width, 3)
        uint8, or float32 in [0, 1]. Large ones are a file that is mapped into memory.
    paths : list of str, optional
        The file of each image.
    skipped : dict of str to str
        Files that could not be read, with the reason.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly import Images
    >>> images = Images(np.zeros((3, 8, 8), np.uint8), ["a.png", "b.png", "c.png"])
    >>> images[1:]
    Images of shape (2, 8, 8) from b.png to c.png
    """

    pixels: np.ndarray
    paths: list[str] | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the pixels."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""
        return self.pixels.dtype

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: Any) -> Images:
        paths = self.paths
        if paths is not None:
            paths = np.array(paths, dtype=object)[index].tolist()
        return Images(self.pixels[index], paths)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        pixels = np.asarray(self.pixels, dtype=dtype)
        return pixels.copy() if copy and pixels is self.pixels else pixels

    def __repr__(self) -> str:
        origin = f" from {self.paths[0]} to {self.paths[-1]}" if self.paths else ""
        return f"Images of shape {self.shape}{origin}"
