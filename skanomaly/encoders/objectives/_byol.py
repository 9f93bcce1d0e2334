"""BYOL with the two normalisations of NSA (sections 2.3 and 2.4)."""

from __future__ import annotations

import torch

from ._simsiam import SimSiam, prediction_loss


class BYOL(SimSiam):
    """Each view's prediction must point where a slower copy of the network projects the other.

    The target's weights are an exponential moving average of the trained ones. Its momentum tau
    rises along a cosine, ``1 - (1 - target_momentum) (cos(pi k / K) + 1) / 2`` in step k of K, as
    in Grill et al. (2020).

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    target_momentum : float
        Momentum in the first step. 0.99 suits some thousand steps; the authors take 0.996 for
        hundreds of thousands.
    **options
        As of :class:`SimSiam`.
    """

    def __init__(self, embedding_dim: int, *, target_momentum: float = 0.99, **options):
        super().__init__(embedding_dim, **options)
        self.target_momentum = target_momentum

    def forward(self, embedding: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Symmetric loss in [-1, 1]; the authors' loss, a squared distance, is 2 plus twice it."""
        return prediction_loss(self.predictor(self.project(embedding)), target)
