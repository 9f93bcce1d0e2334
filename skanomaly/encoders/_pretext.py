"""The pretext task: two random views of each sample, and the objective's loss of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._training import Task, at_least_float32, distributed
from ._augmentations import ImageAugmentation, as_augmentation
from ._encoder_network import EncoderNetwork
from ._preprocessing import as_float


class PretextTask(Task):
    """Views of samples, their embeddings and the loss of a batch.

    Parameters
    ----------
    network : EncoderNetwork
        Backbone and objective.
    augment : callable
        ``augment(batch, generator)``, or ``augment(batch)``, returns a random view of each sample.
    """

    def __init__(self, network: EncoderNetwork, augment: Callable):
        super().__init__()
        self.network = network
        self.augment = as_augmentation(augment)
        self.target: EncoderNetwork | None = None
        if network.objective.target_momentum is not None:
            self.target = copy.deepcopy(network).requires_grad_(False)

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        # only the package's own augmentation can be drawn for samples that are not there
        return super().rows(index) if type(self.augment) is ImageAugmentation else index

    def prepare(self, samples: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
        """Two views of each sample of this process, of n in the whole batch."""
        samples = as_float(samples)
        if self.network.objective.shifted:
            samples = torch.cat([torch.rot90(samples, k, (2, 3)) for k in range(4)])
        views = torch.cat([samples, samples])
        if distributed.n_processes() == 1:
            return self._augment(views, generator)
        # every process draws for the whole batch, and so draws the same
        n_copies = 8 if self.network.objective.shifted else 2
        own = torch.arange(n, device=views.device)[distributed.share_of(n)]
        own = (own + n * torch.arange(n_copies, device=views.device)[:, None]).ravel()
        if type(self.augment) is not ImageAugmentation:
            return self._augment(views, generator)[own]
        drawn = self.augment.draw(n_copies * n, views.shape[1:], generator)
        return self.augment.apply(views, {name: values[own] for name, values in drawn.items()})

    def _augment(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        views = self.augment(images, generator)
        if len(views) != len(images):
            raise ValueError(
                f"augment returned {len(views)} views of {len(images)} samples; return one of each"
            )
        return views

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss of a batch of views, the spread of their directions and the mean direction."""
        embedding = self.network(batch)
        target = () if self.target is None else (self._project(batch),)
        # losses of half precision would be too coarse, and cost little
        with torch.autocast(batch.device.type, enabled=False):
            loss = self.network.objective(at_least_float32(embedding), *target)
        _check_loss(loss, self.network.objective)
        with torch.no_grad():
            directions = nn.functional.normalize(at_least_float32(embedding.detach()))
            deviation = distributed.standard_deviation(directions)
            spread = deviation.mean() * embedding.shape[1] ** 0.5
        return {"loss": loss, "embedding_std": spread, "mean_direction": directions.mean(dim=0)}

    def after_step(self, progress: float) -> None:
        """Let the target follow, if there is one."""
        if self.target is None:
            return
        slowest = 1 - float(self.network.objective.target_momentum or 0)
        momentum = 1 - slowest * (math.cos(math.pi * progress) + 1) / 2
        with torch.no_grad():
            pairs = zip(self.target.parameters(), self.network.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, 1 - momentum)

    def summarise(self, means: dict[str, torch.Tensor]) -> dict[str, float]:
        mean_direction = means.pop("mean_direction")
        return {
            **super().summarise(means),
            "kappa": concentration(float(mean_direction.norm()), len(mean_direction)),
        }

    @torch.no_grad()
    def _project(self, batch: torch.Tensor) -> torch.Tensor:
        assert self.target is not None
        embedding = self.target(batch)
        with torch.autocast(batch.device.type, enabled=False):
            return self.target.objective.project(at_least_float32(embedding))


def _check_loss(loss: Any, objective: nn.Module) -> None:
    """Refuse what an objective of the user's own returns if it cannot be minimised."""
    name = type(objective).__name__
    advice = "return a scalar tensor, the mean loss, computed from the embedding"
    if not isinstance(loss, torch.Tensor):
        raise TypeError(f"objective {name} returned a {type(loss).__name__}; {advice}")
    if loss.ndim > 0:
        shape = tuple(loss.shape)
        raise ValueError(f"objective {name} returned a tensor of shape {shape}; {advice}")
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ValueError(
            f"objective {name} returned a loss without a gradient; {advice}, without detach() or "
            "item()"
        )


def concentration(resultant: float, n_dimensions: int) -> float:
    """Concentration kappa of the von Mises-Fisher distribution with a mean direction that long.

    The approximation of Banerjee et al. (2005), which NSA's section 2.2 uses: 0 is uniform on the
    sphere, infinity a single direction.
    """
    if resultant >= 1:
        return math.inf
    return resultant * (n_dimensions - resultant**2) / (1 - resultant**2)
