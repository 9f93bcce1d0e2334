"""NeighborDistance against distances computed in plain numpy, and what warns of angles."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine, NeighborDistance
from skanomaly._training_rows import TrainingRows


def distances(queries, X, standardize=True):
    scale = X.std(axis=0) if standardize else 1.0
    return np.linalg.norm((queries[:, None] - X[None]) / scale, axis=2)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("aggregation", ["mean", "largest"])
@pytest.mark.parametrize("standardize", [True, False])
def test_scores_are_distances(rng, k, aggregation, standardize):
    X = rng.normal(size=(60, 3)) * [1, 100, 0.01] + [0, 1e4, 5]
    queries = rng.normal(size=(10, 3)) * [2, 200, 0.02] + [0, 1e4, 5]
    detector = NeighborDistance(k, aggregation=aggregation, standardize=standardize).fit(X)
    combine = np.mean if aggregation == "mean" else np.max
    expected = np.sort(distances(queries, X, standardize), axis=1)[:, :k]
    assert_allclose(-detector.score_samples(queries), combine(expected, axis=1), rtol=1e-5)
    others = distances(X, X, standardize)
    np.fill_diagonal(others, np.inf)
    expected = np.sort(others, axis=1)[:, :k]
    assert_allclose(-detector.training_scores_, combine(expected, axis=1), rtol=1e-5, atol=1e-5)
    found, indices = detector.kneighbors(X)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert_array_equal(indices, np.argsort(others, axis=1)[:, :k])


@pytest.mark.parametrize("factor", [1e-300, 1e-150, 1e150, 1e300])
def test_units_do_not_matter(rng, factor):
    X, queries = rng.normal(size=(2, 30, 3)) + 1
    expected = NeighborDistance().fit(X).score_samples(queries)
    scores = NeighborDistance().fit(X * factor).score_samples(queries * factor)
    assert_allclose(scores, expected, rtol=1e-6)


def test_constant_columns_and_far_queries(rng):
    X = np.column_stack([rng.normal(size=30), np.full(30, 0.1)])
    detector = NeighborDistance().fit(X)
    assert_allclose(detector.scale_, [X[:, 0].std(), 1])
    scores = detector.score_samples([[0, 0.1], [0, 7], [1e308, -1e308]])
    assert np.isfinite(scores).all() and (np.diff(scores) < 0).all()


ANGLES = [MahalanobisCosine(), CenterCosine(), FeatureEnsemble("all")]


@pytest.mark.parametrize("detector", ANGLES)
@pytest.mark.parametrize("standardised", [False, True])
def test_angles_of_centred_tables_warn(rng, detector, standardised):
    X = rng.normal(size=(300, 6))
    X = (X - X.mean(axis=0) + 1e-9) / X.std(axis=0) if standardised else X
    with pytest.warns(UserWarning, match=r"mean direction .* is noise.*NeighborDistance"):
        detector.fit(X)
    outliers = 5 * rng.normal(size=(300, 6))
    test, y = np.concatenate([rng.normal(size=(300, 6)), outliers]), np.repeat([1, 0], 300)
    assert roc_auc_score(y, NeighborDistance().fit(X).score_samples(test)) > 0.97


@pytest.mark.parametrize("detector", ANGLES)
@pytest.mark.filterwarnings("error")
def test_angles_of_embeddings_do_not_warn(rng, detector):
    detector.fit(np.maximum(rng.normal(size=(100, 20)), 0))


@pytest.mark.parametrize("detector", [NeighborDistance(1), MahalanobisCosine(whiten=False)])
def test_few_distinct_samples_warn(rng, detector):
    X = np.tile(rng.normal(size=(5, 8)) + 3, (20, 1))
    with pytest.warns(UserWarning, match=r"only 5 of the training samples differ.*at least 20"):
        detector.fit(X)


@pytest.mark.filterwarnings("error")
def test_enough_samples_do_not_warn(rng):
    NeighborDistance().fit(rng.normal(size=(20, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "detector", [MahalanobisCosine(), MahalanobisCosine(whiten=False), NeighborDistance()]
)
def test_training_rows_are_recognised_within_rounding(rng, detector, dtype):
    """A PCA rounds a row that comes alone in another way than in a batch."""
    X = (rng.normal(size=(300, 40)) + 3).astype(dtype)
    pipeline = make_pipeline(PCA(8, random_state=0), detector).fit(X)
    scores = pipeline.score_samples(X)
    assert_array_equal(scores, detector.training_scores_)
    assert_array_equal([pipeline.score_samples(row[None])[0] for row in X[:50]], scores[:50])
    assert (pipeline.predict(X) == -1).sum() == 15


def test_training_rows_of_any_score_are_recognised_within_rounding(table):
    for detector in (CenterCosine(), FeatureEnsemble("all")):
        detector.fit(table)
        assert_array_equal(detector.score_samples(table * (1 + 1e-6)), detector.training_scores_)
        assert (detector.score_samples(table * 1.01) != detector.training_scores_).any()


@pytest.mark.parametrize("detector", [NeighborDistance(trim=0.1), MahalanobisCosine(trim=0.1)])
def test_p_values_after_trimming_warn(table, detector):
    with pytest.warns(UserWarning, match="too small after a fit with trim"):
        detector.fit(table).p_values(table)


@pytest.mark.parametrize("trim, n, n_kept", [(0.29, 100, 71), (0.1, 60, 54), (0.07, 100, 93)])
def test_trim_rounds_to_the_nearest_number(rng, trim, n, n_kept):
    detector = NeighborDistance(1, trim=trim).fit(rng.normal(size=(n, 2)))
    assert len(detector._kept) == n_kept


def test_a_gross_error_does_not_make_all_samples_equal(rng):
    X = np.concatenate([rng.normal(size=(99, 1)), [[1e6]]])
    detector = NeighborDistance(1, standardize=False).fit(X)
    queries = np.array([[0.001], [1.5], [5.0]])
    expected = np.abs(queries[:, None] - X[None]).min(axis=(1, 2))
    assert_allclose(-detector.score_samples(queries), expected, atol=1e-1)
    assert detector._known.n_distinct == 100


def test_columns_that_hardly_vary(rng):
    """A constant border of images, whose mean rounds, and a column with few other values."""
    images = rng.integers(0, 256, (40, 6, 6), dtype=np.uint8)
    images[:, 0] = 51
    known = TrainingRows.of(images)
    as_floats = (images / 255).astype(np.float32)
    assert_array_equal(known.find(as_floats), np.arange(40))
    as_floats[3, 0, 0] += 0.5
    assert known.find(as_floats)[3] == -1
    sparse = np.zeros((100, 2))
    sparse[:3, 0] = [1, 2, 3]
    sparse[:, 1] = rng.normal(size=100)
    changed = sparse + [[1, 0]]
    assert (TrainingRows.of(sparse).find(changed) == -1).all()


def test_leave_one_out_far_from_the_origin(rng):
    """Training samples and new ones of the same distribution have the same scores."""
    A, B = rng.normal(size=(2, 400, 8)) + 1e5
    detector = MahalanobisCosine().fit(A)
    medians = np.median(detector.training_scores_), np.median(detector.score_samples(B))
    assert_allclose(*medians, rtol=0.1)


def test_two_rows_are_kept_at_least():
    X = np.array([[1.0, 2.0], [2.0, 1.0]])
    assert np.isfinite(CenterCosine(whiten=False, trim=0.4).fit(X).training_scores_).all()
