"""Nearest rows against an exhaustive search in extended precision."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_info, threadpool_limits

from skanomaly import MahalanobisCosine, _nearest_rows
from skanomaly._angles import angle, angle_of_chord, directions
from skanomaly._nearest_rows import NearestRows, largest_of_tiles
from skanomaly.scorers import _trees


def exhaustive(queries, reference):
    """All angles, by the chord in long double."""
    u, v = (
        w.astype(np.longdouble) / np.linalg.norm(w.astype(np.longdouble), axis=1, keepdims=True)
        for w in (queries, reference)
    )
    chord = np.sqrt(((u[:, None] - v[None]) ** 2).sum(axis=2))
    return (2 * np.arcsin(np.clip(chord / 2, 0, 1))).astype(np.float64)


def nearest_angles(reference, queries, k):
    """Angles (m, k) of queries to the rows that are found, ascending, and their indices."""
    chords, indices = NearestRows(directions(reference)).nearest(directions(queries), k)
    return angle_of_chord(chords), indices


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles and blocks of rows."""
    monkeypatch.setattr(_nearest_rows, "TILE_COLUMNS", 64)
    monkeypatch.setattr(_nearest_rows, "TILE_ROWS", 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 70])
def test_matches_an_exhaustive_search(rng, small_tiles, dtype, k):
    reference = rng.normal(size=(203, 8)).astype(dtype)
    queries = rng.normal(size=(50, 8)).astype(dtype)
    angles, indices = nearest_angles(reference, queries, k)
    expected = exhaustive(queries, reference)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=2e-7)
    distances = np.linalg.norm(queries[:, None].astype(float) - reference[None], axis=2)
    found, indices = NearestRows(reference).nearest(queries, k)
    assert_array_equal(indices, np.argsort(distances, axis=1)[:, :k])
    assert_allclose(found, np.sort(distances, axis=1)[:, :k], rtol=1e-6)


@pytest.mark.parametrize("spread", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("k", [1, 3])
def test_rows_that_float32_cannot_tell_apart(rng, small_tiles, spread, k):
    """What the rows have in common is subtracted before they are rounded."""
    center = rng.normal(size=20)
    reference = center + spread * rng.normal(size=(200, 20))
    queries = center + spread * rng.normal(size=(30, 20))
    angles, indices = nearest_angles(reference, queries, k)
    expected = exhaustive(queries, reference)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("spread", [1e-1, 1e-2, 1e-3, 1e-4])
def test_small_clusters_far_apart(rng, small_tiles, spread):
    """Nothing that all rows have in common, and neighbours that float32 would confuse."""
    centers = rng.normal(size=(2, 30))
    reference = centers[np.arange(300) % 2] + spread * rng.normal(size=(300, 30))
    queries = centers[np.arange(20) % 2] + spread * rng.normal(size=(20, 30))
    angles, _ = nearest_angles(reference, queries, 2)
    expected = exhaustive(queries, reference)
    assert_allclose(angles, np.sort(expected, axis=1)[:, :2], atol=1e-6)
    for query, found in zip(queries, angles, strict=True):
        assert_allclose(nearest_angles(reference, query[None], 2)[0][0], found, atol=1e-7)


def test_angles_of_near_duplicates(rng):
    reference = rng.normal(size=(500, 64))
    queries = reference[:50] + 1e-6 * rng.normal(size=(50, 64))
    angles, indices = nearest_angles(reference, queries, 1)
    assert_array_equal(indices[:, 0], np.arange(50))
    assert_allclose(angles[:, 0], exhaustive(queries, reference).min(axis=1), atol=2e-7)


def test_angle_of_a_millionth():
    u = np.array([[1.0, 0.0]])
    v = np.array([[np.cos(1e-6), np.sin(1e-6)]])
    assert_allclose(angle(u, v), 1e-6, atol=1e-15)
    assert_allclose(angle(u, -v), np.pi - 1e-6, atol=1e-15)


@pytest.mark.parametrize("k", [1, 2, 29])
def test_nearest_others(rng, small_tiles, k):
    reference = rng.normal(size=(30, 4))
    reference[7] = reference[3]
    found, indices = NearestRows(reference).nearest_others(k)
    distances = np.linalg.norm(reference[:, None] - reference[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert_allclose(found, np.sort(distances, axis=1)[:, :k], atol=1e-6)
    assert_allclose(found, np.take_along_axis(distances, indices, 1), atol=1e-6)
    assert (indices != np.arange(30)[:, None]).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 200), st.integers(1, 9))
def test_largest_of_tiles(seed, k, more, n_rows):
    """Any ties, any number of tiles."""
    values = np.random.default_rng(seed).integers(-5, 6, (n_rows, k + more)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_nearest_rows, "TILE_COLUMNS", 64)
        patch.setattr(_nearest_rows, "TILE_ROWS", 4)
        found, columns = largest_of_tiles(
            lambda i, j: values[i, j],
            lambda i, index: -np.take_along_axis(values[i], index, 1),
            *values.shape,
            k,
            values,
        )
    assert all(len(set(row)) == k for row in columns)
    assert_array_equal(found, np.sort(-values, axis=1)[:, :k])
    assert_array_equal(found, -np.take_along_axis(values, columns, 1))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(5, 30))
def test_ties_and_zero_rows(seed, k, n):
    """Small integers have many equal angles; zero rows are at pi / 2 from all others."""
    rng = np.random.default_rng(seed)
    reference, queries = rng.integers(-2, 3, (n, 3)) * 1.0, rng.integers(-2, 3, (5, 3)) * 1.0
    angles, indices = nearest_angles(reference, queries, k)
    with np.errstate(invalid="ignore"):
        expected = exhaustive(queries, reference)
    zeros = ~queries.any(axis=1)[:, None] * 1 + ~reference.any(axis=1)[None] * 1
    expected = np.where(zeros == 1, np.pi / 2, np.where(zeros == 2, 0, expected))
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=1e-3)
    assert_allclose(angles[angles < 3], np.sort(expected, axis=1)[:, :k][angles < 3], atol=1e-6)
    assert all(len(set(row)) == k for row in indices)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_norms(rng, factor):
    reference, queries = rng.normal(size=(20, 3)), rng.normal(size=(5, 3))
    angles, _ = nearest_angles(reference * factor, queries, 1)
    assert_allclose(angles, nearest_angles(reference, queries, 1)[0], atol=1e-12)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("k", [1, 3, 20, 59])
def test_leave_one_out_over_many_tiles(table, whiten, k, monkeypatch, request):
    """With about as many neighbours as a tile has columns, too, no row is its own."""
    monkeypatch.setattr(_trees, "MAX_COLUMNS", 0)
    whole = MahalanobisCosine(k, whiten=whiten).fit(table).training_scores_
    request.getfixturevalue("small_tiles")
    tiled = MahalanobisCosine(k, whiten=whiten).fit(table).training_scores_
    assert_allclose(tiled, whole, atol=1e-12)


def test_number_of_threads_does_not_matter(rng, small_tiles):
    stored, queries = NearestRows(rng.normal(size=(90, 5))), rng.normal(size=(40, 5))
    expected = stored.nearest(queries, 2)[0]
    with threadpool_limits(1):
        assert_array_equal(stored.nearest(queries, 2)[0], expected)


def test_concurrent_searches_leave_the_threads_of_blas_alone(rng, small_tiles):
    stored, queries = NearestRows(rng.normal(size=(90, 5))), rng.normal(size=(40, 5))
    expected = stored.nearest(queries, 2)[0]

    def count_threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = count_threads()
    with ThreadPoolExecutor(4) as pool:
        for distances, _ in pool.map(lambda _: stored.nearest(queries, 2), range(40)):
            assert_array_equal(distances, expected)
    assert count_threads() == before


@pytest.mark.parametrize("k", [1, 5])
def test_memory_is_bounded(rng, k):
    """The whole matrix of this search would take 640 MB."""
    stored = NearestRows(rng.normal(size=(40_000, 4)).astype(np.float32))
    queries = rng.normal(size=(4000, 4)).astype(np.float32)
    tracemalloc.start()
    stored.nearest(queries, k)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * 2**20


class TestRounding:
    """Rows that are stored in float16, where distances hardly change."""

    @pytest.fixture
    def rows(self, rng):
        return directions(rng.normal(size=(2_000, 64)) + 1)

    def test_distances_hardly_change(self, rng, rows):
        exact, rounded = NearestRows(rows), NearestRows(rows, may_round=True)
        queries = directions(rng.normal(size=(300, 64)) + 1)
        (wanted, nearest), (found, index) = (r.nearest(queries, 1) for r in (exact, rounded))
        change = (found - wanted) / wanted.std()
        assert 0 < np.sqrt((change**2).mean()) < 1e-3 and np.abs(change).max() < 4e-3
        assert (index == nearest).mean() > 0.98

    def test_pickles_are_half_as_large_and_exact(self, rows):
        exact, rounded = NearestRows(rows), NearestRows(rows, may_round=True)
        sizes = [len(pickle.dumps(r)) for r in (exact, rounded)]
        assert sizes[1] < 0.55 * sizes[0]
        copy = pickle.loads(pickle.dumps(rounded))
        for found, wanted in zip(copy.nearest(rows, 3), rounded.nearest(rows, 3), strict=True):
            assert_array_equal(found, wanted)
        again = pickle.loads(pickle.dumps(copy))
        assert_array_equal(again.nearest(rows, 3)[0], rounded.nearest(rows, 3)[0])

    @pytest.mark.parametrize("kind", ["clusters", "beyond float16", "near duplicates"])
    def test_rows_that_would_change_stay(self, rng, rows, kind):
        if kind == "clusters":  # kept in float64
            rows = np.repeat(rows[:40], 50, axis=0) + 1e-7 * rng.normal(size=rows.shape)
        elif kind == "beyond float16":
            rows = np.concatenate([1e3 * rows, np.full((1, rows.shape[1]), 1e9)])
        else:
            rows = np.repeat(rows[:1_000], 2, axis=0) + 1e-4 * rng.normal(size=rows.shape)
        exact, stored = NearestRows(rows), NearestRows(rows, may_round=True)
        queries = rows[:100] * 1.0001
        for found, wanted in zip(
            stored.nearest(queries, 2), exact.nearest(queries, 2), strict=True
        ):
            assert_array_equal(found, wanted)

    def test_scorers_round_what_is_float32(self, rng):
        X = rng.normal(size=(400, 30)) + 2
        sizes = [
            len(pickle.dumps(MahalanobisCosine().fit(X.astype(dtype))._neighbors))
            for dtype in (np.float64, np.float32)
        ]
        assert sizes[1] < 0.6 * sizes[0]
