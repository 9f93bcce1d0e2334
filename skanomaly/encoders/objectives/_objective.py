"""What every objective is, and the perceptrons that it is made of."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize


class Objective(nn.Module):
    """Base class of the objectives: a projector with the two normalisations of NSA [1]_.

    A subclass defines ``forward(embedding)``, which returns the loss: a scalar, the mean over the
    samples. The embeddings have the shape (2n, embedding_dim), and rows i and n + i are the two
    views of sample i. A subclass may replace ``self.projector`` and add other modules.

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    normalize_embedding : bool, default=True
        Divide the embedding by its norm before the projector ("normalise f", section 2.3).
    normalize_projection : bool, default=True
        Divide the projection by its norm ("normalise g", section 2.4).
    hidden_dim : int, default=256
        Width of the hidden layers of the projector.
    projection_dim : int, default=128
        Width of the projection.
    n_layers : int, default=3
        Number of layers of the projector.

    Attributes
    ----------
    target_momentum : float or None
        If it is not None, ``forward(embedding, target)`` also gets the projections
        (2n, projection_dim) of a target network, whose weights are a moving average of the
        trained ones. The momentum has this value at first and rises to 1.
    shifted : bool
        If true, there are views of each image in its four rotations by 90 degrees: n is four times
        the number of images, and i, i + n/4, i + n/2 and i + 3n/4 are the same image.

    See Also
    --------
    SimCLR, ShiftedSimCLR, SimSiam, BYOL : The objectives that have names.

    References
    ----------
    .. [1] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA):
       compact distributions for robust self-supervised anomaly detection", 2022.
       https://arxiv.org/abs/2203.10344
    """

    target_momentum: float | None = None
    shifted = False
    source: dict | None = None  # what `make_objective` made it of, if it has a name

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
