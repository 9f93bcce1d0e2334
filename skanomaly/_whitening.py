"""Whitening by a shrunk covariance, without ever forming a matrix larger than the data."""

from __future__ import annotations

import functools
from numbers import Integral, Real

import numpy as np

from ._array_api import (
    BLOCK_BYTES,
    Array,
    as_float64,
    by_blocks,
    column_means,
    like,
    namespace,
    numpy_state,
    row_slices,
    to_numpy,
    vector_norm,
)
from ._moments import Moments
from ._sklearn_compat import Interval, RealNotInt, StrOptions

# eigenvalues below this share of the largest are rounding noise (float64, Gram side included)
RANK_TOLERANCE = 1e-12
LARGEST = 1e100  # times the training rows' largest entry; squares of larger numbers overflow


def _ledoit_wolf(eigenvalues: np.ndarray, fourth: float, n_samples: int, n_features: int) -> float:
    """Ledoit and Wolf's shrinkage from the covariance's spectrum.

    `fourth` is the sum of the fourth powers of the centred rows' lengths.
    """
    mean = eigenvalues.sum() / n_features
    dispersion = (eigenvalues**2).sum()
    delta = dispersion - n_features * mean**2
    beta = (fourth / n_samples - dispersion) / n_samples
    return float(np.clip(beta / delta, 0.0, 1.0)) if beta > 0 and delta > 0 else 0.0


def _oas(eigenvalues: np.ndarray, fourth: float, n_samples: int, n_features: int) -> float:
    """Oracle approximating shrinkage from the covariance's spectrum (Chen et al., 2010)."""
    alpha = (eigenvalues**2).sum() / n_features**2
    squared_mean = (eigenvalues.sum() / n_features) ** 2
    denominator = (n_samples + 1.0) * (alpha - squared_mean / n_features)
    return 1.0 if denominator <= 0 else float(min((alpha + squared_mean) / denominator, 1.0))


SHRINKAGES = {"ledoit_wolf": _ledoit_wolf, "oas": _oas}
WHITENING_CONSTRAINTS: dict = {
    "shrinkage": [StrOptions(set(SHRINKAGES)), Interval(Real, 0, 1, closed="both"), None],
    "n_components": [
        Interval(Integral, 1, None, closed="left"),
        Interval(RealNotInt, 0, 1, closed="neither"),
        None,
    ],
}


class Whitening:
    r"""The map x -> S^(-1/2) (x - origin) of NSA section 2.5, up to a rotation.

    S is the covariance of the fitted rows, shrunk towards a multiple of the identity:
    ``(1 - shrinkage) * S + shrinkage * trace(S) / d * I``. A rotation changes no angle, so the
    coordinates are along the eigenvectors. Outside the span of the fitted rows S is isotropic:
    all that a row has there becomes one more coordinate, its norm. With n < d samples the
    eigenvectors come from an n x n matrix: cost and memory are linear in d.

    Parameters
    ----------
    shrinkage : {"ledoit_wolf", "oas"}, float in [0, 1] or None
        None is 0: directions in which the fitted rows do not vary are then ignored
        (pseudo-inverse).
    center : bool
        Subtract the mean first.
    n_components : int, float in (0, 1) or None
        Eigenvectors that are kept, or the share of the variance that they hold; what rows have in
        other directions is then ignored. None keeps all.
    """

    def __init__(
        self,
        shrinkage: str | float | None = "ledoit_wolf",
        center: bool = False,
        n_components: int | float | None = None,
    ):
        self.shrinkage = shrinkage
        self.center = center
        self.n_components = n_components

    __getstate__ = numpy_state

    def fit(self, X: Array) -> Whitening:
        """Estimate mean and covariance of X (n, d), computed in float64.

        Raises
        ------
        ValueError
            If the rows do not vary, or do not have so many components.
        """
        n_samples, n_features = X.shape
        if n_samples >= n_features:
            blocks = row_slices(n_samples, 8 * n_features, BLOCK_BYTES)
            return self.fit_moments(
                functools.reduce(Moments.merge, (Moments.of(X[part, :]) for part in blocks))
            )
        xp = namespace(X)
        self.unit_ = float(xp.max(xp.abs(X))) or 1.0
        self._mean = column_means(X) / self.unit_
        centered = self._rescale(X) - self._mean
        fourth = float(xp.sum(xp.sum(centered * centered, axis=1) ** 2))
        # orthonormal whatever the scales, unlike products with eigenvectors of the Gram matrix
        basis, triangular = xp.linalg.qr(centered.T)
        del centered
        values, vectors = xp.linalg.eigh(triangular @ triangular.T / n_samples)
        return self._fit_axes(values, basis @ vectors, fourth, n_samples)

    def fit_moments(self, moments: Moments) -> Whitening:
        """As `fit`, from the moments of no fewer rows than columns."""
        self.unit_, self._mean = moments.unit, moments.mean
        xp = namespace(moments.product)
        values, vectors = xp.linalg.eigh(moments.product / moments.n_rows)
        return self._fit_axes(values, vectors, moments.fourth, moments.n_rows)

    def _fit_axes(self, values: Array, basis: Array, fourth: float, n_samples: int) -> Whitening:
        """From the covariance's eigenvalues (r,) and -vectors (d, r), ascending."""
        eigenvalues = to_numpy(values).clip(min=0)
        n_features = basis.shape[0]
        most = min(n_samples, n_features)
        if isinstance(self.n_components, Integral) and self.n_components > most:
            raise ValueError(
                f"n_components={self.n_components} is more than {n_samples} samples of "
                f"{n_features} features have; pass at most {most}"
            )
        if isinstance(self.shrinkage, str):
            shrinkage = SHRINKAGES[self.shrinkage](eigenvalues, fourth, n_samples, n_features)
        else:
            shrinkage = float(self.shrinkage or 0.0)
        self.shrinkage_ = shrinkage if shrinkage > RANK_TOLERANCE else 0.0
        floor = self.shrinkage_ * eigenvalues.sum() / n_features
        variances = (1 - self.shrinkage_) * eigenvalues + floor
        # without shrinkage, directions that the rows do not have are ignored
        rank = int((variances > RANK_TOLERANCE * eigenvalues[-1]).sum())
        kept = _count_components(self.n_components, eigenvalues[len(eigenvalues) - rank :])
        if kept == 0:
            raise ValueError(
                f"all {n_samples} samples are equal, there is no variance to whiten; "
                "pass whiten=False or samples that differ"
            )
        self.basis_ = basis[:, basis.shape[1] - kept :]
        scale = variances[len(variances) - kept :] ** -0.5
        # without n_components, of what is outside the span only the norm is kept
        keeps_outside = floor > 0 and self.n_components is None
        self.scale_outside_ = float(floor**-0.5) if keeps_outside else 0.0
        if keeps_outside and not self.center:
            self.basis_, scale = self._add_mean_direction(self.basis_, scale)
        self.scale_ = like(scale, basis)
        self.mean_ = self.transform(self._mean[None, :] * self.unit_)[0, :]
        return self

    def transform(self, X: Array) -> Array:
        """Whitened coordinates, float64; the last one is the norm outside of the span."""
        return by_blocks(self._transform, X)

    def _transform(self, X: Array) -> Array:
        xp = namespace(X)
        X = self._rescale(X)
        if self.center:
            X = X - self._mean
        inside = X @ self.basis_
        if self.scale_outside_ == 0.0 or self.basis_.shape[1] == X.shape[1]:
            outside = xp.zeros_like(X[:, :1])
        else:
            # explicit residual: |x|^2 - |inside|^2 would lose half of the digits
            outside = vector_norm(X - inside @ self.basis_.T) * self.scale_outside_
        return xp.concat([inside * self.scale_, outside], axis=1)

    def _rescale(self, X: Array) -> Array:
        """A float64 copy in units of the training rows' largest entry.

        Rows that would still be extreme are scaled down further: only their direction matters.
        """
        xp = namespace(X)
        X = as_float64(X) / self.unit_
        largest = xp.max(xp.abs(X), axis=1, keepdims=True)
        if xp.any(largest > LARGEST):
            X = X / xp.clip(largest / LARGEST, min=1.0)
        return X

    def _add_mean_direction(self, basis: Array, scale: np.ndarray) -> tuple[Array, np.ndarray]:
        """Uncentred rows leave the span of the centred ones along the mean only."""
        xp = namespace(basis)
        outside = self._mean
        for _ in range(2):  # rounding leaves some of a small rest inside the first time
            outside = outside - basis @ (basis.T @ outside)
        norm = float(vector_norm(outside)[0])
        if norm <= RANK_TOLERANCE * float(vector_norm(self._mean)[0]):
            return basis, scale
        basis = xp.concat([basis, (outside / norm)[:, None]], axis=1)
        return basis, np.append(scale, self.scale_outside_)


def _count_components(n_components: int | float | None, eigenvalues: np.ndarray) -> int:
    """How many of the ascending eigenvalues are kept."""
    rank = len(eigenvalues)
    if n_components is None:
        return rank
    if isinstance(n_components, Integral):
        return min(int(n_components), rank)
    share = np.cumsum(eigenvalues[::-1]) / eigenvalues.sum()
    return min(int(np.searchsorted(share, n_components)) + 1, rank)
