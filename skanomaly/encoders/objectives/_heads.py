"""Multi-layer perceptrons that project embeddings, and predict one projection from another."""

from __future__ import annotations

from torch import nn


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
