"""Random views of a batch, computed on the batch's device with parameters of its own per sample."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from sklearn.utils import gen_batches

from .._training import SeededDraws, to_device
from ._image_operations import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    crop,
    gaussian_blur,
    per_image,
    to_gray,
)
from ._preprocessing import as_float
from ._row_views import ColumnCorruption

VIEW_BATCH = 256  # images whose views are drawn at once
CANDIDATES = 10  # crops drawn for each image, of which one must fit, as in torchvision


class ImageAugmentation:
    """Random crop, rotation, mirroring, colour jitter, grayscale and blur.

    The transformations are those of SimCLR [1]_, each with its own random parameters for every
    image. Call ``augmentation(images, generator)`` with images of shape
    (n, channels, height, width) in [0, 1]. Hue, saturation and grayscale are skipped for images
    with one channel.

    Parameters
    ----------
    crop_area : (float, float), default=(0.5, 1.0)
        Range of the area of the crop, as a share of the area of the image.
    aspect_ratio : (float, float), default=(3/4, 4/3)
        Range of the width of the crop divided by its height, both in pixels. It is drawn on a log
        scale.
    flip : float, default=0.5
        Probability of mirroring horizontally.
    vertical_flip : float, default=0.0
        Probability of mirroring vertically.
    degrees : float, default=0.0
        Angles of rotation are uniform in [-degrees, degrees].
    brightness, contrast, saturation : float, default=0.4
        Factors are uniform in [1 - value, 1 + value].
    hue : float, default=0.1
        Shifts are uniform in [-hue, hue], at most 0.5. A shift of 1 is a full turn of the colour
        circle.
    jitter : float, default=0.8
        Probability that brightness, contrast, saturation and hue of an image are changed.
    grayscale : float, default=0.2
        Probability that an image is converted to grayscale.
    blur : float, default=0.0
        Probability of a Gaussian blur with a standard deviation of 0.1 to 2 pixels.

    See Also
    --------
    ColumnCorruption : Random views of tables.

    References
    ----------
    .. [1] T. Chen, S. Kornblith, M. Norouzi and G. Hinton, "A Simple Framework for Contrastive
       Learning of Visual Representations", ICML 2020. https://arxiv.org/abs/2002.05709

    Examples
    --------
    >>> import torch
    >>> from skanomaly.encoders import ImageAugmentation
    >>> images = torch.rand(2, 3, 32, 48)
    >>> ImageAugmentation(flip=0.0)(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 32, 48])
    """

    def __init__(
        self,
        *,
        crop_area: tuple[float, float] = (0.5, 1.0),
        aspect_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        vertical_flip: float = 0.0,
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
        self.vertical_flip = vertical_flip
        self.degrees = degrees
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.jitter = jitter
        self.grayscale = grayscale
        self.blur = blur

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.apply(images, self.draw(len(images), images.shape[1:], generator))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in vars(self).items())
        return f"ImageAugmentation({options})"

    def draw(
        self, n: int, image_shape: Sequence[int], generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Parameters of n views: tensors of n rows, by the name of what they decide.

        `image_shape` is (channels, height, width).
        """
        n_channels, height, width = image_shape
        draw = _Draw(n, generator)
        size = self._draw_size(draw, width / height)
        position = torch.stack([draw.uniform(-1, 1), draw.uniform(-1, 1)], dim=1)
        drawn = {"size": size, "center": position * (1 - size)}
        if self.degrees:
            limit = math.radians(self.degrees)
            drawn["angle"] = draw.uniform(-limit, limit)
        drawn["flip"] = draw.chance(self.flip)
        if self.vertical_flip:
            drawn["vertical_flip"] = draw.chance(self.vertical_flip)
        drawn["brightness"] = draw.around_one(self.brightness)
        drawn["contrast"] = draw.around_one(self.contrast)
        if n_channels == 3:
            drawn["saturation"] = draw.around_one(self.saturation)
            drawn["hue"] = draw.uniform(-self.hue, self.hue)
        drawn["jitter"] = draw.chance(self.jitter)
        if self.grayscale and n_channels == 3:
            drawn["grayscale"] = draw.chance(self.grayscale)
        if self.blur:
            drawn["sigma"] = draw.uniform(0.1, 2.0)
            drawn["blur"] = draw.chance(self.blur)
        return drawn

    def _draw_size(self, draw: _Draw, image_ratio: float) -> torch.Tensor:
        """Width and height (n, 2) of crops as shares of the image's, as torchvision draws them.

        Of some candidates the first that fits into the image; if none does, the largest box of
        a ratio in the range, whatever its area.
        """
        area = draw.uniform(*self.crop_area, CANDIDATES)
        least, largest = self.aspect_ratio
        ratio = draw.uniform(math.log(least), math.log(largest), CANDIDATES).exp()
        ratio = ratio / image_ratio  # of shares
        sizes = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=2)
        fits = (sizes <= 1).all(dim=2)
        first = fits.int().argmax(dim=1)[:, None, None].expand(-1, 1, 2)
        nearest = min(max(image_ratio, least), largest) / image_ratio
        whole = sizes.new_tensor([min(1.0, nearest), min(1.0, 1 / nearest)])
        return torch.where(fits.any(dim=1)[:, None], sizes.gather(1, first)[:, 0], whole)

    def apply(self, images: torch.Tensor, drawn: dict[str, torch.Tensor]) -> torch.Tensor:
        """Views of images (n, channels, height, width) with parameters from ``draw``."""
        images = crop(
            images,
            drawn["center"],
            drawn["size"],
            drawn["flip"],
            drawn.get("angle"),
            drawn.get("vertical_flip"),
        )
        jittered = adjust_brightness(images, drawn["brightness"])
        jittered = adjust_contrast(jittered, drawn["contrast"])
        if "saturation" in drawn:
            jittered = adjust_saturation(jittered, drawn["saturation"])
            jittered = adjust_hue(jittered, drawn["hue"])
        images = torch.where(per_image(drawn["jitter"]), jittered, images)
        if "grayscale" in drawn:
            gray = to_gray(images).expand_as(images)
            images = torch.where(per_image(drawn["grayscale"]), gray, images)
        if "blur" in drawn:
            blurred = gaussian_blur(images, drawn["sigma"])
            images = torch.where(per_image(drawn["blur"]), blurred, images)
        return images


PRESETS: dict[str, Callable[[], ImageAugmentation]] = {
    # photographs: SimCLR's views with milder crops, as the whole object should stay in view
    "color": ImageAugmentation,
    # radiographs, gray products: brightness means something, so it changes less
    "grayscale": lambda: ImageAugmentation(brightness=0.2, contrast=0.4, blur=0.2),
    # digits, letters, signs: mirrored they would mean something else
    "digits": lambda: ImageAugmentation(flip=0.0, degrees=10.0, crop_area=(0.7, 1.0)),
    # surfaces have no upright position
    "texture": lambda: ImageAugmentation(
        crop_area=(0.25, 1.0), vertical_flip=0.5, degrees=45.0, brightness=0.2, hue=0.05
    ),
}


def make_augmentation(
    X: np.ndarray, augment: str | Callable | None, device: torch.device
) -> Callable:
    """A function that returns random views of batches of samples like X.

    Raises
    ------
    ValueError
        If `augment` is the name of views of images, and X is a table.
    """
    if isinstance(augment, str) and X.ndim == 2:
        raise ValueError(f"augment={augment!r} is for images; pass None or a callable")
    if isinstance(augment, torch.nn.Module):
        return copy.deepcopy(augment).to(device)
    if callable(augment):
        return augment
    return ColumnCorruption() if X.ndim == 2 else PRESETS[augment or "color"]()


def as_augmentation(augment: Callable) -> Callable[[torch.Tensor, torch.Generator], torch.Tensor]:
    """A function of images and generator; one of images alone draws from torch's generator."""
    function = augment.forward if isinstance(augment, torch.nn.Module) else augment
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # of functions that are not written in Python
        return lambda images, generator: augment(images)
    # modules of kornia have further arguments, but need none
    takes_generator = len(parameters) > 1 and not isinstance(augment, torch.nn.Module)
    if takes_generator or "generator" in parameters:
        return augment
    return lambda images, generator: augment(images)


def draw_views(
    X: np.ndarray, augment: str | Callable | None, n_views: int, seed: int
) -> Iterator[list[np.ndarray]]:
    """For each batch of images (n, channels, height, width) its `n_views` random views."""
    cpu = torch.device("cpu")
    generator = torch.Generator().manual_seed(seed)
    draws = SeededDraws(seed)  # of augmentations that take no generator
    random_view = as_augmentation(make_augmentation(X, augment, cpu))
    for rows in gen_batches(len(X), VIEW_BATCH):
        images = as_float(to_device(X[rows], cpu))
        with draws:
            views = [random_view(images, generator).clamp(0, 1).numpy() for _ in range(n_views)]
        yield views


class _Draw:
    """Random numbers, one per sample, from a local generator."""

    def __init__(self, n: int, generator: torch.Generator):
        self.n = n
        self.generator = generator

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        unit = torch.rand(self.n, *shape, generator=self.generator, device=self.generator.device)
        return low + (high - low) * unit

    def around_one(self, spread: float) -> torch.Tensor:
        return self.uniform(max(0.0, 1 - spread), 1 + spread)

    def chance(self, probability: float) -> torch.Tensor:
        return self.uniform(0.0, 1.0) < probability
