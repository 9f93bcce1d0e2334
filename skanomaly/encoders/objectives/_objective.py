"""What every objective is, and the perceptrons that it is made of."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize


class Objective(nn.Module):
    """Base class: a projector with the normalisations of NSA, to which a subclass adds a loss.

    A subclass defines ``forward(embedding)``: the scalar loss, a mean over samples, of embeddings
    (2n, embedding_dim), whose rows i and n + i are views of sample i. It may replace
    ``self.projector`` and add modules of its own.

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    normalize_embedding : bool
        Divide the embedding by its norm before the projector ("normalise f", section 2.3).
    normalize_projection : bool
        Divide the projection by its norm ("normalise g", section 2.4).
    hidden_dim, projection_dim : int
        Widths of the projector's hidden layers and of the projection.
    n_layers : int
        Depth of the projector.

    Attributes
    ----------
    target_momentum : float or None
        Not None: ``forward(embedding, target)`` also gets the projections (2n, projection_dim)
        of a copy of the network that follows it with this momentum at first, and 1 at the end.
    shifted : bool
        Views are of each image in its four rotations by 90 degrees: n is four times the number of
        images, and i, i + n/4, i + n/2 and i + 3n/4 are the same image.
    """

    target_momentum: float | None = None
    shifted = False

    projector: nn.Sequential  # its children are the layers head_layer_1, head_layer_2, ...

    def __init__(
        self,
        embedding_dim: int,
        *,
        normalize_embedding: bool = True,
        normalize_projection: bool = True,
        hidden_dim: int = 256,
        projection_dim: int = 128,
        n_layers: int = 3,
    ):
        super().__init__()
        self.normalize_embedding = normalize_embedding
        self.normalize_projection = normalize_projection
        self.projector = make_head(embedding_dim, hidden_dim, projection_dim, n_layers)

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """Projections z (n, projection_dim) of embeddings (n, embedding_dim)."""
        y = normalize(embedding) if self.normalize_embedding else embedding
        z = self.projector(y)
        return normalize(z) if self.normalize_projection else z


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
