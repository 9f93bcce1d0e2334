"""What the distribution of a bag is trained for.

Each objective takes the mean and the log-variance of a bag's distribution and the target, which is
the mean of another bag, or the sample itself of which the bag holds views. It returns a loss of
each bag.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

# of the variance of a standardised column: a view that happens to equal its sample is not
# evidence of more certainty than this
VARIANCE_FLOOR = 1e-3


def likelihood(mean, log_variance, target):
    """Minus twice the mean log-likelihood of the target's coordinates, up to a constant."""
    error = (target - mean).square()
    if log_variance.shape[-1] == 1:
        error = error.mean(-1, keepdim=True)
    return (log_variance + (error + VARIANCE_FLOOR) * torch.exp(-log_variance)).mean(-1)


def dot(mean, log_variance, target):
    """Minus the dot product, the printed objective (section 3)."""
    return -(mean * target).sum(-1)


def cosine(mean, log_variance, target):
    """Minus the cosine of the angle."""
    return -torch.cosine_similarity(mean, target, dim=-1)


def distance(mean, log_variance, target):
    """Mean squared difference of the coordinates."""
    return (mean - target).square().mean(-1)


Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
OBJECTIVES: dict[str, Loss] = {
    "likelihood": likelihood,
    "dot": dot,
    "cosine": cosine,
    "distance": distance,
}
