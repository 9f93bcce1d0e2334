"""Operations on a batch of images, with parameters of its own for each of them.

Images are float tensors (n, channels, height, width) in [0, 1]. Every operation follows
torchvision's definition, with one factor per image instead of one per call.
"""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample

GRAY_WEIGHTS = (0.2989, 0.587, 0.114)


def crop(
    images: torch.Tensor,
    center: torch.Tensor,
    size: torch.Tensor,
    flip: torch.Tensor,
    angle: torch.Tensor | None = None,
    vertical_flip: torch.Tensor | None = None,
) -> torch.Tensor:
    """Cut a box out of each image, turn it, mirror it and resize it (bilinear) to the full size.

    Parameters
    ----------
    images : tensor (n, c, h, w)
    center : tensor (n, 2)
        Centre of the box, x then y, where -1 and 1 are the borders of the image.
    size : tensor (n, 2)
        Width and height of the box as shares of the image's, in (0, 1].
    flip : bool tensor (n,)
        Mirror horizontally.
    angle : tensor (n,), optional
        Counter-clockwise rotation in radians of images with square pixels.
    vertical_flip : bool tensor (n,), optional
        Mirror vertically.
    """
    n, _, height, width = images.shape
    angle = torch.zeros(n, device=images.device) if angle is None else angle
    right = size[:, :1] * _centers(width, size[:, :1]) * torch.where(flip, -1.0, 1.0)[:, None]
    down = size[:, 1:] * _centers(height, size[:, 1:])
    if vertical_flip is not None:
        down = down * torch.where(vertical_flip, -1.0, 1.0)[:, None]
    cosine, sine = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    right, down = right[:, None, :], down[:, :, None]
    aspect = height / width
    x = center[:, 0].view(-1, 1, 1) + cosine * right - sine * aspect * down
    y = center[:, 1].view(-1, 1, 1) + sine / aspect * right + cosine * down
    grid = torch.stack([x, y], dim=3).to(images.dtype)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)


def _centers(n_pixels: int, share: torch.Tensor) -> torch.Tensor:
    """Where in a box, from -1 to 1, the pixels of the resized box are read, (n, n_pixels).

    Not beyond the centres of the box's outermost pixels, as it takes that `share` (n, 1) of the
    image: interpolation would mix in what is outside.
    """
    half_a_pixel = 1 / n_pixels
    centers = torch.linspace(half_a_pixel - 1, 1 - half_a_pixel, n_pixels, device=share.device)
    limit = (1 - half_a_pixel / share).clamp(min=0)
    return centers.to(share.dtype).clamp(-limit, limit)


def per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def _blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    factor = per_image(factor)
    return (factor * images + (1 - factor) * other).clamp(0, 1)


def to_gray(images: torch.Tensor) -> torch.Tensor:
    """Luminance of each image, shape (n, 1, h, w)."""
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(GRAY_WEIGHTS).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def adjust_brightness(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with black: factor 0 is black, 1 the image, above 1 brighter."""
    return _blend(images, torch.zeros_like(images), factor)


def adjust_contrast(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with the image's mean luminance: factor 0 is flat gray, 1 the image."""
    return _blend(images, to_gray(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def adjust_saturation(images: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Blend with the grayscale image: factor 0 is gray, 1 the image."""
    return _blend(images, to_gray(images), factor)


def adjust_hue(images: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Turn the hue of RGB images by `shift`, in turns of the colour circle (-0.5 to 0.5)."""
    value, brightest = images.max(dim=1)
    chroma = value - images.min(dim=1).values
    red, green, blue = (images / chroma.clamp_min(1e-12).unsqueeze(1)).unbind(dim=1)
    sector = torch.stack([green - blue, blue - red + 2, red - green + 4], dim=1)
    hue = sector.gather(1, brightest.unsqueeze(1)).squeeze(1) + 6 * shift.view(-1, 1, 1)
    offsets = images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    k = (hue.unsqueeze(1) + offsets) % 6
    return value.unsqueeze(1) - chroma.unsqueeze(1) * torch.minimum(k, 4 - k).clamp(0, 1)


def gaussian_blur(images: torch.Tensor, sigma: torch.Tensor, radius: int = 2) -> torch.Tensor:
    """Separable Gaussian blur of width `sigma` pixels with a kernel of 2 * `radius` + 1."""
    n, channels, height, width = images.shape
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma.view(-1, 1)) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    padded = torch.nn.functional.pad(images, [radius] * 4, mode="reflect")
    planes = padded.reshape(1, n * channels, height + 2 * radius, width + 2 * radius)
    planes = torch.nn.functional.conv2d(planes, kernel[:, None, :, None], groups=n * channels)
    planes = torch.nn.functional.conv2d(planes, kernel[:, None, None, :], groups=n * channels)
    return planes.reshape(images.shape)
