"""Small pictures of images and heatmaps as data URIs, which the report embeds."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

LARGEST_SIDE = 256
QUALITY = 90
OPACITY = 0.5  # of a heatmap over its image
# from low to high: brightness rises throughout, so that those who are colour-blind, and printers
# without colours, see the same order
COLORS = np.array([[54, 14, 90], [52, 92, 140], [30, 148, 140], [104, 200, 90], [250, 230, 40]])


def thumbnail(image: np.ndarray) -> Image.Image:
    """A picture of at most 256 pixels on each side.

    Parameters
    ----------
    image : array (height, width), (height, width, 1) or (height, width, 3)
        uint8, or floats in [0, 1].
    """
    if image.dtype != np.uint8:
        image = (255 * image).round().astype(np.uint8)
    pixels = np.broadcast_to(np.atleast_3d(image), (*image.shape[:2], 3))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return picture


def overlay(picture: Image.Image, heatmap: np.ndarray, low: float, high: float) -> Image.Image:
    """A heatmap over a picture in gray; the colours span from `low` to `high`."""
    values = Image.fromarray(heatmap.astype(np.float32)).resize(picture.size)
    share = ((np.asarray(values) - low) / (high - low if high > low else 1)).clip(0, 1)
    places = np.linspace(0, 1, len(COLORS))
    colors = np.stack([np.interp(share, places, channel) for channel in COLORS.T], axis=-1)
    gray = np.asarray(picture.convert("L"))[:, :, None]
    mixed = (1 - OPACITY) * gray + OPACITY * colors
    return Image.fromarray(mixed.round().astype(np.uint8))


def heatmap_colors() -> np.ndarray:
    """Colours (n, 3) of heatmaps from low to high, over gray as in `overlay`."""
    return (1 - OPACITY) * 128 + OPACITY * COLORS


def data_uri(picture: Image.Image) -> str:
    """The picture as a JPEG in a URI."""
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def gradient() -> str:
    """The colours of heatmaps as a CSS gradient."""
    names = ", ".join(
        f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in heatmap_colors()
    )
    return f"linear-gradient(to right, {names})"
