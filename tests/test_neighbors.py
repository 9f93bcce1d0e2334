"""Nearest neighbours by angle against an exhaustive search in extended precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skanomaly.scorers import _neighbors, _search
from skanomaly.scorers._angles import angle
from skanomaly.scorers._neighbors import AngularNeighbors


def exhaustive(queries, reference):
    """All angles, by the chord in long double."""
    u, v = (
        w.astype(np.longdouble) / np.linalg.norm(w.astype(np.longdouble), axis=1, keepdims=True)
        for w in (queries, reference)
    )
    chord = np.sqrt(((u[:, None] - v[None]) ** 2).sum(axis=2))
    return (2 * np.arcsin(np.clip(chord / 2, 0, 1))).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3])
def test_matches_an_exhaustive_search(rng, dtype, k):
    reference = rng.normal(size=(200, 8)).astype(dtype)
    queries = rng.normal(size=(50, 8)).astype(dtype)
    angles, indices = AngularNeighbors(reference).nearest(queries, k)
    expected = exhaustive(queries, reference)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_near_duplicates_are_told_apart(rng, dtype):
    """100 rows within 1e-4 rad of one another: float32 similarities of all of them tie."""
    center = rng.normal(size=64)
    reference = (center + 1e-5 * rng.normal(size=(100, 64))).astype(dtype)
    queries = (center + 1e-6 * rng.normal(size=(10, 64))).astype(dtype)
    angles, indices = AngularNeighbors(reference).nearest(queries, 1)
    expected = exhaustive(queries, reference)
    assert_array_equal(indices[:, 0], expected.argmin(axis=1))
    assert_allclose(angles[:, 0], expected.min(axis=1), atol=1e-12)


def test_angle_of_a_millionth(rng):
    u = np.array([[1.0, 0.0]])
    v = np.array([[np.cos(1e-6), np.sin(1e-6)]])
    assert_allclose(angle(u, v), 1e-6, atol=1e-15)
    assert_allclose(angle(u, -v), np.pi - 1e-6, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_leave_one_out(rng, dtype):
    reference = rng.normal(size=(30, 4)).astype(dtype)
    reference[7] = reference[3]
    angles, _ = AngularNeighbors(reference).leave_one_out(2)
    expected = exhaustive(reference, reference)
    np.fill_diagonal(expected, np.inf)
    assert_allclose(angles, np.sort(expected, axis=1)[:, :2], atol=1e-12)
    assert angles[3, 0] == 0 and angles[7, 0] == 0  # twins see each other


def test_leave_one_out_among_many_duplicates():
    reference = np.repeat([[1.0, 0.0], [0.0, 1.0]], [9, 1], axis=0)
    angles, _ = AngularNeighbors(reference).leave_one_out(1)
    assert_allclose(angles[:, 0], [0] * 9 + [np.pi / 2])


def test_blocks_do_not_matter(rng, monkeypatch):
    reference, queries = rng.normal(size=(40, 3)), rng.normal(size=(25, 3))
    whole = AngularNeighbors(reference).nearest(queries, 2)
    for module, name in [
        (_neighbors, "BLOCK_BYTES"),
        (_neighbors, "PAIR_BYTES"),
        (_search, "TILE_COLUMNS"),
        (_search, "TILE_BYTES"),
        (_search, "MAX_PENDING"),
    ]:
        monkeypatch.setattr(module, name, 7)
    blocked = AngularNeighbors(reference).nearest(queries, 2)
    assert_allclose(blocked[0], whole[0], atol=1e-12)
    assert_array_equal(blocked[1], whole[1])


def test_zero_vectors_are_orthogonal_to_all_others(rng):
    reference = rng.normal(size=(20, 3))
    zero = np.zeros((1, 3))
    angles, _ = AngularNeighbors(reference).nearest(zero, 1)
    assert_allclose(angles, np.pi / 2)
    with_zero = AngularNeighbors(np.concatenate([reference, zero]))
    assert with_zero.nearest(zero, 1)[0] == 0
    assert_allclose(with_zero.leave_one_out(1)[0][-1], np.pi / 2)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_norms(rng, factor):
    reference, queries = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    angles, _ = AngularNeighbors(reference * factor).nearest(queries, 1)
    assert_allclose(angles, AngularNeighbors(reference).nearest(queries, 1)[0], atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(1, 5))
def test_rotation_scaling_and_order_do_not_matter(seed, n, d):
    rng = np.random.default_rng(seed)
    reference, queries = rng.normal(size=(n, d)), rng.normal(size=(4, d))
    angles, _ = AngularNeighbors(reference).nearest(queries, 1)
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    scales = rng.uniform(0.1, 10, (n, 1))
    changed = AngularNeighbors(((reference * scales) @ rotation)[rng.permutation(n)])
    moved, _ = changed.nearest(queries @ rotation * 3, 1)
    if d > 1:  # in one dimension angles are 0 and pi, and 0 is a coincidence
        assert_allclose(moved, angles, atol=1e-7)
    more = AngularNeighbors(np.concatenate([reference, rng.normal(size=(3, d))]))
    assert (more.nearest(queries, 1)[0] <= angles + 1e-12).all()
