"""Networks from an embedding to the variance of its distribution (f1 of DUM section 3)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

from .._training import scoring_device
from ._row_sampling import bounds, draw_columns

SCORING_VALUES = 2**18  # of a layer of all networks that are held at once; fits the cache of a core


class VarianceNetworks(nn.Module):
    """Fully connected networks of one shape, computed side by side.

    Outside the box between `low` and `high`, where nothing was trained, the variance is that of
    the nearest point of the box plus the squared distance to it, so that it grows without bounds.

    Parameters
    ----------
    columns : int tensor (n_networks, n_columns)
        Coordinates of the embedding that each network sees.
    low, high : tensor (n_features,)
        Bounds of the training samples.
    hidden_layers : sequence of int
        Widths of the hidden layers.
    n_outputs : int
        n_columns for diagonal covariances, 1 for circular ones.
    """

    columns: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(
        self,
        columns: torch.Tensor,
        low: torch.Tensor,
        high: torch.Tensor,
        hidden_layers: Sequence[int],
        n_outputs: int,
    ):
        super().__init__()
        self.register_buffer("columns", columns)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        n_networks, n_columns = columns.shape
        sizes = [n_columns, *hidden_layers, n_outputs]
        for n_in, n_out in pairwise(sizes):
            bound = 1 / math.sqrt(n_in)  # as of torch.nn.Linear
            self.weights.append(torch.empty(n_networks, n_in, n_out).uniform_(-bound, bound))
            self.biases.append(torch.empty(n_networks, 1, n_out).uniform_(-bound, bound))

    @property
    def n_networks(self) -> int:
        return len(self.weights[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-variances (n_networks, ..., n_outputs) of each network's columns of embeddings."""
        shape = (len(x), *(1,) * (x.ndim - 2), -1)
        low, high = (limit[self.columns].view(shape) for limit in (self.low, self.high))
        inside = torch.minimum(torch.maximum(x, low), high)
        log_variance = self._network(inside.flatten(1, -2)).unflatten(1, x.shape[1:-1])
        return self._grow(log_variance, (x - inside).abs())

    def of_embeddings(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Log-variances (n_networks, n, n_outputs) of whole embeddings (n, n_features)."""
        inside = embeddings.clamp(self.low, self.high)
        log_variance = self._network(self._take(inside))
        excess = (embeddings - inside).abs()
        return self._grow(log_variance, self._take(excess)) if excess.any() else log_variance

    def _take(self, embeddings: torch.Tensor) -> torch.Tensor:
        if (self.columns == self.columns[0]).all():  # then one copy serves all networks
            return embeddings[:, self.columns[0]].expand(self.n_networks, -1, -1)
        return embeddings[:, self.columns].transpose(0, 1)

    def _grow(self, log_variance: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
        if not excess.any():
            return log_variance
        added = 2 * excess.log()
        if log_variance.shape[-1] == 1:
            added = torch.logsumexp(added, -1, keepdim=True) - math.log(excess.shape[-1])
        return torch.logaddexp(log_variance, added)

    def _network(self, x: torch.Tensor) -> torch.Tensor:
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, torch.relu_(x) if i else x, weight)
        return x


def networks_state(networks: VarianceNetworks) -> dict[str, Any]:
    """Networks as plain arrays."""
    return {
        "columns": networks.columns.numpy(),
        "low": networks.low.numpy(),
        "high": networks.high.numpy(),
        "weights": [weight.detach().numpy() for weight in networks.weights],
        "biases": [bias.detach().numpy() for bias in networks.biases],
    }


def networks_of_state(state: dict[str, Any]) -> VarianceNetworks:
    """The networks that `networks_state` described."""
    columns, low, high = (
        torch.from_numpy(np.array(state[name])) for name in ("columns", "low", "high")
    )
    networks = VarianceNetworks(columns, low, high, (), 0)
    for name in ("weights", "biases"):
        values = [nn.Parameter(torch.from_numpy(np.array(w))) for w in state[name]]
        setattr(networks, name, nn.ParameterList(values))
    return networks.eval()


def make_networks(
    scaled: np.ndarray,
    n_networks: int,
    max_features: int | None,
    hidden_layers: Sequence[int],
    covariance: str,
    random_state: np.random.RandomState,
) -> VarianceNetworks:
    """Networks for scaled embeddings (n, n_features), each for random coordinates of them."""
    columns = draw_columns(scaled.shape[1], n_networks, max_features, random_state)
    low, high = (torch.from_numpy(limit.astype(np.float32)) for limit in bounds(scaled))
    n_outputs = columns.shape[1] if covariance == "diag" else 1
    return VarianceNetworks(torch.from_numpy(columns), low, high, hidden_layers, n_outputs)


def log_variances(
    networks: VarianceNetworks, embeddings: np.ndarray, device: str
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Slices of the embeddings and the log-variances (n_networks, n, n_outputs) of them.

    Computed in float64, so that those of a sample do not depend on its batch.
    """
    resolved = scoring_device(device)
    networks = copy.deepcopy(networks).to(resolved, torch.float64)
    widest = max(width for weight in networks.weights for width in weight.shape[1:])
    size = max(1, SCORING_VALUES // (networks.n_networks * widest))
    with torch.inference_mode():
        for rows in gen_batches(len(embeddings), size):
            batch = torch.from_numpy(embeddings[rows]).to(resolved, torch.float64)
            yield rows, networks.of_embeddings(batch)


def mean_of_columns(networks: VarianceNetworks, log_variance: torch.Tensor) -> torch.Tensor:
    """Mean (n, n_features) of the networks' log-variances of each coordinate, or (n, 1)."""
    if log_variance.shape[-1] == 1:
        return log_variance.mean(0)
    columns = networks.columns.to(log_variance.device)
    n_features = int(columns.max()) + 1  # each is in one network at least
    sums = log_variance.new_zeros(log_variance.shape[1], n_features)
    for own, values in zip(columns, log_variance, strict=True):
        sums[:, own] += values
    return sums / columns.flatten().bincount()


def log_norm(log_variance: torch.Tensor, order: float) -> torch.Tensor:
    """Logarithm of the Schatten norm of a diagonal covariance, from its log-variances.

    Orders 2 and infinity are the Frobenius and the spectral norm.
    """
    if math.isinf(order):
        return log_variance.amax(-1)
    return torch.logsumexp(order * log_variance, -1) / order
