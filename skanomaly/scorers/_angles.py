"""Angles between vectors, exact to rounding."""

from __future__ import annotations

from .._array_api import Array, as_float64, namespace, vector_norm

MAX_EXPONENT = 1000  # of 2; powers beyond it are not finite or not normal


def row_exponents(X: Array) -> Array:
    """Powers of two, (n, 1), that the largest entries of the rows of X are below."""
    xp = namespace(X)
    largest = as_float64(xp.max(xp.abs(X), axis=-1, keepdims=True))
    return xp.floor(xp.log2(xp.where(largest > 0, largest, xp.ones_like(largest)))) + 1


def unit_rows(X: Array) -> Array:
    """Rows of length 1 in float64, and zero for zero rows.

    Powers of two are divided out first, which rounds nothing, so that norms can neither overflow
    nor vanish.
    """
    xp = namespace(X)
    exponents = xp.clip(row_exponents(X), min=-MAX_EXPONENT, max=MAX_EXPONENT)
    X = as_float64(X) * xp.pow(xp.full_like(exponents, 2.0), -exponents)
    norms = vector_norm(X)
    return X / xp.where(norms > 0, norms, xp.ones_like(norms))


def angle(u: Array, v: Array) -> Array:
    """Angle in radians, in [0, pi], between unit rows along the last axis (Kahan's formula).

    Accurate to rounding for near-duplicates and near-opposites alike, where the arccos of the
    cosine loses half of the digits. A zero vector is at pi / 2 from all others and at 0 from
    another zero vector.
    """
    xp = namespace(u)
    # |u - v| = |u + v| for one zero vector; two of them have arctan2(0, 0) = 0
    return 2 * xp.atan2(vector_norm(u - v), vector_norm(u + v))[..., 0]
