"""Concentration of directions: the maximum-likelihood fit of a von Mises-Fisher distribution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from ._embedding_checks import directions

# enough for full precision of every kappa and every d from 2 on
N_TERMS = 80
# squared distance within which directions are the same: what scaling to length 1 rounds
ROUNDING = (4 * np.finfo(np.float64).eps) ** 2


def concentration(X: ArrayLike) -> float:
    r"""Concentration :math:`\kappa` of the directions of the rows of X (NSA section 2.2).

    The maximum-likelihood fit of a von Mises-Fisher distribution: with R the length of the mean of
    the directions, :math:`\kappa` is the solution of

    .. math:: A_d(\kappa) = \frac{I_{d/2}(\kappa)}{I_{d/2-1}(\kappa)} = R

    The result is accurate even for directions that almost coincide: 1 - R is computed from their
    distances to the mean. Finite samples are never exactly uniform: n uniform directions have a
    :math:`\kappa` of about :math:`d / \sqrt n`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings, at least two, with at least two features. Lengths of rows do not matter.

    Returns
    -------
    kappa : float
        In [0, inf]: 0 if the directions cancel out, inf if they are all the same to rounding.

    Raises
    ------
    ValueError
        If X has fewer than two rows or columns, entries that are not finite, or a row of zeros.

    References
    ----------
    Banerjee, Dhillon, Ghosh and Sra, "Clustering on the unit hypersphere using von Mises-Fisher
    distributions", JMLR 2005, whose approximation in closed form is up to 6% off for d = 2 and
    0.03% for d = 512.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly.diagnostics import concentration
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> print(f"{concentration(X):.2f} {concentration(X + [5, 0, 0]):.2f}")
    0.17 24.08
    """
    units = directions(X, "X", min_rows=2)
    first = units[0].copy()
    # of differences to one row no digits are lost, and they are all 0 if the rows are the same
    units -= first
    offset = units.mean(axis=0)
    units -= offset
    # 1 - R^2 is the mean squared distance to the mean
    deficit = float(np.vdot(units, units)) / len(units)
    return concentration_from_length(
        float(np.linalg.norm(first + offset)), len(first), deficit=deficit
    )


def concentration_from_length(R: float, d: int, *, deficit: float | None = None) -> float:
    """Solution kappa of A_d(kappa) = R.

    Parameters
    ----------
    R : float in [0, 1]
        Length of the mean direction.
    d : int
        Number of dimensions, at least 2.
    deficit : float, optional
        1 - R^2, if it is known better than R tells.
    """
    deficit = (1 - R) * (1 + R) if deficit is None else deficit
    if deficit <= ROUNDING:
        return math.inf
    # A / (1 - A) = kappa / q(kappa) has no digits to lose at either end, and q hardly varies
    odds = R * (1 + R) / deficit
    return odds * brentq(
        lambda scaled: scaled - _slope(odds * scaled, d), 0.49 * (d - 1), 1.01 * d, rtol=1e-14
    )


def _slope(kappa: float, d: int) -> float:
    """kappa (1 - A) / A with A = A_d(kappa), which falls from d at 0 to (d - 1) / 2 at infinity.

    By Perron's continued fraction (Gautschi and Slavik, "On the computation of modified Bessel
    function ratios", 1978), which converges fast where the one of Gauss does not.
    """
    tail = 0.0
    for n in range(N_TERMS, 0, -1):
        tail = (d + 2 * n - 1) * kappa / (d + n + 2 * kappa - tail)
    return d - tail
