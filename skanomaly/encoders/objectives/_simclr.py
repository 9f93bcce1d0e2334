"""SimCLR with the normalisation of NSA (section 2.3), and with shifted instances."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize

from ..._training.distributed import gather_rows
from ._objective import Objective


class SimCLR(Objective):
    """Tell the other view of the same sample from all other views of the batch (NT-Xent).

    `normalize_projection` has no effect: the loss compares directions only, and no stop-gradient
    hides the norm from the projector (section 3.1).

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    temperature : float
        Divides the cosine similarities.
    **options
        As of :class:`Objective`.
    """

    def __init__(self, embedding_dim: int, *, temperature: float = 0.2, **options):
        super().__init__(embedding_dim, **{"n_layers": 2, **options})
        self.temperature = temperature

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """NT-Xent loss over 2n views; rows i and n + i are views of sample i."""
        z = normalize(self.project(embedding))
        # negatives are the views of all processes
        everything, first = gather_rows(z)
        itself = torch.arange(first, first + len(z), device=z.device)
        similarity = z @ everything.T / self.temperature
        similarity = similarity.scatter(1, itself[:, None], -torch.inf)
        return cross_entropy(similarity, itself.roll(len(z) // 2))


class ShiftedSimCLR(SimCLR):
    """SimCLR(-): rotations of an image by 90, 180 and 270 degrees are negatives of it.

    The rotated images are samples of their own (Tack et al., 2020): the paper's "negative
    augmentations", for data whose orientation is part of being normal.
    """

    shifted = True
