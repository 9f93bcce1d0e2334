"""Diagnostics of embeddings against many digits, other libraries and plain sums."""

import math
import tracemalloc
from itertools import pairwise

import mpmath
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skanomaly import SelfSupervisedEncoder
from skanomaly.diagnostics import (
    EmbeddingDiagnostics,
    _embedding_checks,
    _uniformity,
    alignment,
    concentration,
    knn_accuracy,
    linear_probe_accuracy,
    mmd_to_uniform,
    uniformity,
)
from skanomaly.diagnostics._concentration import concentration_from_length

ROOT_2 = math.sqrt(2)


def unit(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def bessel_ratio(kappa, d):
    """A_d(kappa) to 30 digits."""
    with mpmath.workdps(30):
        order, kappa = mpmath.mpf(d) / 2, mpmath.mpf(kappa)
        above, below = (mpmath.besseli(v, kappa, maxterms=10**6) for v in (order, order - 1))
        return above / below


@pytest.mark.parametrize("d", [2, 3, 10, 128, 512, 4096])
@pytest.mark.parametrize("per_dimension", [1e-9, 1e-3, 0.1, 1, 3, 100, 1e4, 1e8, 1e12])
def test_concentration_to_many_digits(d, per_dimension):
    kappa = per_dimension * d
    R = bessel_ratio(kappa, d)
    with mpmath.workdps(30):
        deficit = float(1 - R**2)
    solution = concentration_from_length(float(R), d, deficit=deficit)
    assert_allclose(solution, kappa, rtol=1e-11)
    if per_dimension <= 1e4:  # closer to 1 the length alone has too few digits
        assert_allclose(concentration_from_length(float(R), d), kappa, rtol=1e-10)


@given(st.floats(0, 1 - 1e-9), st.integers(2, 10_000))
def test_concentration_within_known_bounds(R, d):
    """Tanabe et al. (2007)."""
    kappa = concentration_from_length(R, d)
    ratio = R / (1 - R**2)
    assert (d - 2) * ratio <= kappa * (1 + 1e-9) and kappa <= d * ratio * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.integers(2, 5000))
def test_concentration_grows_with_the_length(lengths, d):
    kappas = [concentration_from_length(R, d) for R in sorted(lengths)]
    assert all(a <= b * (1 + 1e-11) for a, b in pairwise(kappas))


@pytest.mark.parametrize("d", [2, 3, 10, 50])
@pytest.mark.parametrize("shift", [0.1, 1, 10])
def test_concentration_is_that_of_scipy(rng, d, shift):
    X = rng.normal(size=(200, d)) + shift
    _, expected = stats.vonmises_fisher.fit(unit(X))
    assert_allclose(concentration(X), expected, rtol=1e-6)


@pytest.mark.parametrize("kappa", [5.0, 50.0, 5e4])
def test_concentration_is_found_again(kappa):
    X = stats.vonmises_fisher(np.eye(8)[0], kappa).rvs(5000, random_state=0)
    # the information about kappa gives a relative error of sqrt(2 / (n (d - 1))) or more
    assert_allclose(concentration(X), kappa, rtol=0.05)


@pytest.mark.parametrize("deviation, rtol", [(1e-3, 1e-11), (1e-6, 1e-8), (1e-9, 1e-5)])
@pytest.mark.parametrize("d", [2, 5, 40])
def test_concentration_of_almost_the_same_directions(rng, d, deviation, rtol):
    X = rng.normal(size=d) + deviation * rng.normal(size=(30, d))
    with mpmath.workdps(50):
        rows = [[mpmath.mpf(x) for x in row] for row in X.tolist()]
        norms = [mpmath.norm(row) for row in rows]
        mean = [
            sum(row[j] / norm for row, norm in zip(rows, norms, strict=True)) / len(X)
            for j in range(d)
        ]
        R = mpmath.norm(mean)
        expected = concentration_from_length(float(R), d, deficit=float(1 - R**2))
    assert expected > 0.01 / deviation**2
    assert_allclose(concentration(X), expected, rtol=rtol)


@pytest.mark.parametrize("n", [2, 3, 100_000])
def test_concentration_of_one_direction_is_infinite(rng, n):
    row = rng.normal(size=5)
    assert concentration(np.tile(row, (n, 1))) == math.inf
    assert concentration(row * rng.uniform(1, 100, (n, 1))) == math.inf
    assert concentration(np.tile(row, (n, 1)).astype(np.float32)) == math.inf


def test_concentration_of_opposite_directions_is_zero():
    assert concentration([[1, 2], [-1, -2]]) == pytest.approx(0, abs=1e-15)


def mean_kernel_to_uniform(k, d):
    """Mean of exp(k (cos - 1)) over the sphere, by the density of the cosine."""

    def density(angle):
        return mpmath.sin(angle) ** (d - 2)

    ends = [0, mpmath.pi / 4, mpmath.pi / 2 - 0.05, mpmath.pi / 2, 3 * mpmath.pi / 4, mpmath.pi]
    total = mpmath.quad(lambda a: mpmath.exp(k * (mpmath.cos(a) - 1)) * density(a), ends)
    return float(total / mpmath.quad(density, ends))


@pytest.mark.parametrize("d", [2, 3, 10, 512, 4096])
@pytest.mark.parametrize("bandwidth", [0.3, 1, ROOT_2, 30])
def test_uniform_distribution_in_closed_form(d, bandwidth):
    k = 1 / bandwidth**2
    X = np.eye(d)[:2]  # the kernel of the only pair is exp(-k)
    expected = math.exp(-k) - mean_kernel_to_uniform(k, d)
    assert_allclose(mmd_to_uniform(X, bandwidth=bandwidth), expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("d", [2, 512, 200_000])
@pytest.mark.parametrize("bandwidth", [0.05, 1e9])
def test_extreme_bandwidths(d, bandwidth):
    """Of one direction, the kernel of which is 1."""
    expected = 1 - mpmath.hyp0f1(d / 2, bandwidth**-4 / 4) * mpmath.exp(-(bandwidth**-2))
    mmd = mmd_to_uniform(np.eye(1, d).repeat(2, axis=0), bandwidth=bandwidth)
    assert_allclose(mmd, float(expected), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("bandwidth", [0.5, ROOT_2])
def test_mmd_is_that_to_random_uniform_directions(rng, bandwidth):
    X = unit(rng.normal(size=(100, 4)) + 0.5)

    def kernel(squared_distances):
        return np.exp(-squared_distances / (2 * bandwidth**2))

    estimates = []
    for _ in range(100):
        Y = unit(rng.normal(size=(200, 4)))
        between = kernel(2 - 2 * X @ Y.T).mean()
        within = kernel(pdist(X, "sqeuclidean")).mean(), kernel(pdist(Y, "sqeuclidean")).mean()
        estimates.append(sum(within) - 2 * between)
    error = np.std(estimates) / math.sqrt(len(estimates))
    mmd = mmd_to_uniform(X, bandwidth=bandwidth)
    assert mmd > 20 * error
    assert abs(np.mean(estimates) - mmd) < 3 * error


def test_mmd_of_uniform_samples_is_unbiased(rng):
    estimates = [mmd_to_uniform(rng.normal(size=(4, 3))) for _ in range(1000)]
    error = np.std(estimates) / math.sqrt(len(estimates))
    assert abs(np.mean(estimates)) < 3 * error < 0.05
    assert min(estimates) < 0


def test_figures_fall_as_directions_spread(rng):
    noise = rng.normal(size=(500, 16))
    figures = [
        (concentration(noise + shift), mmd_to_uniform(noise + shift), uniformity(noise + shift))
        for shift in (4, 2, 1, 0.5, 0)
    ]
    assert (np.diff(figures, axis=0) < 0).all()


@pytest.mark.parametrize("tile", [1, 7, 60, 1024])
def test_pairs_by_tiles_are_all_pairs(monkeypatch, table, tile):
    monkeypatch.setattr(_uniformity, "TILE", tile)
    squared = pdist(unit(table), "sqeuclidean")
    assert_allclose(uniformity(table), np.log(np.exp(-2 * squared).mean()), rtol=1e-11)
    assert_allclose(uniformity(table, t=9), np.log(np.exp(-9 * squared).mean()), rtol=1e-11)
    orthogonal = mmd_to_uniform(np.eye(5)[:2]) - math.exp(-0.5)
    assert_allclose(mmd_to_uniform(table), np.exp(-squared / 4).mean() + orthogonal, rtol=1e-11)


def test_directions_by_blocks(monkeypatch, table):
    monkeypatch.setattr(_embedding_checks, "BLOCK_BYTES", 7 * table[0].nbytes)
    assert_allclose(_embedding_checks.directions(table, "X"), unit(table), rtol=1e-15)
    table[23] = 0
    with pytest.raises(ValueError, match=r"^X\[23\] is a row of zeros"):
        concentration(table)


def test_uniformity_of_opposite_directions():
    """The mean kernel is as small as it can be."""
    assert_allclose(uniformity([[1, 0], [-1, 0]], t=100), -400)


@pytest.mark.parametrize("function", [mmd_to_uniform, uniformity])
def test_memory_is_not_quadratic(rng, function):
    X = rng.normal(size=(6000, 2))
    function(X[:2])
    tracemalloc.start()
    function(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(X) ** 2 / 6


@pytest.mark.parametrize("exponent", [1, 2, 3.5])
def test_alignment(rng, exponent):
    X, Y = rng.normal(size=(2, 40, 6))
    expected = (np.linalg.norm(unit(X) - unit(Y), axis=1) ** exponent).mean()
    assert_allclose(alignment(X, 5 * Y, exponent=exponent), expected)
    assert alignment(X, 2 * X, exponent=exponent) < 1e-14
    assert_allclose(alignment(X, -X, exponent=exponent), 2**exponent)
    assert_allclose(alignment(X[:1], [X[0] + 1e-9 * Y[0]], exponent=1), 0, atol=1e-8)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 12),
    st.integers(2, 6),
    st.sampled_from([1e-300, 1.0, 1e300]),
)
def test_rotation_scale_and_order_do_not_matter(seed, n, d, scale):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) + rng.normal()
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    moved = rng.permutation(X @ rotation) * rng.uniform(1, 9, (n, 1)) * scale
    for figure in (concentration, mmd_to_uniform, uniformity):
        assert_allclose(figure(moved), figure(X), rtol=1e-9, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 6))
def test_figures_are_in_their_ranges(seed, n, d):
    rng = np.random.default_rng(seed)
    X = (rng.integers(-2, 3, (n, d)) + [0.5] * d) * 10.0 ** rng.integers(-8, 9)
    assert 0 <= concentration(X) <= math.inf
    assert -1 <= mmd_to_uniform(X) <= 1
    assert -8 - 1e-12 <= uniformity(X) <= 0
    assert 0 <= alignment(X, X[::-1]) <= 4 + 1e-12


def labelled(rng, n, d=5, n_classes=3):
    y = rng.integers(n_classes, size=n)
    return rng.normal(size=(n, d)) + 1.5 * np.eye(n_classes, d)[y], y


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("temperature", [1e-4, 0.07, 1])
def test_knn_votes(rng, k, temperature):
    (X, y), (X_new, y_new) = labelled(rng, 200), labelled(rng, 100)
    cosines = unit(X_new) @ unit(X).T
    correct = 0
    for row, expected in zip(cosines, y_new, strict=True):
        nearest = np.argsort(-row)[:k]
        weights = np.exp((row[nearest] - row.max()) / temperature)
        correct += np.bincount(y[nearest], weights, minlength=3).argmax() == expected
    assert 0.4 < correct / 100 < 1
    accuracy = knn_accuracy(X, y, X_new, y_new, n_neighbors=k, temperature=temperature)
    assert accuracy == correct / 100


@pytest.mark.parametrize("temperature, accuracy", [(0.07, 1.0), (10, 0.0)])
def test_knn_temperature_weighs_near_against_many(temperature, accuracy):
    X = [[5, 0], [1, 1], [2, 2], [-1, 0]]
    y = ["a", "b", "b", "c"]
    options = {"n_neighbors": 3, "temperature": temperature}
    assert knn_accuracy(X, y, [[1, 0]], ["a"], **options) == accuracy


def test_linear_probe_is_logistic_regression_on_standardised_features(rng):
    (X, y), (X_new, y_new) = labelled(rng, 300), labelled(rng, 500)
    scaler = StandardScaler().fit(X)
    model = LogisticRegression(max_iter=1000).fit(scaler.transform(X), y)
    expected = model.score(scaler.transform(X_new), y_new)
    assert 0.5 < expected < 1
    units = 10.0 ** np.arange(-6, 9, 3)
    names = np.array(["one", "two", "three"])
    accuracy = linear_probe_accuracy(X * units, names[y], X_new * units, names[y_new])
    assert accuracy == expected


def test_accuracy_of_random_labels_is_chance(rng):
    X, X_new = rng.normal(size=(2, 1000, 3))
    y, y_new = rng.integers(2, size=(2, 1000))
    for accuracy in (linear_probe_accuracy, knn_accuracy):
        assert abs(accuracy(X, y, X_new, y_new) - 0.5) < 0.06


def test_what_embeddings_may_be(rng):
    (X, y), (X_new, y_new) = labelled(rng, 60), labelled(rng, 30)
    X, X_new = X.astype(np.float32), X_new.astype(np.float32)
    before = X.copy()

    def figures(convert):
        A, B = convert(X), convert(X_new)
        return [
            concentration(A),
            mmd_to_uniform(A),
            uniformity(A),
            alignment(A, A[::-1] if isinstance(A, list) else convert(X[::-1].copy())),
            linear_probe_accuracy(A, y, B, y_new),
            knn_accuracy(A, pd.Series(y), B, y_new.tolist()),
        ]

    expected = figures(lambda Z: Z.astype(np.float64))
    for convert in (np.asarray, np.ndarray.tolist, pd.DataFrame, torch.tensor):
        assert_allclose(figures(convert), expected, rtol=1e-12)
    assert (before == X).all()


GOOD = np.arange(1.0, 13).reshape(4, 3) ** 2
BAD = GOOD.copy()
BAD[2, 1] = np.nan
ZERO = GOOD.copy()
ZERO[3] = 0
LABELS = [0, 1, 0, 1]

CASES = [
    (concentration, (GOOD[:1],), r"^X has 1 row\(s\); pass at least 2$"),
    (concentration, (GOOD[:0],), r"^X has 0 row\(s\); pass at least 2$"),
    (concentration, (GOOD[0],), r"^X has shape \(3,\); pass one row of features per sample$"),
    (concentration, (GOOD[:, :1],), r"^X has 1 column; directions need at least 2$"),
    (concentration, (GOOD[:, :0],), r"^X has shape \(4, 0\); pass"),
    (concentration, (BAD,), r"X contains NaN or infinity: X\[2, 1\] is nan; drop such samples"),
    (concentration, (ZERO,), r"^X\[3\] is a row of zeros, .*; drop such rows$"),
    (mmd_to_uniform, (GOOD[:1],), r"^X has 1 row\(s\); pass at least 2$"),
    (mmd_to_uniform, (ZERO,), r"^X\[3\] is a row of zeros"),
    (uniformity, (GOOD[:1],), r"^X has 1 row\(s\); pass at least 2$"),
    (uniformity, (BAD,), r"X\[2, 1\] is nan"),
    (alignment, (GOOD, GOOD[:2]), r"^X has 4 rows, but Y has 2; pass one view of each sample$"),
    (alignment, (GOOD, GOOD[:, :2]), r"^X has 3 columns, but Y has 2; pass embeddings of the same"),
    (alignment, (GOOD, ZERO), r"^Y\[3\] is a row of zeros"),
    (alignment, (BAD, GOOD), r"X\[2, 1\] is nan"),
    (knn_accuracy, (GOOD, LABELS, ZERO, LABELS), r"^X_test\[3\] is a row of zeros"),
    (knn_accuracy, (GOOD, LABELS, GOOD, LABELS), r"^n_neighbors=20, but X_train has 4 rows; pass"),
]
for accuracy in (linear_probe_accuracy, knn_accuracy):
    CASES += [
        (accuracy, (BAD, LABELS, GOOD, LABELS), r"X_train\[2, 1\] is nan"),
        (accuracy, (GOOD, LABELS, BAD, LABELS), r"X_test\[2, 1\] is nan"),
        (accuracy, (GOOD, LABELS, GOOD[:0], []), r"^X_test has 0 row\(s\); pass at least 1$"),
        (
            accuracy,
            (GOOD, LABELS, GOOD[:, :2], LABELS),
            r"^X_train has 3 columns, but X_test has 2; pass embeddings of the same network$",
        ),
        (
            accuracy,
            (GOOD, LABELS[:3], GOOD, LABELS),
            r"^y_train has shape \(3,\), but X_train has 4 rows; pass one label for each row$",
        ),
        (accuracy, (GOOD, LABELS, GOOD, [0]), r"^y_test has shape \(1,\), but X_test has 4 rows"),
        (accuracy, (GOOD, [0.1, 0.2, 0.3, 0.4], GOOD, LABELS), r"^y_train .* 'continuous'; pass"),
        (accuracy, (GOOD, LABELS, GOOD, [0, 1, 0, np.nan]), r"^y_test\[3\] is nan; drop samples"),
        (accuracy, (GOOD, [[0, 1]] * 4, GOOD, LABELS), r"^y_train has shape \(4, 2\), but X_train"),
        (accuracy, (GOOD, [7] * 4, GOOD, LABELS), r"^y_train has one class only, 7; pass at least"),
        (
            accuracy,
            (GOOD, LABELS, GOOD, list("abab")),
            r"^y_train has labels like 0, but y_test like a; pass",
        ),
    ]


@pytest.mark.parametrize("function, arguments, message", CASES)
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    "function, n_arguments, parameter, values, allowed",
    [
        (mmd_to_uniform, 1, "bandwidth", [0, 0.01, -1, np.nan, np.inf, "1"], r"\[0\.05, inf\)"),
        (uniformity, 1, "t", [0, -1, 101, np.nan, None], r"\(0(\.0)?, 100(\.0)?\]"),
        (alignment, 2, "exponent", [0, -2, np.nan, np.inf], r"\(0(\.0)?, inf\)"),
        (knn_accuracy, 4, "n_neighbors", [0, -1, 1.5, None], r"\[1, inf\)"),
        (knn_accuracy, 4, "temperature", [0, -0.07, np.nan, np.inf], r"\(0(\.0)?, inf\)"),
    ],
)
def test_bad_parameters(function, n_arguments, parameter, values, allowed):
    arguments = [GOOD, LABELS, GOOD, LABELS] if n_arguments == 4 else [GOOD] * n_arguments
    for value in values:
        with pytest.raises(ValueError, match=f"'{parameter}' parameter of .*{allowed}. Got"):
            function(*arguments, **{parameter: value})


def test_training_records_diagnostics_of_each_epoch(rng):
    X, X_new, X_test = rng.normal(size=(3, 80, 6))
    y, y_test = ((X[:, 0] > 0).astype(int) for X in (X_new, X_test))
    recorder = EmbeddingDiagnostics(X_new, X_views=X_new + 0.1, y=y, X_test=X_test, y_test=y_test)
    others = EmbeddingDiagnostics(X_new[:9], layer="dense_block_1", prefix="few_")
    options = {"max_epochs": 3, "random_state": 0}
    encoder = SelfSupervisedEncoder(**options, callbacks=[recorder, others]).fit(X)
    plain = SelfSupervisedEncoder(**options).fit(X)
    assert_array_equal(encoder.transform(X), plain.transform(X))  # training is not disturbed
    first, last = encoder.history_[0], encoder.history_[-1]
    assert recorder.record(encoder).items() <= last.items()
    names = "concentration mmd_to_uniform uniformity alignment linear_probe_accuracy knn_accuracy"
    assert set(last) - set(plain.history_[-1]) == {
        *names.split(),
        *(f"few_{name}" for name in names.split()[:3]),
    }
    embedding, views, tested = (
        encoder.transform_blocks(X)[list(encoder.layer_slices_)[-1]]
        for X in (X_new, X_new + 0.1, X_test)
    )
    few = encoder.transform_blocks(X_new[:9])["dense_block_1"]
    assert last["concentration"] == concentration(embedding) != first["concentration"]
    assert last["alignment"] == alignment(embedding, views)
    split = embedding, y, tested, y_test
    assert last["linear_probe_accuracy"] == linear_probe_accuracy(*split)
    assert last["knn_accuracy"] == knn_accuracy(*split, n_neighbors=20)
    for function in concentration, mmd_to_uniform, uniformity:
        assert last[function.__name__] == function(embedding)
        assert last[f"few_{function.__name__}"] == function(few) != function(embedding[:9])


def test_recorders_see_the_epochs_before(rng, tmp_path):
    """Also when a training goes on from a checkpoint, in another process."""

    class Count:
        def record(self, encoder):
            return {"n_before": len(encoder.history_)}

    def stop(history):
        if len(history) == 2 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt

    X, stopped = rng.normal(size=(40, 3)), []
    encoder = SelfSupervisedEncoder(
        max_epochs=4, callbacks=[Count(), stop], checkpoint=tmp_path / "state", random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        encoder.fit(X)
    encoder.fit(X)
    assert [epoch["n_before"] for epoch in encoder.history_] == [0, 1, 2, 3]


def test_recorder_refuses_what_does_not_fit_together(rng):
    X = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="pass y, X_test and y_test together"):
        EmbeddingDiagnostics(X, y=X[:, 0] > 0)
    encoder = SelfSupervisedEncoder(max_epochs=1, callbacks=[EmbeddingDiagnostics(X, layer="a")])
    with pytest.raises(ValueError, match="layer='a' is not returned by the encoder"):
        encoder.fit(X)
    assert not hasattr(encoder, "network_")
