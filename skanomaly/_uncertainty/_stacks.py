"""What the networks are trained on: the embeddings of each network's samples, side by side."""

from __future__ import annotations

import numpy as np

from ._variance_networks import VarianceNetworks


def stack_embeddings(
    embeddings: np.ndarray, index: np.ndarray, networks: VarianceNetworks
) -> np.ndarray:
    """Each network's own columns of its own samples, within the bounds of the networks.

    Parameters
    ----------
    embeddings : array (n_samples, n_views, n_features)
        Scaled.
    index : int array (n_networks, size)
        Samples of each network.
    networks : VarianceNetworks
        On the CPU.

    Returns
    -------
    stacks : float32 array (size, n_networks, n_views, n_columns)
    """
    columns, low, high = (
        values.numpy() for values in (networks.columns, networks.low, networks.high)
    )
    taken = [
        embeddings[rows][..., own].clip(low[own], high[own])
        for rows, own in zip(index, columns, strict=True)
    ]
    return np.stack(taken, axis=1).astype(np.float32)
