"""What the scorers share: trimming, p-values and the copy of the training samples."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest, false_discovery_control, kstest
from sklearn.base import clone

from skanomaly import CenterCosine, FeatureEnsemble, MahalanobisCosine
from tests.registry import identify

SCORERS = [MahalanobisCosine(), MahalanobisCosine(whiten=False), CenterCosine(), FeatureEnsemble()]


@pytest.fixture
def polluted(rng):
    """300 samples around one direction, then 15 around the opposite ones, apart from each other."""
    normal = rng.normal(size=(300, 6)) + [9, 8, 7, 0, 0, 0]
    return np.concatenate([normal, rng.normal(size=(15, 6)) * 9 - [9, 8, 7, 0, 0, 0]])


@pytest.mark.parametrize("scorer", SCORERS, ids=identify)
def test_trimming_leaves_out_the_anomalies(polluted, rng, scorer):
    trimmed = clone(scorer).set_params(trim=15 / 315).fit(polluted)
    kept = trimmed._kept
    assert len(kept) == 300 and (kept >= 300).sum() <= 2
    # the fit is that of the rows that were kept
    alone = clone(scorer).fit(polluted[kept])
    queries = rng.normal(size=(20, 6)) * 4
    assert_allclose(trimmed.score_samples(queries), alone.score_samples(queries))
    assert_allclose(trimmed.training_scores_[kept], alone.training_scores_)
    # all rows have scores, those that were left out as new samples
    assert_allclose(trimmed.score_samples(polluted), trimmed.training_scores_, atol=1e-12)
    left_out = np.setdiff1d(np.arange(315), kept)
    assert_allclose(trimmed.training_scores_[left_out], alone.score_samples(polluted[left_out]))


@pytest.mark.parametrize("scorer", SCORERS, ids=identify)
def test_trimming_less_than_one_sample_changes_nothing(table, scorer):
    expected = clone(scorer).fit(table).training_scores_
    trimmed = clone(scorer).set_params(trim=0.008).fit(table)
    assert_array_equal(trimmed.training_scores_, expected)


def test_neighbors_of_trimmed_fits_are_positions_in_X(polluted):
    polluted = polluted[::-1]  # anomalies first
    detector = MahalanobisCosine(2, trim=15 / 315).fit(polluted)
    angles, indices = detector.kneighbors(polluted[20:40])
    for row, (own, near) in enumerate(zip(polluted[20:40], indices, strict=True)):
        u, v = (detector.whitening_.transform(x) for x in (own[None], polluted[near]))
        cosines = (u @ v.T)[0] / np.linalg.norm(u) / np.linalg.norm(v, axis=1)
        assert_allclose(np.cos(angles[row]), cosines, atol=1e-7)
        assert row + 20 not in near


@pytest.mark.parametrize("scorer", SCORERS, ids=identify)
def test_p_values_are_uniform_on_normal_samples(rng, scorer):
    mean = np.array([5, 4, 3, 2, 1, 0, 0, 0])
    scorer.fit(rng.normal(size=(2000, 8)) + mean)
    p = scorer.p_values(rng.normal(size=(2000, 8)) + mean)
    assert p.min() > 0 and p.max() <= 1
    for level in (0.01, 0.05, 0.1, 0.5):
        assert binomtest((p <= level).sum(), len(p), level).pvalue > 1e-3
    assert kstest(p, "uniform").pvalue > 1e-3


def test_p_value_counts_training_scores():
    X = np.random.default_rng(0).normal(size=(19, 3)) + 3
    detector = MahalanobisCosine().fit(X)
    expected = [
        (1 + (detector.training_scores_ <= s).sum()) / 20 for s in detector.training_scores_
    ]
    assert_allclose(detector.p_values(X), expected)
    assert_allclose(detector.p_values([[-9, 3, -9]]), 1 / 20)


def test_false_discovery_rate(rng):
    """The use that p-values are for: the share of normal samples among the discoveries."""
    detector = MahalanobisCosine().fit(rng.normal(size=(3000, 4)) + [6, 0, 0, 0])
    shares = []
    for _ in range(20):
        normal = rng.normal(size=(180, 4)) + [6, 0, 0, 0]
        anomalies = rng.normal(size=(20, 4)) - [6, 0, 0, 0]
        p = detector.p_values(np.concatenate([normal, anomalies]))
        found = false_discovery_control(p) <= 0.1
        shares.append(found[:180].sum() / max(1, found.sum()))
        assert found[180:].all()
    assert np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(20)


@pytest.mark.parametrize("scorer", SCORERS, ids=identify)
def test_changing_the_training_array_changes_nothing(table, scorer):
    X = table.copy()
    queries = table + 0.1
    expected = scorer.fit(X).score_samples(queries)
    X[:] = 7.0
    assert_array_equal(scorer.score_samples(queries), expected)


@pytest.mark.parametrize("scorer", SCORERS, ids=identify)
def test_copies_of_kept_rows_are_recalled(rng, scorer):
    X = rng.normal(size=(40, 3))[rng.integers(40, size=80)] + 1
    trimmed = clone(scorer).set_params(trim=0.3).fit(X)
    assert_allclose(trimmed.score_samples(X), trimmed.training_scores_, atol=1e-12)
