"""Products of Gaussian experts (DUM section 3)."""

from __future__ import annotations

import torch


def product_of_experts(
    means: torch.Tensor, log_variances: torch.Tensor, dim: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and log-variance of the normalised product of the Gaussians along `dim`.

    The mean is weighted by the precisions, which add up. Both are computed from logarithms, since
    precisions as numbers overflow.

    Parameters
    ----------
    means : tensor
        Means of the experts.
    log_variances : tensor
        Log-variances, of the shape of `means`, or with a last dimension of 1 that all coordinates
        share.
    dim : int
        Dimension along which the experts of a bag lie.
    """
    if means.shape[dim] == 1:  # nothing to multiply, nor to differentiate
        return means.squeeze(dim), log_variances.squeeze(dim)
    weights = torch.softmax(-log_variances, dim)
    return (weights * means).sum(dim), -torch.logsumexp(-log_variances, dim)
