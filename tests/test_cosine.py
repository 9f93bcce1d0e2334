"""MahalanobisCosine and CenterCosine against the formulas of the paper in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skanomaly import CenterCosine, MahalanobisCosine
from skanomaly.scorers._leave_one_out import LeaveOneOut
from tests.test_nearest_rows import exhaustive
from tests.test_whitening import inverse_root


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("whiten", [True, False])
def test_score_is_the_mean_angle_to_the_nearest(rng, table, k, center, whiten):
    queries = rng.normal(size=(10, 5)) + 2
    detector = MahalanobisCosine(k, whiten=whiten, center=center, shrinkage=0.2).fit(table)
    root = inverse_root(table, 0.2) if whiten else np.eye(5)
    origin = table.mean(axis=0) if center else 0
    angles = exhaustive((queries - origin) @ root, (table - origin) @ root)
    expected = -np.sort(angles, axis=1)[:, :k].mean(axis=1)
    assert_allclose(detector.score_samples(queries), expected, atol=2e-7)
    assert_allclose(detector.transform(queries)[:, 0], -expected, atol=2e-7)


@pytest.mark.parametrize("whiten", [True, False])
def test_score_is_the_angle_to_the_mean(rng, table, whiten):
    queries = rng.normal(size=(10, 5)) + 2
    detector = CenterCosine(whiten=whiten, shrinkage=0.2).fit(table)
    root = inverse_root(table, 0.2) if whiten else np.eye(5)
    expected = -exhaustive(queries @ root, table.mean(axis=0, keepdims=True) @ root)[:, 0]
    assert_allclose(detector.score_samples(queries), expected, atol=2e-7)


def test_wide_data_whitened_as_printed(rng):
    """Fewer samples than features: the Gram side gives the formula's angles."""
    X, queries = rng.normal(size=(15, 40)) + 1, rng.normal(size=(5, 40)) + 1
    detector = MahalanobisCosine(center=True, shrinkage=0.3).fit(X)
    root, mean = inverse_root(X, 0.3), X.mean(axis=0)
    expected = exhaustive((queries - mean) @ root, (X - mean) @ root).min(axis=1)
    assert_allclose(-detector.score_samples(queries), expected, atol=2e-7)


def left_out(X, i, shrinkage):
    """Row i and the other rows, whitened by the covariance of the others, and their mean."""
    others = np.delete(X, i, axis=0)
    root = inverse_root(others, shrinkage)
    return X[i : i + 1] @ root, others @ root, others.mean(axis=0, keepdims=True) @ root


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("whiten, center", [(True, False), (True, True), (False, False)])
def test_training_scores_leave_each_sample_out(table, k, whiten, center):
    """Fitted on the others, one sample at a time, in plain numpy."""
    detector = MahalanobisCosine(k, whiten=whiten, center=center, shrinkage=None).fit(table)
    expected = np.empty(len(table))
    for i in range(len(table)):
        own, others, mean = left_out(table, i, 0.0)
        if center:
            own, others = own - mean, others - mean
        if not whiten:
            own, others = table[i : i + 1], np.delete(table, i, axis=0)
        expected[i] = -np.sort(exhaustive(own, others)[0])[:k].mean()
    assert_allclose(detector.training_scores_, expected, atol=1e-7)
    assert_array_equal(detector.score_samples(table), detector.training_scores_)


@pytest.mark.parametrize("whiten", [True, False])
def test_training_scores_leave_each_sample_out_of_the_mean(table, whiten):
    detector = CenterCosine(whiten=whiten, shrinkage=None).fit(table)
    expected = np.empty(len(table))
    for i in range(len(table)):
        own, _, mean = left_out(table, i, 0.0)
        if not whiten:
            own, mean = table[i : i + 1], np.delete(table, i, axis=0).mean(axis=0, keepdims=True)
        expected[i] = -exhaustive(own, mean)[0, 0]
    assert_allclose(detector.training_scores_, expected, atol=1e-9)
    assert_array_equal(detector.score_samples(table), detector.training_scores_)


@pytest.mark.parametrize("center", [False, True])
def test_leave_one_out_of_zero_vectors_finds_the_other_ones(rng, center):
    """All cosines of a zero vector are 0, among which its duplicate must be found."""
    half = rng.integers(-99, 100, (20, 3)).astype(float)
    X = np.concatenate([half, np.zeros((2, 3)), -half if center else half + 100])
    zeros = ~X.any(axis=1)
    scores = MahalanobisCosine(center=center).fit(X).training_scores_
    assert zeros.sum() == 2 and (scores[zeros] > -1e-9).all()
    if not center:  # else leaving row i out moves the mean, and these rows, away from row i
        assert (scores[~zeros] < -1e-9).all()


def test_leave_one_out_with_shrinkage_on_wide_data(rng):
    """The amount of shrinkage is kept, so that this is no longer exact, but close."""
    X = rng.normal(size=(30, 40)) + 1
    detector = MahalanobisCosine(shrinkage=0.5).fit(X)
    for i in range(5):
        own, others, _ = left_out(X, i, 0.5)
        expected = -exhaustive(own, others).min()
        assert_allclose(detector.training_scores_[i], expected, rtol=0.01)


@pytest.mark.parametrize("detector", [MahalanobisCosine(), CenterCosine()])
@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_contamination_is_the_share_flagged(table, detector, rate):
    labels = detector.set_params(contamination=rate).fit_predict(table)
    # two samples that are each other's nearest tie: both are flagged, or neither
    assert abs((labels == -1).sum() - rate * len(table)) <= isinstance(detector, MahalanobisCosine)


@pytest.mark.parametrize("d", [5, 200, 600])
@pytest.mark.parametrize(
    "detector",
    [MahalanobisCosine(), MahalanobisCosine(3), MahalanobisCosine(center=True), CenterCosine()],
)
def test_contamination_is_the_false_positive_rate_on_clean_data(rng, detector, d):
    """Also with few samples for each feature, where every sample shapes the covariance."""
    X, new = rng.normal(size=(2, 500, d)) * np.geomspace(1, 10, d) + 3
    rate = (detector.set_params(contamination=0.1).fit(X).predict(new) == -1).mean()
    assert abs(rate - 0.1) < 0.045  # three standard deviations of two binomial counts


@pytest.mark.parametrize("detector", [MahalanobisCosine(), CenterCosine()])
def test_float32_scores_are_float64(table, detector):
    scores = detector.fit(table.astype(np.float32)).score_samples(table.astype(np.float32))
    assert scores.dtype == np.float64
    assert_allclose(scores, detector.fit(table).score_samples(table), atol=1e-4)


def test_equal_samples():
    X = np.ones((10, 3))
    with pytest.raises(ValueError, match=r"all 10 samples are equal.*pass whiten=False"):
        MahalanobisCosine().fit(X)
    assert_array_equal(MahalanobisCosine(whiten=False).fit(X).score_samples(X), np.zeros(10))


def test_too_many_neighbors(table):
    with pytest.raises(ValueError, match=r"n_neighbors=60 needs more than 60 samples.*at most 59"):
        MahalanobisCosine(60).fit(table)


def test_centre_without_direction():
    with pytest.raises(ValueError, match="training mean is the zero vector"):
        CenterCosine(whiten=False).fit([[1.0, 2.0], [-1.0, -2.0]])


@pytest.mark.parametrize(
    "detector", [MahalanobisCosine(), MahalanobisCosine(center=True), CenterCosine()]
)
@pytest.mark.parametrize("factor", [1e-290, 1e-150, 1e150, 1e290])
def test_units_do_not_matter(rng, table, detector, factor):
    queries = rng.normal(size=(5, 5)) + 2
    scores = detector.fit(table).score_samples(queries)
    training_scores = detector.training_scores_
    detector.fit(table * factor)
    assert_allclose(detector.training_scores_, training_scores, rtol=1e-6)
    assert_allclose(detector.score_samples(queries * factor), scores, rtol=1e-6)


@pytest.mark.parametrize("n", [4, 60])
@pytest.mark.parametrize(
    "detector", [MahalanobisCosine(), MahalanobisCosine(center=True), CenterCosine()]
)
def test_far_queries_have_finite_scores(table, detector, n):
    far = np.full((1, 5), 1e308) * [1, -1, 1, -1, 1]
    scores = detector.fit(table[:n]).score_samples(far)
    assert -np.pi <= scores[0] < 0
    if not getattr(detector, "center", False):  # seen from the mean, no direction is unusual
        assert scores[0] < detector.training_scores_.min()


@given(
    st.integers(3, 12),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["ledoit_wolf", "oas", None, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_scores_are_angles_for_any_finite_input(n, d, whiten, center, shrinkage, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, (n, d)) * 10.0 ** rng.integers(-8, 9)
    X[0] = X[0] + 1  # at least two rows differ or whiten=False
    detector = MahalanobisCosine(
        whiten=whiten and not (X[0] == X).all(), center=center, shrinkage=shrinkage
    ).fit(X)
    scores = detector.score_samples(np.concatenate([X, rng.normal(size=(3, d))]))
    assert ((scores >= -np.pi) & (scores <= 0)).all()
    assert_allclose(scores[:n], detector.training_scores_, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("whiten", [True, False])
def test_kneighbors(rng, table, k, whiten):
    queries = rng.normal(size=(10, 5)) + 2
    detector = MahalanobisCosine(k, whiten=whiten, shrinkage=0.2).fit(table)
    root = inverse_root(table, 0.2) if whiten else np.eye(5)
    expected = exhaustive(queries @ root, table @ root)
    angles, indices = detector.kneighbors(queries)
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=2e-7)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])
    # training samples are not their own neighbours
    expected = exhaustive(table @ root, table @ root)
    np.fill_diagonal(expected, np.inf)
    angles, indices = detector.kneighbors(table)
    assert_allclose(angles, np.sort(expected, axis=1)[:, :k], atol=2e-7)
    assert_array_equal(indices, np.argsort(expected, axis=1)[:, :k])


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("k", [1, 3])
def test_many_copies_of_few_rows(rng, whiten, k):
    """Copies are each other's neighbours."""
    rows = rng.normal(size=(8, 3)) + 2
    X = rows[rng.integers(7, size=3000)]
    X[5] = rows[7]
    detector = MahalanobisCosine(k, whiten=whiten).fit(X)
    assert_allclose(np.delete(detector.training_scores_, 5), 0, atol=1e-7)
    assert detector.training_scores_[5] < -1e-3
    assert_array_equal(detector.score_samples(X), detector.training_scores_)
    queries = rng.normal(size=(4, 3)) + 2
    transform = detector.whitening_.transform if whiten else np.asarray
    expected = np.sort(exhaustive(transform(queries), transform(X)), axis=1)[:, :k]
    assert_allclose(detector.score_samples(queries), -expected.mean(axis=1), atol=2e-7)
    nearest = X[detector.kneighbors(queries)[1][:, 0]]
    assert_allclose(
        np.diag(exhaustive(transform(queries), transform(nearest))), expected[:, 0], atol=2e-7
    )


@pytest.mark.parametrize("detector", [MahalanobisCosine(), CenterCosine()])
def test_too_many_components(table, detector):
    with pytest.raises(ValueError, match="n_components=6 is more than 60 samples of 5 features"):
        clone(detector).set_params(n_components=6).fit(table)


@pytest.mark.parametrize("detector", [MahalanobisCosine(), CenterCosine()])
def test_components_are_scored_alone(rng, detector):
    """What lies outside of the leading components changes nothing."""
    X = np.column_stack([rng.normal(size=(80, 2)) * 5 + 9, rng.normal(size=(80, 3)) * 1e-9])
    detector = clone(detector).set_params(n_components=2, shrinkage=0.1).fit(X)
    queries = rng.normal(size=(9, 5)) * [5, 5, 0, 0, 0] + [9, 9, 0, 0, 0]
    moved = queries + [0, 0, 3, 2, 1]
    assert_allclose(detector.score_samples(moved), detector.score_samples(queries), atol=1e-7)


@given(st.integers(0, 2**32 - 1), st.integers(5, 20), st.integers(2, 5), st.booleans())
def test_rotation_scale_and_order_do_not_matter(seed, n, d, whiten):
    rng = np.random.default_rng(seed)
    X, queries = rng.normal(size=(n, d)) + 1, rng.normal(size=(4, d)) + 1
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    order = rng.permutation(n)
    for detector in (MahalanobisCosine(whiten=whiten), CenterCosine(whiten=whiten)):
        scores = detector.fit(X).score_samples(queries)
        training_scores = detector.training_scores_
        moved = detector.fit(3 * (X @ rotation)[order]).score_samples(3 * queries @ rotation)
        assert_allclose(moved, scores, atol=1e-6)
        assert_allclose(detector.training_scores_, training_scores[order], atol=1e-6)


@pytest.mark.parametrize("offset, factor", [(0, 1), (0, 10), (10, 3), (100, 2)])
@pytest.mark.parametrize("k", [1, 3])
def test_centred_leave_one_out_with_an_extreme_row(offset, factor, k):
    """Without the extreme row the mean moves towards the others, which then almost vanish."""
    for seed in range(10):
        X = np.random.default_rng(seed).normal(size=(25, 10)) + offset
        X[0] *= factor
        detector = MahalanobisCosine(k, center=True).fit(X)
        space = LeaveOneOut(detector.whitening_, detector.whitening_.transform(X))
        angles = space.angles(slice(0, 25), np.tile(np.arange(25), (25, 1)))
        np.fill_diagonal(angles, np.inf)
        expected = -np.sort(angles, axis=1)[:, :k].mean(axis=1)
        assert_allclose(detector.training_scores_, expected, atol=1e-6)


def test_collinear_rows_are_not_their_own_neighbours(table):
    table[5] = 2 * table[0]
    _, indices = MahalanobisCosine(whiten=False).fit(table).kneighbors(table[[0, 5]])
    assert_array_equal(indices[:, 0], [5, 0])


@pytest.mark.parametrize("scale", [1e306, 1e307, 1.7e308])
@pytest.mark.parametrize(
    "detector", [MahalanobisCosine(), CenterCosine(), CenterCosine(whiten=False)]
)
def test_largest_numbers(rng, detector, scale):
    X = rng.uniform(0.2, 1, (30, 4))
    expected = clone(detector).fit(X).score_samples(X[::-1] * 0.9)
    scores = clone(detector).fit(X * scale).score_samples(X[::-1] * 0.9 * scale)
    assert_allclose(scores, expected, atol=1e-9)
