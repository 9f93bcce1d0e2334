"""What every objective is, and the perceptrons that it is made of."""

from __future__ import annotations

import torch
from torch import nn


class Objective(nn.Module):
    """Maps the embeddings of two views of a batch to a loss.

    ``forward(embedding)`` returns the scalar loss of embeddings (2n, embedding_dim), whose rows i
    and n + i are views of the same sample.
    """

    projector: nn.Sequential  # its children are the layers head_layer_1, head_layer_2, ...

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """Pass embeddings (n, embedding_dim) through the projector."""
        raise NotImplementedError


def make_head(in_dim: int, hidden_dim: int, out_dim: int, n_layers: int) -> nn.Sequential:
    """Fully connected layers with batch normalisation; the last one is linear.

    Each child of the returned module is one layer, so that its output can serve as the feature
    map ``head_layer_n``.
    """
    widths = [in_dim] + [hidden_dim] * (n_layers - 1) + [out_dim]
    layers: list[nn.Module] = []
    for i in range(n_layers - 1):
        layers.append(
            nn.Sequential(
                nn.Linear(widths[i], widths[i + 1], bias=False),
                nn.BatchNorm1d(widths[i + 1]),
                nn.ReLU(inplace=True),
            )
        )
    layers.append(nn.Linear(widths[-2], widths[-1]))
    return nn.Sequential(*layers)
