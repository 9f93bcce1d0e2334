"""What the norms of training samples would be if the samples were new."""

from __future__ import annotations

import numpy as np


def held_out_norms(norms: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Mean log-norm of each sample by the networks that were not trained on it.

    A new sample is scored by all K networks, a training sample by k of them. With b the variance
    between samples and s that of the networks about a sample, the means have the variances
    b + s / K and b + s / k. Each mean is therefore shrunk by the root of their ratio, since
    thresholds and p-values would else be those of noisier scores.

    Parameters
    ----------
    norms : float64 array (n_samples, n_networks)
        Log-norms.
    held_out : bool array (n_samples, n_networks)
        Which networks were not trained on each sample.

    Returns
    -------
    norms : float64 array (n_samples,)
        Of samples on which all networks were trained, the mean of all.
    """
    result = norms.mean(axis=1)
    chosen = held_out.any(axis=1)
    if not chosen.any():
        return result
    own = held_out[chosen]
    of_network = np.average(norms, axis=0, weights=held_out)
    deviations = np.where(own, norms[chosen] - of_network, 0)
    count = own.sum(axis=1)
    mean = deviations.sum(axis=1) / count
    residuals = np.where(own, deviations - mean[:, None], 0)
    within = np.square(residuals).sum() / max(1, (count - 1).sum())
    between = max(0.0, mean.var() - (within / count).mean())
    found, wanted = between + within / count, between + within / norms.shape[1]
    ratio = np.divide(wanted, found, out=np.ones(len(count)), where=found > 0)
    result[chosen] = of_network.mean() + np.sqrt(ratio) * mean
    return result
