"""The tiled search: the same as sorting all angles, also where float32 cannot tell them apart."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_info, threadpool_limits

from skanomaly import MahalanobisCosine
from skanomaly.scorers import _search
from skanomaly.scorers._neighbors import AngularNeighbors
from skanomaly.scorers._search import _at_most_kth_largest, _rank_in_rows
from tests.test_neighbors import exhaustive


@pytest.fixture
def small_tiles(monkeypatch):
    """Several tiles and row blocks, and candidates settled many times."""
    monkeypatch.setattr(_search, "TILE_COLUMNS", 16)
    monkeypatch.setattr(_search, "TILE_BYTES", 4 * 16 * 8)
    monkeypatch.setattr(_search, "MAX_PENDING", 30)


@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_tiles(rng, small_tiles, k, dtype):
    reference = rng.normal(size=(100, 6)).astype(dtype)
    queries = rng.normal(size=(37, 6)).astype(dtype)
    angles, indices = AngularNeighbors(reference).nearest(queries, k)
    expected = exhaustive(queries, reference)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=1e-12)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("k", [1, 3, 20, 59])
def test_leave_one_out_over_many_tiles(table, whiten, k, request):
    """With more neighbours than a tile has columns, too, no row is its own."""
    whole = MahalanobisCosine(k, whiten=whiten).fit(table).training_scores_
    request.getfixturevalue("small_tiles")
    tiled = MahalanobisCosine(k, whiten=whiten).fit(table).training_scores_
    assert_allclose(tiled, whole, atol=1e-12)


@pytest.mark.parametrize("spread", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("k", [1, 3])
def test_rows_closer_than_float32_resolves(rng, small_tiles, spread, k):
    """Every row is a candidate in float32: the search must go on in float64."""
    center = rng.normal(size=20)
    reference = center + spread * rng.normal(size=(200, 20))
    queries = center + spread * rng.normal(size=(30, 20))
    angles, indices = AngularNeighbors(reference).nearest(queries, k)
    expected = exhaustive(queries, reference)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], rtol=1e-8)


def test_float64_takes_over_when_there_are_many_candidates(rng, small_tiles, monkeypatch):
    seen = []
    candidates = _search._Found.candidates
    monkeypatch.setattr(
        _search._Found,
        "candidates",
        lambda self, cosines: seen.append(cosines.dtype) or candidates(self, cosines),
    )
    monkeypatch.setattr(_search, "MANY_CANDIDATES", 4)
    reference = rng.normal(size=(40, 5)) * 1e-5 + 1
    AngularNeighbors(reference).nearest(reference[:8] + 1e-6, 1)
    assert [str(dtype) for dtype in seen] == ["float32", "float64", "float64", "float64"]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(6, 60), st.integers(1, 40))
def test_kth_largest_is_bounded_from_below(seed, k, n, n_rows):
    values = np.random.default_rng(seed).integers(-5, 6, (n_rows, n)).astype(np.float32)
    bound = _at_most_kth_largest(values, k)
    exact = np.sort(values, axis=1)[:, -k]
    assert (bound <= exact).all()
    assert np.isin(bound, values).all()


def test_rank_in_rows():
    rows, values = np.array([1, 0, 1, 1]), np.array([3.0, 5.0, 1.0, 3.0])
    order, rank = _rank_in_rows(rows, values)
    assert_array_equal(order, [1, 2, 0, 3])
    assert_array_equal(rank, [0, 0, 1, 2])


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(5, 30), st.sampled_from([1.0, 1e-4])
)
def test_ties_and_zero_rows(seed, k, n, spread):
    """Small integers have many equal angles; zero rows are at pi / 2 from all others."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(-2, 3, (n, 3)) * spread + (spread < 1)
    queries = rng.integers(-2, 3, (5, 3)) * 1.0
    angles, indices = AngularNeighbors(reference).nearest(queries, k)
    with np.errstate(invalid="ignore"):
        expected = exhaustive(queries, reference)
    zeros = ~queries.any(axis=1)[:, None] * 1 + ~reference.any(axis=1)[None] * 1
    expected = np.where(zeros == 1, np.pi / 2, np.where(zeros == 2, 0, expected))
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=1e-12)
    assert_allclose(np.take_along_axis(expected, indices, axis=1), angles, atol=1e-12)
    assert all(len(set(row)) == k for row in indices)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6), st.integers(1, 5))
def test_more_rows_and_more_neighbours_are_monotone(seed, n, d, k):
    rng = np.random.default_rng(seed)
    reference, queries = rng.normal(size=(n, d)), rng.normal(size=(4, d))
    k = min(k, n - 1)
    near, _ = AngularNeighbors(reference).nearest(queries, k + 1)
    assert_allclose(near[:, :k], AngularNeighbors(reference).nearest(queries, k)[0], atol=1e-12)
    assert (np.diff(near, axis=1) >= 0).all()
    more = np.concatenate([reference, rng.normal(size=(3, d))])
    assert (AngularNeighbors(more).nearest(queries, k + 1)[0] <= near + 1e-12).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_angles_of_near_duplicates(rng, dtype):
    """The accuracy that is promised: 1e-9 rad, also for angles of a millionth."""
    reference = rng.normal(size=(500, 64)).astype(dtype)
    queries = reference[:50].astype(np.float64)
    queries += 1e-6 * np.linalg.norm(queries, axis=1, keepdims=True) * rng.normal(size=(50, 64)) / 8
    queries = queries.astype(dtype)
    angles, indices = AngularNeighbors(reference).nearest(queries, 1)
    assert_array_equal(indices[:, 0], np.arange(50))
    assert_allclose(angles[:, 0], exhaustive(queries, reference).min(axis=1), atol=1e-9)


def test_number_of_threads_does_not_matter(rng, small_tiles):
    reference, queries = rng.normal(size=(90, 5)), rng.normal(size=(40, 5))
    expected = AngularNeighbors(reference).nearest(queries, 2)
    with threadpool_limits(1):
        angles, indices = AngularNeighbors(reference).nearest(queries, 2)
    assert_array_equal(angles, expected[0])
    assert_array_equal(indices, expected[1])


def test_concurrent_searches_leave_the_threads_of_blas_alone(rng, small_tiles):
    neighbors, queries = AngularNeighbors(rng.normal(size=(90, 5))), rng.normal(size=(40, 5))
    expected = neighbors.nearest(queries, 2)[0]

    def count_threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = count_threads()
    with ThreadPoolExecutor(4) as pool:
        for angles, _ in pool.map(lambda _: neighbors.nearest(queries, 2), range(40)):
            assert_array_equal(angles, expected)
    assert count_threads() == before


def test_memory_is_bounded(rng):
    """All angles of this search would take 640 MB."""
    neighbors = AngularNeighbors(rng.normal(size=(40_000, 4)).astype(np.float32))
    queries = rng.normal(size=(4000, 4)).astype(np.float32)
    tracemalloc.start()
    neighbors.nearest(queries, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * 2**20
