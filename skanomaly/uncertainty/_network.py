"""Networks from an embedding to the variance of its distribution (f1 of DUM section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class VarianceNetworks(nn.Module):
    """Fully connected networks of one shape, computed side by side.

    Outside the box between `low` and `high`, where nothing was trained, the variance is that of
    the nearest point of the box plus the squared distance to it, so that it grows without bounds.

    Parameters
    ----------
    low, high : tensor (n_features,)
        Bounds of the training samples.
    n_networks : int
        Number of networks.
    hidden_layers : sequence of int
        Widths of the hidden layers.
    n_outputs : int
        n_features for diagonal covariances, 1 for circular ones.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(
        self,
        low: torch.Tensor,
        high: torch.Tensor,
        n_networks: int,
        hidden_layers: Sequence[int],
        n_outputs: int,
    ):
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        sizes = [len(low), *hidden_layers, n_outputs]
        for n_in, n_out in pairwise(sizes):
            bound = 1 / math.sqrt(n_in)  # as of torch.nn.Linear
            self.weights.append(torch.empty(n_networks, n_in, n_out).uniform_(-bound, bound))
            self.biases.append(torch.empty(n_networks, 1, n_out).uniform_(-bound, bound))

    @property
    def n_networks(self) -> int:
        return len(self.weights[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-variances (n_networks, ..., n_outputs) of embeddings (n_networks, ..., n_features).

        A first dimension of 1 stands for the same embeddings for each network.
        """
        inside = torch.minimum(torch.maximum(x, self.low), self.high)
        log_variance = self._network(inside.flatten(1, -2)).unflatten(1, x.shape[1:-1])
        excess = (x - inside).abs()
        if not excess.any():
            return log_variance
        if log_variance.shape[-1] == 1:
            excess = excess.square().mean(-1, keepdim=True).sqrt()
        return torch.logaddexp(log_variance, 2 * excess.log())

    def _network(self, x: torch.Tensor) -> torch.Tensor:
        hidden = x.expand(self.n_networks, -1, -1)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, torch.relu(hidden) if i else hidden, weight)
        return hidden


def log_norm(log_variance: torch.Tensor, order: float) -> torch.Tensor:
    """Logarithm of the Schatten norm of a diagonal covariance, from its log-variances.

    Orders 2 and infinity are the Frobenius and the spectral norm.
    """
    if math.isinf(order):
        return log_variance.amax(-1)
    return torch.logsumexp(order * log_variance, -1) / order
