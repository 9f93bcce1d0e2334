"""The pretext task: samples on the device, two views of each, and the loss of a batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ._augmentations import ColumnCorruption, ImageAugmentation
from ._features import EncoderNetwork

STANDARDISATION_SAMPLES = 10_000  # images looked at for the channels' mean and spread


class PretextTask(nn.Module):
    """Loss of a batch of views; what else is worth recording goes along."""

    def __init__(self, network: EncoderNetwork):
        super().__init__()
        self.network = network

    def forward(self, views: torch.Tensor) -> dict[str, torch.Tensor]:
        embedding = self.network(views)
        with torch.no_grad():
            directions = nn.functional.normalize(embedding.detach().float())
            spread = directions.std(dim=0).mean() * embedding.shape[1] ** 0.5
        return {"loss": self.network.objective(embedding), "embedding_std": spread}


class ViewMaker:
    """Two random views of each indexed sample, stacked; all samples stay on the device."""

    def __init__(self, X: np.ndarray, augment: Callable, generator: torch.Generator):
        self.samples = to_device(X, generator.device)
        self.augment = augment
        self.generator = generator

    def __call__(self, indices: torch.Tensor) -> torch.Tensor:
        batch = as_float(self.samples[torch.cat([indices, indices])])
        return self.augment(batch, self.generator)


def default_augmentation(X: np.ndarray) -> Callable:
    return ColumnCorruption() if X.ndim == 2 else ImageAugmentation()


def standardisation(X: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation per channel of images; tables are standardised already."""
    if X.ndim == 2:
        return torch.zeros(1), torch.ones(1)
    step = max(1, len(X) // STANDARDISATION_SAMPLES)
    some = as_float(to_device(X[::step], torch.device("cpu")))
    scale, center = torch.std_mean(some, dim=(0, 2, 3), keepdim=True)
    return center, torch.where(scale > 0, scale, 1.0)


def to_device(X: np.ndarray, device: torch.device) -> torch.Tensor:
    # a copy: torch accepts neither read-only arrays, such as memmaps, nor negative strides
    samples = torch.from_numpy(np.array(X, order="C")).to(device)
    return samples.to(memory_format=torch.channels_last) if samples.ndim == 4 else samples


def as_float(batch: torch.Tensor) -> torch.Tensor:
    return batch.float() / 255 if batch.dtype == torch.uint8 else batch
