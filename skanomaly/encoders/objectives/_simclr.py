"""SimCLR with the normalisation of NSA (section 2.3), and with shifted instances."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize

from ..._training.distributed import gather_rows
from ._objective import Objective


class SimCLR(Objective):
    """SimCLR: find the other view of a sample among all views of the batch.

    With projections z of the 2n views, cosine similarities s(i, j) and temperature t, the loss of
    view i, whose other view is j, is NT-Xent [1]_::

        -log( exp(s(i, j) / t) / sum over k != i of exp(s(i, k) / t) )

    `normalize_projection` has no effect, because the loss compares directions only and has no
    stop-gradient (section 3.1 of [2]_).

    Parameters
    ----------
    embedding_dim : int
        Width of the backbone's embedding.
    temperature : float, default=0.2
        Divides the cosine similarities.
    **options
        Parameters of :class:`Objective`.

    See Also
    --------
    ShiftedSimCLR : Rotated images are negatives as well.
    SimSiam : Needs no negatives.

    References
    ----------
    .. [1] T. Chen, S. Kornblith, M. Norouzi and G. Hinton, "A Simple Framework for Contrastive
       Learning of Visual Representations", ICML 2020. https://arxiv.org/abs/2002.05709
    .. [2] M. Yousef, M. Ackermann, U. Kurup and T. Bishop, "No Shifted Augmentations (NSA):
       compact distributions for robust self-supervised anomaly detection", 2022.
       https://arxiv.org/abs/2203.10344
    """

    def __init__(self, embedding_dim: int, *, temperature: float = 0.2, **options):
        super().__init__(embedding_dim, **{"n_layers": 2, **options})
        self.temperature = temperature

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        """NT-Xent loss over 2n views; rows i and n + i are views of sample i."""
        return nt_xent(normalize(self.project(embedding)), self.temperature)


def nt_xent(directions: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of finding the other view among the views of all processes."""
    everything, first = gather_rows(directions)
    itself = torch.arange(first, first + len(directions), device=directions.device)
    similarity = directions @ everything.T / temperature
    similarity = similarity.scatter(1, itself[:, None], -torch.inf)
    return cross_entropy(similarity, itself.roll(len(directions) // 2))


class ShiftedSimCLR(SimCLR):
    """SimCLR(-): rotations of an image by 90, 180 and 270 degrees are negatives of it.

    The rotated images are treated as samples of their own [1]_. Use it when the orientation is
    part of what makes an image normal.

    See Also
    --------
    SimCLR : The parameters are the same.

    References
    ----------
    .. [1] J. Tack, S. Mo, J. Jeong and J. Shin, "CSI: Novelty Detection via Contrastive Learning
       on Distributionally Shifted Instances", NeurIPS 2020. https://arxiv.org/abs/2007.08176
    """

    shifted = True
