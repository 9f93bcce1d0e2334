"""Squares of images."""

from __future__ import annotations

import numpy as np


class Tiles:
    """Squares that cover images, as an array of them that is read where it is asked for.

    Tiles overlap where the image is no multiple of their size.

    Parameters
    ----------
    images : array (n, channels, height, width)
        May be a memory map.
    size : int
        Side of the tiles, at most that of the images.
    """

    ndim = 4

    def __init__(self, images: np.ndarray, size: int):
        self.images = images
        self.tile_size = size
        self.tops, self.lefts = (_starts(length, size) for length in images.shape[2:])
        self.dtype = images.dtype
        self.shape = (
            len(images) * len(self.tops) * len(self.lefts),
            images.shape[1],
            size,
            size,
        )
        self.size = int(np.prod(self.shape))
        self.nbytes = self.size * images.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray:
        """The tiles at an array or a slice of positions."""
        rows = np.arange(len(self))[index]
        image, row, column = np.unravel_index(
            rows, (len(self.images), len(self.tops), len(self.lefts))
        )
        tiles = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for i, (k, top, left) in enumerate(
            zip(image, self.tops[row], self.lefts[column], strict=True)
        ):
            tiles[i] = self.images[k, :, top : top + self.tile_size, left : left + self.tile_size]
        return tiles


def _starts(length: int, size: int) -> np.ndarray:
    """Where tiles begin along a side that they cover evenly."""
    return np.linspace(0, length - size, -(-length // size)).round().astype(np.int64)
