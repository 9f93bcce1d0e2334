"""Whitening by a shrunk covariance, without ever forming a matrix larger than the data."""

from __future__ import annotations

import numpy as np
from scipy import linalg

# eigenvalues below this share of the largest are rounding noise (float64, Gram side included)
RANK_TOLERANCE = 1e-12
MAX_EXPONENT = 300  # of 2; squares of larger numbers could overflow


def _ledoit_wolf(eigenvalues: np.ndarray, squared_norms: np.ndarray, n_features: int) -> float:
    """Ledoit and Wolf's shrinkage from the covariance's spectrum and the rows' squared norms."""
    n_samples = len(squared_norms)
    mean = eigenvalues.sum() / n_features
    dispersion = (eigenvalues**2).sum()
    delta = dispersion - n_features * mean**2
    beta = ((squared_norms**2).sum() / n_samples - dispersion) / n_samples
    return float(np.clip(beta / delta, 0.0, 1.0)) if beta > 0 and delta > 0 else 0.0


def _oas(eigenvalues: np.ndarray, squared_norms: np.ndarray, n_features: int) -> float:
    """Oracle approximating shrinkage from the covariance's spectrum (Chen et al., 2010)."""
    n_samples = len(squared_norms)
    alpha = (eigenvalues**2).sum() / n_features**2
    squared_mean = (eigenvalues.sum() / n_features) ** 2
    denominator = (n_samples + 1.0) * (alpha - squared_mean / n_features)
    return 1.0 if denominator <= 0 else float(min((alpha + squared_mean) / denominator, 1.0))


SHRINKAGES = {"ledoit_wolf": _ledoit_wolf, "oas": _oas}


class Whitening:
    r"""The map x -> S^(-1/2) (x - origin) of NSA section 2.5, up to a rotation.

    S is the covariance of the fitted rows, shrunk towards a multiple of the identity:
    ``(1 - shrinkage) * S + shrinkage * trace(S) / d * I``. A rotation changes no angle, so that
    coordinates along the eigenvectors are returned. Outside the span of the fitted rows S is
    isotropic; all that a row has there is one more coordinate, its norm. With n < d samples the
    eigenvectors come from the n x n Gram matrix: cost and memory are linear in d.

    Parameters
    ----------
    shrinkage : {"ledoit_wolf", "oas"}, float in [0, 1] or None
        None is 0: directions in which the fitted rows do not vary are then ignored
        (pseudo-inverse).
    center : bool
        Subtract the mean first.
    """

    def __init__(self, shrinkage: str | float | None = "ledoit_wolf", center: bool = False):
        self.shrinkage = shrinkage
        self.center = center

    def fit(self, X: np.ndarray) -> Whitening:
        """Estimate mean and covariance of X (n, d), computed in float64."""
        n_features = X.shape[1]
        self.exponent_ = np.frexp(np.abs(X).max())[1]
        X = self._rescale(X)
        self.mean_ = X.mean(axis=0)
        centered = X - self.mean_
        squared_norms = np.einsum("ij,ij->i", centered, centered)
        eigenvalues, basis = _principal_axes(centered)
        if isinstance(self.shrinkage, str):
            shrinkage = SHRINKAGES[self.shrinkage](eigenvalues, squared_norms, n_features)
        else:
            shrinkage = float(self.shrinkage or 0.0)
        self.shrinkage_ = shrinkage
        floor = shrinkage * eigenvalues.sum() / n_features
        self.scale_outside_ = floor**-0.5 if floor > 0 else 0.0
        scale = ((1 - shrinkage) * eigenvalues + floor) ** -0.5
        if not self.center:
            basis, scale = self._add_mean_direction(basis, scale)
        self.basis_ = basis
        self.scale_ = scale
        return self

    def _rescale(self, X: np.ndarray) -> np.ndarray:
        """A float64 copy of X times the power of two that brings the fitted rows below 1.

        Rows that would still be extreme are scaled down further: only their direction matters.
        """
        exponents = np.frexp(np.abs(X).max(axis=1, keepdims=True))[1]
        return np.ldexp(X.astype(np.float64), np.minimum(-self.exponent_, MAX_EXPONENT - exponents))

    def _add_mean_direction(
        self, basis: np.ndarray, scale: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Uncentred rows leave the span of the centred ones along the mean only."""
        outside = self.mean_ - basis @ (basis.T @ self.mean_)
        norm = linalg.norm(outside)
        if norm <= RANK_TOLERANCE * linalg.norm(self.mean_) or self.scale_outside_ == 0.0:
            return basis, scale
        return np.column_stack([basis, outside / norm]), np.append(scale, self.scale_outside_)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Whitened coordinates, float64 of shape (n, rank + 1); the last one is never negative."""
        X = self._rescale(X)
        if self.center:
            X -= self.mean_
        inside = X @ self.basis_
        whitened = np.empty((len(X), inside.shape[1] + 1))
        np.multiply(inside, self.scale_, out=whitened[:, :-1])
        if self.scale_outside_ == 0.0 or self.basis_.shape[1] == X.shape[1]:
            whitened[:, -1] = 0.0
        else:
            # explicit residual: |x|^2 - |inside|^2 would lose half of the digits
            residual = X - inside @ self.basis_.T
            whitened[:, -1] = linalg.norm(residual, axis=1) * self.scale_outside_
        return whitened


def _principal_axes(centered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (r,) and eigenvectors (d, r) of the covariance of centred rows."""
    n_samples, n_features = centered.shape
    on_gram_side = n_samples < n_features
    product = centered @ centered.T if on_gram_side else centered.T @ centered
    eigenvalues, vectors = linalg.eigh(product / n_samples, overwrite_a=True, driver="evd")
    kept = eigenvalues > RANK_TOLERANCE * max(eigenvalues[-1], 0.0)
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    if on_gram_side:
        vectors = centered.T @ (vectors / np.sqrt(eigenvalues * n_samples))
    return eigenvalues, vectors
