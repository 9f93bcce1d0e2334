"""BYOL with the two normalisations of NSA (sections 2.3 and 2.4)."""

from __future__ import annotations

import torch

from ._simsiam import SimSiam, prediction_loss


class BYOL(SimSiam):
    """BYOL: predict the direction in which a slower copy of the network projects the other view.

    The weights of the copy, the target network, are an exponential moving average of the trained
    ones [1]_. Its momentum rises along a cosine; in step k of K it is::

        1 - (1 - target_momentum) * (cos(pi * k / K) + 1) / 2

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    target_momentum : float, default=0.99
        Momentum in the first step. 0.99 works for a few thousand steps; the authors use 0.996 for
        hundreds of thousands.
    **options
        Parameters of :class:`SimSiam`.

    See Also
    --------
    SimSiam : Without a target network.

    References
    ----------
    .. [1] J.-B. Grill et al., "Bootstrap Your Own Latent: A New Approach to Self-Supervised
       Learning", NeurIPS 2020. https://arxiv.org/abs/2006.07733
    """

    def __init__(self, embedding_dim: int, *, target_momentum: float = 0.99, **options):
        super().__init__(embedding_dim, **options)
        self.target_momentum = target_momentum

    def forward(self, embedding: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Symmetric loss in [-1, 1]; the authors' loss, a squared distance, is 2 plus twice it."""
        return prediction_loss(self.predictor(self.project(embedding)), target)
