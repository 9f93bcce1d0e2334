"""Angles between vectors, stable for near-duplicates and near-opposites alike."""

from __future__ import annotations

from ._array_api import Array, as_float64, by_blocks, namespace, vector_norm

SAFE = 1e-100, 1e100  # lengths whose squares neither vanish nor overflow


def unit_rows(X: Array) -> Array:
    """Rows of length 1 in float64, and zero for zero rows."""
    xp = namespace(X)
    X = as_float64(X)
    largest = xp.max(xp.abs(X), axis=-1, keepdims=True)
    if xp.any(largest < SAFE[0]) or xp.any(largest > SAFE[1]):
        X = X / xp.where(largest > 0, largest, xp.ones_like(largest))
    norms = vector_norm(X)
    return X / xp.where(norms > 0, norms, xp.ones_like(norms))


def directions(X: Array) -> Array:
    """Unit rows (n, d + 1) in float64; a zero row gets a direction of its own, the last axis.

    It is at a right angle to all others, and at 0 to other zero rows.
    """
    xp = namespace(X)

    def of_rows(rows: Array) -> Array:
        units = unit_rows(rows)
        is_zero = xp.all(units == 0, axis=-1, keepdims=True)
        return xp.concat([units, xp.astype(is_zero, xp.float64)], axis=-1)

    return by_blocks(of_rows, X)


def angle(u: Array, v: Array) -> Array:
    """Angle in radians, in [0, pi], between unit rows along the last axis (Kahan's formula).

    The arccos of the cosine would lose half of the digits of small angles. A zero vector is at
    pi / 2 from all others and at 0 from another zero vector.
    """
    xp = namespace(u)
    # |u - v| = |u + v| for one zero vector; two of them have arctan2(0, 0) = 0
    return 2 * xp.atan2(vector_norm(u - v), vector_norm(u + v))[..., 0]


def angle_of_chord(chord: Array) -> Array:
    """Angle in radians between unit vectors at a distance in [0, 2]."""
    xp = namespace(chord)
    return 2 * xp.atan2(chord, xp.sqrt(xp.abs(4 - chord * chord)))  # below 0 by rounding only
