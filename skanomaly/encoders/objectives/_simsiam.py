"""SimSiam with the two normalisations of NSA (sections 2.3 and 2.4)."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity, normalize

from ._base import Objective, make_head


class SimSiam(Objective):
    """Each view's prediction must point where the other view's projection points.

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    normalize_embedding : bool
        Divide the embedding by its norm before the projector ("normalise f", section 2.3).
    normalize_projection : bool
        Divide the projection by its norm before the predictor ("normalise g", section 2.4): the
        projector then receives the norm-removing gradient that the stop-gradient would block.
    hidden_dim, projection_dim : int
        Widths of the hidden layers and of the projection.
    """

    def __init__(
        self,
        embedding_dim: int,
        *,
        normalize_embedding: bool = True,
        normalize_projection: bool = True,
        hidden_dim: int = 256,
        projection_dim: int = 128,
    ):
        super().__init__()
        self.normalize_embedding = normalize_embedding
        self.normalize_projection = normalize_projection
        self.projector = make_head(embedding_dim, hidden_dim, projection_dim, n_layers=3)
        self.predictor = make_head(projection_dim, hidden_dim, projection_dim, n_layers=3)

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """Projection z of embeddings y, shape (n, projection_dim)."""
        y = normalize(embedding) if self.normalize_embedding else embedding
        z = self.projector(y)
        return normalize(z) if self.normalize_projection else z

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Symmetric loss in [-1, 1] of equation (1); rows i and n + i are views of sample i."""
        z1, z2 = self.project(embedding).chunk(2)
        p1, p2 = self.predictor(torch.cat([z1, z2])).chunk(2)
        agreement = cosine_similarity(p1, z2.detach()) + cosine_similarity(p2, z1.detach())
        return -agreement.mean() / 2
