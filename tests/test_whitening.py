"""Whitening against the printed formula in float64."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.covariance import ledoit_wolf_shrinkage, oas
from sklearn.decomposition import PCA

from skanomaly import MahalanobisCosine, _whitening
from skanomaly._whitening import Whitening


def inverse_root(X, shrinkage):
    """S^(-1/2) with S = (1 - shrinkage) * covariance + shrinkage * mean variance * identity."""
    covariance = np.cov(X.T, bias=True)
    scale = np.trace(covariance) / len(covariance)
    covariance = (1 - shrinkage) * covariance + shrinkage * scale * np.eye(len(covariance))
    values, vectors = np.linalg.eigh(covariance)
    return vectors @ np.diag(values**-0.5) @ vectors.T


@pytest.mark.parametrize("n, d", [(50, 6), (6, 50), (20, 20), (2, 3)])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shrinkage", [0.1, 0.7, 1.0])
def test_inner_products_are_those_of_the_formula(rng, n, d, center, shrinkage):
    X = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d) + rng.normal(size=d)
    queries = rng.normal(size=(7, d)) * 2
    whitening = Whitening(shrinkage, center).fit(X)
    rows = np.concatenate([X, queries])
    expected = (rows - X.mean(axis=0) if center else rows) @ inverse_root(X, shrinkage)
    whitened = whitening.transform(rows)
    assert_allclose(whitened[:n] @ whitened[:n].T, expected[:n] @ expected[:n].T, rtol=1e-9)
    assert_allclose(
        whitened[n:] @ whitened[:n].T, expected[n:] @ expected[:n].T, rtol=1e-9, atol=1e-9
    )
    assert_allclose((whitened**2).sum(axis=1), (expected**2).sum(axis=1), rtol=1e-9)


def test_fitted_rows_have_identity_covariance(rng):
    X = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4))
    whitened = Whitening(None, center=True).fit(X).transform(X)[:, :-1]
    assert_allclose(np.cov(whitened.T, bias=True), np.eye(4), atol=1e-9)


@pytest.mark.parametrize("n, d", [(50, 6), (6, 50), (30, 30), (2, 5)])
def test_shrinkage_is_scikit_learns(rng, n, d):
    X = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d)
    assert_allclose(
        Whitening("ledoit_wolf").fit(X).shrinkage_, ledoit_wolf_shrinkage(X), atol=1e-12
    )
    assert_allclose(Whitening("oas").fit(X).shrinkage_, oas(X)[1], atol=1e-12)


def test_pseudo_inverse_ignores_directions_without_variance(rng):
    X = np.column_stack([rng.normal(size=(30, 2)), np.full(30, 3.0)])
    whitening = Whitening(None, center=True).fit(X)
    moved = X + [0, 0, 5]
    assert_allclose(whitening.transform(moved), whitening.transform(X), atol=1e-12)


@given(
    st.integers(2, 12),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from(["ledoit_wolf", "oas", None, 0.5]),
    st.integers(0, 2**32 - 1),
)
def test_never_nan(n, d, center, shrinkage, seed):
    X = np.random.default_rng(seed).integers(-2, 3, (n, d)).astype(float)
    X[0] = X[1] + 1  # else there is no variance
    assert np.isfinite(Whitening(shrinkage, center).fit(X).transform(X)).all()


@pytest.mark.parametrize("n, d", [(50, 6), (6, 50)])
def test_components_are_the_leading_ones(rng, n, d):
    X = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d)
    pca = PCA(3, whiten=True).fit(X)
    whitening = Whitening(None, center=True, n_components=3).fit(X)
    whitened = whitening.transform(X)[:, :-1] * ((n - 1) / n) ** 0.5
    assert_allclose(np.abs(whitened[:, ::-1]), np.abs(pca.transform(X)), atol=1e-9)
    assert (whitening.transform(X)[:, -1] == 0).all()


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_components_hold_a_share_of_the_variance(rng, share):
    X = rng.normal(size=(80, 9)) * np.arange(1, 10)
    expected = PCA(share).fit(X).n_components_
    assert Whitening(n_components=share).fit(X).scale_.shape == (expected,)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("center", [True, False])
def test_units_do_not_matter(rng, factor, center):
    X = rng.normal(size=(20, 4)) + 1
    whitened = Whitening(center=center).fit(X).transform(X)
    assert_allclose(Whitening(center=center).fit(X * factor).transform(X * factor), whitened)


def test_blocks_do_not_matter(rng, monkeypatch):
    X = rng.normal(size=(60, 5)) + 1
    whole = Whitening().fit(X).transform(X)
    monkeypatch.setattr(_whitening, "BLOCK_BYTES", 7 * 5 * 8)
    assert_allclose(np.abs(Whitening().fit(X).transform(X)), np.abs(whole))


def test_wide_data_needs_no_square_matrix(rng):
    """200 x 32,768: a covariance would take 8 GiB, the float64 data 50 MiB."""
    X = rng.standard_normal((200, 32_768), dtype=np.float32)
    tracemalloc.start()
    detector = MahalanobisCosine().fit(X)
    detector.score_samples(X[:10] + 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 270 * 2**20  # less than one more copy allows


@pytest.mark.parametrize("n, d", [(200, 20), (40, 64)])
@pytest.mark.parametrize("factor", [1e5, 1e7, 1e10])
def test_an_extreme_row_hides_no_directions(rng, n, d, factor):
    """All others have variances below rounding of the largest, but shrinkage gives them a scale."""
    X = rng.normal(size=(n, d)) + 2
    X[0] *= factor
    whitening = Whitening(0.1).fit(X)
    assert_allclose(whitening.basis_.T @ whitening.basis_, np.eye(min(n, d) + (n < d)), atol=1e-9)
    whitened, expected = whitening.transform(X[1:]), X[1:] @ inverse_root(X, 0.1)
    assert_allclose(whitened @ whitened.T, expected @ expected.T, rtol=1e-6)


def test_rounding_is_no_shrinkage(rng):
    """Two rows have a Ledoit-Wolf shrinkage of 0, up to rounding."""
    for _ in range(50):
        X = rng.normal(size=(2, 10)) + 1e3 * rng.normal(size=10)
        assert Whitening().fit(X).shrinkage_ == 0
        MahalanobisCosine().fit(X)
