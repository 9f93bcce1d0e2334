"""How far directions are from uniform on the sphere, and pairs of views from each other."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import hyp0f1
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import gen_batches

from .._sklearn_compat import Interval, validate_params
from ._embedding_checks import check_same_width, directions

TILE = 1024  # rows whose distances to as many others are in memory at once
MIN_BANDWIDTH = 0.05  # the closed form of its kernel does not overflow yet
MAX_T = 100  # the kernel does not vanish yet for opposite directions


@validate_params(
    {"bandwidth": [Interval(Real, MIN_BANDWIDTH, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def mmd_to_uniform(X: ArrayLike, *, bandwidth: float = math.sqrt(2)) -> float:
    r"""Squared maximum mean discrepancy of the directions of X to uniform (NSA section 2.2).

    Zero for directions that are uniform on the sphere, and the larger the more concentrated they
    are. With the kernel :math:`k(x, y) = \exp(-\|x - y\|^2 / (2 \sigma^2))` the unbiased estimate
    is

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} k(x_i, x_j) - \mathbb E_u k(x, u)

    The mean over uniform u has a closed form, so nothing is drawn at random. The time is quadratic
    in the number of rows; the memory is that of a float64 copy of X.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings, at least two, with at least two features. Lengths of rows do not matter.
    bandwidth : float, default=sqrt(2)
        :math:`\sigma`, at least 0.05. The default is the median distance of uniform directions, in
        any number of dimensions.

    Returns
    -------
    mmd : float
        At most 1. The estimate is unbiased: for uniform directions it is below 0 half of the time.

    Raises
    ------
    ValueError
        If X has fewer than two rows or columns, entries that are not finite, or a row of zeros, or
        if the bandwidth is out of range.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test", JMLR 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly.diagnostics import mmd_to_uniform
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> print(f"{mmd_to_uniform(X):.4f} {mmd_to_uniform(X + [5, 0, 0]):.4f}")
    0.0006 0.3287
    """
    units = directions(X, "X", min_rows=2)
    k = bandwidth**-2.0  # concentration of the kernel: exp(k (<x, y> - 1))
    to_uniform = math.exp(-k) * float(hyp0f1(units.shape[1] / 2, k**2 / 4))
    return _mean_kernel(units, k / 2) - to_uniform


@validate_params(
    {"t": [Interval(Real, 0, MAX_T, closed="right")]}, prefer_skip_nested_validation=True
)
def uniformity(X: ArrayLike, *, t: float = 2.0) -> float:
    r"""Uniformity of the directions of X: log of the mean over pairs of :math:`e^{-t \|x - y\|^2}`.

    The lower, the more uniform; 0 if all directions are the same. The time is quadratic in the
    number of rows; the memory is that of a float64 copy of X.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings, at least two, with at least two features. Lengths of rows do not matter.
    t : float, default=2
        In (0, 100].

    Returns
    -------
    uniformity : float
        In [-4 t, 0]. For uniform directions of many dimensions close to -2 t.

    Raises
    ------
    ValueError
        If X has fewer than two rows or columns, entries that are not finite, or a row of zeros, or
        if t is out of range.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skanomaly.diagnostics import uniformity
    >>> X = np.random.default_rng(0).normal(size=(1000, 3))
    >>> print(f"{uniformity(X):.2f} {uniformity(X + [5, 0, 0]):.2f}")
    -2.08 -0.28
    """
    return math.log(_mean_kernel(directions(X, "X", min_rows=2), t))


@validate_params(
    {"exponent": [Interval(Real, 0, None, closed="neither")]}, prefer_skip_nested_validation=True
)
def alignment(X: ArrayLike, Y: ArrayLike, *, exponent: float = 2.0) -> float:
    r"""Alignment of pairs of views: the mean of :math:`\|x - y\|^\alpha` of their directions.

    Parameters
    ----------
    X, Y : array-like of shape (n_samples, n_features)
        Embeddings of two views: row i of X and row i of Y are views of the same sample. Lengths of
        rows do not matter.
    exponent : float, default=2
        :math:`\alpha`, positive.

    Returns
    -------
    alignment : float
        In [0, 2 ** exponent]: 0 if views of a sample have the same direction.

    Raises
    ------
    ValueError
        If X and Y differ in shape, have no rows or fewer than two columns, entries that are not
        finite, or a row of zeros, or if the exponent is out of range.

    References
    ----------
    Wang and Isola, "Understanding contrastive representation learning through alignment and
    uniformity on the hypersphere", ICML 2020.

    Examples
    --------
    >>> from skanomaly.diagnostics import alignment
    >>> alignment([[2, 0], [0, 1]], [[1, 0], [0, -3]])
    2.0
    """
    difference, other = directions(X, "X"), directions(Y, "Y")
    check_same_width(difference, other, ("X", "Y"))
    if len(difference) != len(other):
        raise ValueError(
            f"X has {len(difference)} rows, but Y has {len(other)}; pass one view of each sample"
        )
    difference -= other
    return float(np.mean(np.linalg.norm(difference, axis=1) ** exponent))


def _mean_kernel(units: np.ndarray, t: float) -> float:
    """Mean of exp(-t |x - y|^2) over pairs of different rows."""
    n = len(units)
    total = 0.0
    for rows in gen_batches(n, TILE):
        for columns in gen_batches(n, TILE):
            if columns.start < rows.start:
                continue  # these pairs have been counted
            kernel = euclidean_distances(units[rows], units[columns], squared=True)
            np.exp(np.multiply(kernel, -t, out=kernel), out=kernel)
            total += float(np.sum(np.triu(kernel, 1) if rows == columns else kernel))
    return total / (n * (n - 1) / 2)
