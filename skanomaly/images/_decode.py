"""One image as an array, and how it is resized."""

from __future__ import annotations

import io
import os
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
DEEP_MODES = ("I", "F")  # and I;16, I;16B, ...
ROTATED = (5, 6, 7, 8)  # values of EXIF's orientation that exchange height and width
DRAFT = 2  # JPEGs are decoded at no less than so many times the size that is asked for
MAX_UINT16 = 65535


class Header(NamedTuple):
    """What is known of an image before it is decoded."""

    size: tuple[int, int]  # height, width
    channels: int
    is_float: bool


def read_header(source: Any) -> Header:
    """Size, channels and depth of a path, the bytes of a file, a PIL image or an array.

    Raises
    ------
    OSError, ValueError, TypeError
        If it is no image.
    """
    if isinstance(source, str | os.PathLike | bytes):
        with _open(source) as image:
            return _pil_header(image)
    if isinstance(source, Image.Image):
        return _pil_header(source)
    pixels = _as_pixels(source)
    return Header(pixels.shape[:2], 1 if pixels.ndim == 2 else 3, pixels.dtype != np.uint8)


def decode(
    source: Any,
    header: Header,
    image_size: tuple[int, int] | None = None,
    resize: str = "pad",
) -> np.ndarray:
    """The image as an array (height, width) or (height, width, 3).

    Parameters
    ----------
    source : path, bytes of a file, PIL image or array
        The image.
    header : Header
        Of the result: grays are repeated for 3 channels, and colours averaged for 1.
    image_size : (height, width), optional
        Size to which the image is resized.
    resize : {"pad", "crop", "stretch"}
        How.
    """
    if isinstance(source, str | os.PathLike | bytes):
        with _open(source) as image:
            if image_size is not None:
                image.draft(None, (DRAFT * max(image_size),) * 2)
            pixels = _pil_pixels(image)
    elif isinstance(source, Image.Image):
        pixels = _pil_pixels(source)
    else:
        pixels = _as_pixels(source)
    if header.is_float and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    pixels = _with_channels(pixels, header.channels)
    return pixels if image_size is None else resized(pixels, image_size, resize)


def resized(pixels: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """The image (height, width) or (height, width, 3) in another size.

    It is shrunk or enlarged by bilinear interpolation with antialiasing: "stretch" changes its
    proportions, "crop" cuts off what exceeds them, and "pad" mirrors the image at its border.
    """
    if pixels.shape[:2] == size:
        return pixels
    if pixels.ndim == 3 and pixels.dtype != np.uint8:  # Pillow has no colours of floats
        return np.stack([resized(pixels[..., i], size, how) for i in range(3)], axis=-1)
    image, target = Image.fromarray(pixels), size[::-1]
    if how == "stretch":
        return np.asarray(image.resize(target, Image.Resampling.BILINEAR))
    if how == "crop":
        return np.asarray(ImageOps.fit(image, target, Image.Resampling.BILINEAR))
    inner = np.asarray(ImageOps.contain(image, target, Image.Resampling.BILINEAR))
    if inner.shape[:2] == size:
        return inner
    missing = [wanted - found for wanted, found in zip(size, inner.shape[:2], strict=True)]
    widths = [(n // 2, n - n // 2) for n in missing] + [(0, 0)] * (inner.ndim - 2)
    return np.pad(inner, widths, mode="reflect")


def _open(file: str | os.PathLike | bytes) -> Image.Image:
    is_empty = not file if isinstance(file, bytes) else os.path.getsize(file) == 0
    if is_empty:
        raise ValueError("the file is empty")
    image = Image.open(io.BytesIO(file) if isinstance(file, bytes) else file)
    # cameras write several pictures into one JPEG (MPO), of which the first is the photograph
    n_frames = getattr(image, "n_frames", 1)
    if n_frames > 1 and image.format != "MPO":
        image.close()
        raise ValueError(f"the file has {n_frames} pages; save each as a file")
    return image


def _pil_header(image: Image.Image) -> Header:
    width, height = image.size
    if image.getexif().get(ExifTags.Base.Orientation) in ROTATED:
        width, height = height, width
    return Header((height, width), 1 if _is_gray(image) else 3, _is_deep(image))


def _is_gray(image: Image.Image) -> bool:
    if image.mode == "P":
        colors = np.array(image.getpalette()).reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())
    return image.mode.startswith("I;") or image.mode in GRAY_MODES


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I;") or image.mode in DEEP_MODES


def _pil_pixels(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if _is_deep(image):
        pixels = np.asarray(image)
        is_integer = pixels.dtype.kind in "iu"
        return (pixels / MAX_UINT16 if is_integer else pixels).astype(np.float32)
    mode = "L" if _is_gray(image) else "RGB"
    if image.has_transparency_data:  # what is transparent lies on white
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert(mode))


def _as_pixels(image: Any) -> np.ndarray:
    """An array or a tensor, or the first of a pair with a label, with its channels last."""
    if isinstance(image, tuple) and image:
        image = image[0]
    if isinstance(image, Image.Image):
        return _pil_pixels(image)
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 and pixels.dtype.kind != "f":
        raise TypeError(f"it has dtype {pixels.dtype}; pass uint8, or float between 0 and 1")
    if pixels.dtype.kind == "f":
        pixels = pixels.astype(np.float32, copy=False)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or pixels.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"it has shape {pixels.shape}; pass (height, width), (height, width, channels) or "
            "(channels, height, width) with 1 or 3 channels"
        )
    return np.ascontiguousarray(pixels)


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if channels == 3 and pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if channels == 1 and pixels.ndim == 3:
        if pixels.dtype == np.uint8:
            return np.asarray(Image.fromarray(pixels).convert("L"))
        return pixels @ np.array([0.299, 0.587, 0.114], np.float32)  # as Pillow does
    return pixels
