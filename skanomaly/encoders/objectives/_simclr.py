"""SimCLR with the normalisation of NSA (section 2.3)."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize

from ._base import Objective, make_head


class SimCLR(Objective):
    """Tell the other view of the same sample from all other views of the batch (NT-Xent).

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    normalize_embedding : bool
        Divide the embedding by its norm before the projector ("normalise f", section 2.3).
    normalize_projection : bool
        Accepted for symmetry with SimSiam and without effect: the loss compares directions
        only, and no stop-gradient hides the norm from the projector (section 3.1).
    temperature : float
        Divides the cosine similarities.
    hidden_dim, projection_dim : int
        Widths of the hidden layer and of the projection.
    """

    def __init__(
        self,
        embedding_dim: int,
        *,
        normalize_embedding: bool = True,
        normalize_projection: bool = True,
        temperature: float = 0.2,
        hidden_dim: int = 256,
        projection_dim: int = 128,
    ):
        super().__init__()
        self.normalize_embedding = normalize_embedding
        self.temperature = temperature
        self.projector = make_head(embedding_dim, hidden_dim, projection_dim, n_layers=2)

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """Projection z of embeddings y, of norm one, shape (n, projection_dim)."""
        y = normalize(embedding) if self.normalize_embedding else embedding
        return normalize(self.projector(y))

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """NT-Xent loss over 2n views; rows i and n + i are views of sample i."""
        z = self.project(embedding)
        similarity = z @ z.T / self.temperature
        similarity.fill_diagonal_(-torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)
        return cross_entropy(similarity, partner)
