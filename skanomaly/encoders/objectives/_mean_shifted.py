"""The mean-shifted contrastive loss, for networks that were trained elsewhere."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from ..._training.distributed import gather_rows
from ._objective import Objective
from ._simclr import nt_xent


class MeanShifted(Objective):
    """Contrast the directions that views have as seen from the center of the normal samples.

    Plain contrastive learning drives the embeddings of a pretrained network apart and spoils it.
    Here the angle is at the center c, the mean direction of the embeddings, which is taken from
    the first batch and then stays [1]_. With f the directions of embeddings, the loss is::

        NT-Xent of (f - c) + mean |f - c|^2

    whose second term keeps them near the center. It is meant for a small learning rate and a
    pretrained backbone. There is no projector, so `normalize_projection` has no effect.

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    temperature : float, default=0.2
        Divides the cosine similarities. The authors use 0.25.
    **options
        Parameters of :class:`Objective`, which have no effect.

    See Also
    --------
    SimCLR : Contrasts the directions as seen from the origin.

    References
    ----------
    .. [1] T. Reiss and Y. Hoshen, "Mean-Shifted Contrastive Loss for Anomaly Detection", AAAI
       2023. https://arxiv.org/abs/2106.03844
    """

    center: torch.Tensor

    def __init__(self, embedding_dim: int, *, temperature: float = 0.2, **options):
        super().__init__(embedding_dim, **options)
        self.temperature = temperature
        self.projector = nn.Sequential()
        self.register_buffer("center", torch.zeros(embedding_dim))

    def project(self, embedding: torch.Tensor) -> torch.Tensor:
        """Directions relative to the center (n, embedding_dim)."""
        return normalize(embedding) - self.center

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """Loss over 2n views; rows i and n + i are views of sample i."""
        if not self.center.any():
            everything, _ = gather_rows(normalize(embedding.detach()))
            self.center.copy_(normalize(everything.mean(dim=0), dim=0))
        shifted = self.project(embedding)
        contrast = nt_xent(normalize(shifted), self.temperature)
        return contrast + shifted.square().sum(dim=1).mean()
