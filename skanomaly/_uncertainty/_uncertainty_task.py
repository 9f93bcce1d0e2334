"""What the training loop trains: distributions of bags that agree with a target."""

from __future__ import annotations

import torch

from .._training import Task, at_least_float32, distributed
from ..encoders import RowViews, Views
from ._experts import product_of_experts
from ._losses import OBJECTIVES
from ._variance_networks import VarianceNetworks, log_norm

TRIM_FROM = 0.2  # of the training; before, the norms say little


class UncertaintyTask(Task):
    """Bags of samples or of views, their distributions and the objective of them.

    The samples are stacks (n, n_networks, 1 + n_views, n_features): one embedding for each
    network, and embeddings of views of it, if there are any.

    Parameters
    ----------
    networks : VarianceNetworks
        The networks that are trained, on the device.
    views : str, callable or None
        ``views(rows, generator)`` returns a random view of each row; or the name of a kind of
        `RowViews`, which stay within the bounds of the networks.
    objective : str
        Name of one of `OBJECTIVES`. "likelihood" takes bags of views of one sample, which is the
        target; the others pairs of bags of different samples, each the target of the other.
    bag_size : int
        Number m of experts in a bag.
    trim : float
        Share of the samples, those with the largest norms, that are left out of the loss.
    norm : float
        Order of the norm.
    sampled : bool
        Whether distributions stand in the objective with random draws instead of their means.
    """

    progress: torch.Tensor

    def __init__(
        self,
        networks: VarianceNetworks,
        views: str | Views | None,
        *,
        objective: str,
        bag_size: int,
        trim: float,
        norm: float,
        sampled: bool,
    ):
        super().__init__()
        self.networks = networks
        if isinstance(views, str):
            low, high = (limit[networks.columns] for limit in (networks.low, networks.high))
            views = RowViews(views, low[:, None], high[:, None])
        self.views = views
        self.objective = OBJECTIVES[objective]
        self.has_bags_of_views = objective == "likelihood"
        self.bag_size = bag_size
        self.trim = trim
        self.norm = norm
        self.sampled = sampled
        self.register_buffer("progress", torch.zeros(()))

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        # every process draws the views of the whole batch, and so draws the same
        return index

    def prepare(self, samples: torch.Tensor, n: int, generator: torch.Generator) -> torch.Tensor:
        """Embeddings (n_networks, n, 1 + n_drawn, n_features): the samples', then their views'."""
        n_drawn = self.bag_size if self.has_bags_of_views else 1
        clean, drawn = samples[:, :, :1], samples[:, :, :1]
        n_views = samples.shape[2] - 1
        if n_views:
            shape = (*samples.shape[:2], n_drawn)
            chosen = torch.randint(
                1, 1 + n_views, shape, generator=generator, device=samples.device
            )
            drawn = samples.take_along_dim(chosen[..., None], dim=2)
        drawn = drawn.expand(-1, -1, n_drawn, -1)
        if self.views is not None:
            drawn = self.views(drawn, generator)
        batch = torch.cat([clean, drawn], dim=2).transpose(0, 1)
        # trimmed and dealt into bags in every process alike, before each takes its share
        batch = self._most_certain(batch)
        if not self.has_bags_of_views:
            batch = self._pairs_of_bags(batch[:, :, 1])
        return batch[:, distributed.share_of(self.n_terms(n))].contiguous()

    def n_terms(self, n: int) -> int:
        """Samples that are not trimmed, or pairs of bags of them."""
        n_kept = self._n_kept(n)
        return n_kept if self.has_bags_of_views else n_kept // (2 * self._size_of_bags(n_kept))

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss, the sum over the networks, and the mean log-variance."""
        views = batch[:, :, 1:] if self.has_bags_of_views else batch
        log_variance = self.networks(views)
        with torch.autocast(batch.device.type, enabled=False):
            log_variance = at_least_float32(log_variance)
            mean, bag_log_variance = product_of_experts(views, log_variance, dim=-2)
            mean = self._draw(mean, bag_log_variance)
            if self.has_bags_of_views:
                target = batch[:, :, 0]
            else:
                mean, target = mean.unbind(2)
                bag_log_variance = bag_log_variance[:, :, 0]
            losses = self.objective(mean, bag_log_variance, target)
        # means, but 0 in a process that has no term of a small batch
        return {
            "loss": losses.sum() / max(1, losses.shape[1]),
            "log_variance": log_variance.sum() / max(1, log_variance.numel()),
        }

    def _n_kept(self, n: int) -> int:
        if not self.trim or self.progress < TRIM_FROM:
            return n
        return max(1 if self.has_bags_of_views else 2, round((1 - self.trim) * n))

    def _size_of_bags(self, n: int) -> int:
        return min(self.bag_size, n // 2)  # the last batch may be smaller

    def _most_certain(self, batch: torch.Tensor) -> torch.Tensor:
        """The batch without each network's least certain samples."""
        n_kept = self._n_kept(batch.shape[1])
        if n_kept == batch.shape[1]:
            return batch
        with torch.no_grad():
            norms = log_norm(at_least_float32(self.networks(batch[:, :, 0])), self.norm)
        kept = norms.argsort(dim=1)[:, :n_kept, None, None]
        return batch.take_along_dim(kept, dim=1)

    def _pairs_of_bags(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Disjoint bags of the samples, (n_networks, n_pairs, 2, bag_size, n_features)."""
        size = self._size_of_bags(embeddings.shape[1])
        n_pairs = embeddings.shape[1] // (2 * size)
        return embeddings[:, : 2 * size * n_pairs].unflatten(1, (n_pairs, 2, size))

    def _draw(self, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        if not self.sampled:
            return mean  # the expectation
        return mean + torch.exp(log_variance / 2) * torch.empty_like(mean).normal_()

    def after_step(self, progress: float) -> None:
        self.progress.fill_(progress)

    def summarise(self, means: dict[str, torch.Tensor]) -> dict[str, float]:
        means["loss"] = means["loss"] / self.networks.n_networks
        return super().summarise(means)
