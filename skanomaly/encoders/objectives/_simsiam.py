"""SimSiam with the two normalisations of NSA (sections 2.3 and 2.4)."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from ._objective import Objective, make_head


class SimSiam(Objective):
    """SimSiam: predict the direction of the other view's projection.

    With projections z1 and z2 of the two views [1]_, predictions p = h(z) and D the negative
    cosine similarity, the loss is equation (1) of [2]_::

        D(p1, stopgrad(z2)) / 2 + D(p2, stopgrad(z1)) / 2

    With `normalize_projection`, z is divided by its norm before the prediction. The projector then
    gets the gradient that removes its norm, which the stop-gradient would block (section 2.4
    of [2]_).

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    hidden_dim : int, default=256
        Width of the hidden layers.
    projection_dim : int, default=128
        Width of the projection.
    **options
        Parameters of :class:`Objective`.

    See Also
    --------
    BYOL : Predicts the projection of a slower copy of the network.
    SimCLR : Compares each view with all other views.

    References
    ----------
    .. [1] X. Chen and K. He, "Exploring Simple Siamese Representation Learning", CVPR 2021.
       https://arxiv.org/abs/2011.10566
    .. [2] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA):
       compact distributions for robust self-supervised anomaly detection", 2022.
       https://arxiv.org/abs/2203.10344
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
