"""Random views of a batch, computed on the batch's device with parameters of its own per sample.

Images are float tensors (n, channels, height, width) in [0, 1]; the colour operations follow
torchvision's definitions, with one factor per image instead of one per call.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

GRAY_WEIGHTS = (0.2989, 0.587, 0.114)


def crop(
    images: torch.Tensor,
    center: torch.Tensor,
    size: torch.Tensor,
    flip: torch.Tensor,
    angle: torch.Tensor | None = None,
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
    """
    n, _, height, width = images.shape
    scale_x = size[:, 0] * torch.where(flip, -1.0, 1.0)
    scale_y = size[:, 1]
    angle = torch.zeros(n, device=images.device) if angle is None else angle
    cosine, sine = angle.cos(), angle.sin()
    aspect = height / width
    row_x = torch.stack([cosine * scale_x, -sine * scale_y * aspect, center[:, 0]], dim=1)
    row_y = torch.stack([sine * scale_x / aspect, cosine * scale_y, center[:, 1]], dim=1)
    grid = affine_grid(torch.stack([row_x, row_y], dim=1), list(images.shape), align_corners=False)
    return grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=False)


def _per_image(values: torch.Tensor) -> torch.Tensor:
    return values.view(-1, 1, 1, 1)


def _blend(images: torch.Tensor, other: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    factor = _per_image(factor)
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


class ImageAugmentation:
    """Random crop, rotation, mirroring, colour jitter, grayscale and blur.

    Called as ``augmentation(images, generator)``. Images with one channel skip hue, saturation
    and grayscale.

    Parameters
    ----------
    crop_area : (float, float)
        Range of the crop's area as a share of the image's.
    aspect_ratio : (float, float)
        Range of the crop's width divided by its height (drawn on a log scale).
    flip : float
        Probability of mirroring horizontally.
    degrees : float
        Rotations are uniform in [-degrees, degrees].
    brightness, contrast, saturation : float
        Factors are uniform in [1 - value, 1 + value].
    hue : float
        Shifts are uniform in [-hue, hue] turns of the colour circle, at most 0.5.
    jitter : float
        Probability that an image has its colours changed at all.
    grayscale : float
        Probability of removing the colours.
    blur : float
        Probability of a Gaussian blur of 0.1 to 2 pixels.
    """

    def __init__(
        self,
        *,
        crop_area: tuple[float, float] = (0.5, 1.0),
        aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        degrees: float = 0.0,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        jitter: float = 0.8,
        grayscale: float = 0.2,
        blur: float = 0.0,
    ):
        self.crop_area = crop_area
        self.aspect_ratio = aspect_ratio
        self.flip = flip
        self.degrees = degrees
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.jitter = jitter
        self.grayscale = grayscale
        self.blur = blur

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        draw = _Draw(len(images), generator)
        images = self._geometry(images, draw)
        jittered = self._colors(images, draw)
        images = torch.where(_per_image(draw.chance(self.jitter)), jittered, images)
        if self.grayscale and images.shape[1] == 3:
            gray = to_gray(images).expand_as(images)
            images = torch.where(_per_image(draw.chance(self.grayscale)), gray, images)
        if self.blur:
            blurred = gaussian_blur(images, draw.uniform(0.1, 2.0))
            images = torch.where(_per_image(draw.chance(self.blur)), blurred, images)
        return images

    def _geometry(self, images: torch.Tensor, draw: _Draw) -> torch.Tensor:
        area = draw.uniform(*self.crop_area)
        ratio = draw.uniform(*(math.log(r) for r in self.aspect_ratio)).exp()
        size = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=1).clamp(max=1)
        position = torch.stack([draw.uniform(-1, 1), draw.uniform(-1, 1)], dim=1)
        limit = math.radians(self.degrees)
        angle = draw.uniform(-limit, limit) if self.degrees else None
        return crop(images, position * (1 - size), size, draw.chance(self.flip), angle)

    def _colors(self, images: torch.Tensor, draw: _Draw) -> torch.Tensor:
        images = adjust_brightness(images, draw.around_one(self.brightness))
        images = adjust_contrast(images, draw.around_one(self.contrast))
        if images.shape[1] == 3:
            images = adjust_saturation(images, draw.around_one(self.saturation))
            images = adjust_hue(images, draw.uniform(-self.hue, self.hue))
        return images


class ColumnCorruption:
    """Replace entries of a table by entries of the same column from other rows of the batch.

    Called as ``corruption(rows, generator)`` with rows of shape (n, n_features).

    Parameters
    ----------
    rate : float
        Probability that an entry is replaced.
    """

    def __init__(self, rate: float = 0.3):
        self.rate = rate

    def __call__(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, device = len(rows), rows.device
        donors = torch.randint(n, rows.shape, generator=generator, device=device)
        replaced = torch.rand(rows.shape, generator=generator, device=device) < self.rate
        return torch.where(replaced, rows.gather(0, donors), rows)


class _Draw:
    """Random numbers, one per sample, from a local generator."""

    def __init__(self, n: int, generator: torch.Generator):
        self.n = n
        self.generator = generator

    def uniform(self, low: float, high: float) -> torch.Tensor:
        unit = torch.rand(self.n, generator=self.generator, device=self.generator.device)
        return low + (high - low) * unit

    def around_one(self, spread: float) -> torch.Tensor:
        return self.uniform(max(0.0, 1 - spread), 1 + spread)

    def chance(self, probability: float) -> torch.Tensor:
        return self.uniform(0.0, 1.0) < probability
