"""SimSiam with the two normalisations of NSA (sections 2.3 and 2.4)."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from ._objective import Objective, make_head


class SimSiam(Objective):
    """Each view's prediction must point where the other view's projection points.

    With `normalize_projection` the projector receives the norm-removing gradient that the
    stop-gradient would block (section 2.4).

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    hidden_dim, projection_dim : int
        Widths of the hidden layers and of the projection.
    **options
        As of :class:`Objective`.
    """

    def __init__(
        self, embedding_dim: int, *, hidden_dim: int = 256, projection_dim: int = 128, **options
    ):
        super().__init__(
            embedding_dim, hidden_dim=hidden_dim, projection_dim=projection_dim, **options
        )
        self.predictor = make_head(projection_dim, hidden_dim, projection_dim, n_layers=3)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Symmetric loss in [-1, 1] of equation (1); rows i and n + i are views of sample i."""
        z = self.project(embedding)
        return prediction_loss(self.predictor(z), z)


def prediction_loss(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Minus the mean cosine of each view's prediction and the other view's target."""
    p1, p2 = predictions.chunk(2)
    z1, z2 = targets.detach().chunk(2)
    return -(cosine_similarity(p1, z2) + cosine_similarity(p2, z1)).mean() / 2
