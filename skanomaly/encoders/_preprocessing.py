"""From samples to what a backbone takes."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .._training import to_device

STANDARDISATION_VALUES = 50_000_000  # of pixels looked at for the channels' mean and spread
MAX_DEVIATIONS = 1e6  # values of tables further from the mean than this are all alike


class Preprocessing(nn.Module):
    """Resize images, repeat gray ones as colours, and standardise: (x - center) / scale.

    Parameters
    ----------
    center, scale : sequence of float
        One value for each channel, or one for all.
    image_size : (height, width), optional
        Size to which images are resized.
    """

    center: torch.Tensor
    scale: torch.Tensor

    def __init__(self, center=(0.0,), scale=(1.0,), image_size: tuple[int, int] | None = None):
        super().__init__()
        self.image_size = image_size
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    @classmethod
    def of(cls, X: np.ndarray) -> Preprocessing:
        """With the mean and spread of each channel of images; tables are standardised already."""
        if X.ndim == 2:
            return cls()
        step = -(-X.size // STANDARDISATION_VALUES)
        some = as_float(to_device(X[::step], torch.device("cpu")))
        scale, center = torch.std_mean(some, dim=(0, 2, 3))
        return cls(center, torch.where(scale > 0, scale, 1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim == 2:
            return (x - self.center) / self.scale
        if self.image_size is not None and x.shape[2:] != self.image_size:
            x = nn.functional.interpolate(
                x, self.image_size, mode="bilinear", align_corners=False, antialias=True
            )
        center, scale = (values.view(1, -1, 1, 1) for values in (self.center, self.scale))
        return (x - center).div_(scale)  # one channel becomes as many as there are centers


def as_float(batch: torch.Tensor) -> torch.Tensor:
    """Images of uint8 as floats in [0, 1]; others as they are."""
    return batch.float().div_(255) if batch.dtype == torch.uint8 else batch
