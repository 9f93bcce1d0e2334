"""The parts of DUM against references in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from skanomaly._training import Recipe
from skanomaly._uncertainty import (
    OBJECTIVES,
    RowViews,
    UncertaintyTask,
    VarianceNetworks,
    bounds,
    compare_with,
    draw_columns,
    draw_rows,
    fit_scaler,
    held_out_mask,
    held_out_norms,
    log_norm,
    log_variances,
    mean_of_columns,
    product_of_experts,
)


@pytest.mark.parametrize(("width", "n_experts"), [(3, 4), (1, 4), (3, 1)])
def test_product_of_experts_matches_precisions(rng, width, n_experts):
    means, log_variances = (rng.normal(size=(5, n_experts, d)) for d in (3, width))
    precisions = np.exp(-log_variances)
    mean, log_variance = product_of_experts(
        torch.from_numpy(means), torch.from_numpy(log_variances), dim=1
    )
    assert_allclose(mean, (precisions * means).sum(1) / precisions.sum(1), rtol=1e-12)
    assert_allclose(log_variance, -np.log(precisions.sum(1)), rtol=1e-12)


def test_product_of_experts_is_the_product_of_densities(rng):
    means, log_variances = rng.normal(size=3), rng.normal(size=3)
    mean, log_variance = product_of_experts(
        torch.from_numpy(means), torch.from_numpy(log_variances), dim=0
    )
    # importance sampling from a wide Gaussian
    x = rng.normal(scale=3, size=400_000)
    weights = np.exp(
        sum(
            stats.norm.logpdf(x, m, np.exp(s / 2))
            for m, s in zip(means, log_variances, strict=True)
        )
        - stats.norm.logpdf(x, scale=3)
    )
    estimate = np.average(x, weights=weights)
    assert float(mean) == pytest.approx(estimate, abs=0.01)
    variance = np.average((x - estimate) ** 2, weights=weights)
    assert float(log_variance.exp()) == pytest.approx(variance, rel=0.02)


def test_product_of_experts_does_not_overflow():
    means = torch.tensor([[1.0], [2.0]])
    for scale in (-1e4, 1e4):
        mean, log_variance = product_of_experts(means, torch.tensor([[scale], [scale + 1]]), dim=0)
        assert torch.isfinite(mean).all() and torch.isfinite(log_variance).all()
        assert float(mean) == pytest.approx(1 + 1 / (1 + np.e), abs=1e-6)


@pytest.mark.parametrize("width", [3, 1])
def test_objectives_match_numpy(rng, width):
    mean, target = rng.normal(size=(2, 4, 3))
    log_variance = rng.normal(size=(4, width))
    values = {
        name: objective(*map(torch.from_numpy, (mean, log_variance, target))).numpy()
        for name, objective in OBJECTIVES.items()
    }
    assert_allclose(values["dot"], -(mean * target).sum(1))
    lengths = np.linalg.norm(mean, axis=1) * np.linalg.norm(target, axis=1)
    assert_allclose(values["cosine"], -(mean * target).sum(1) / lengths)
    assert_allclose(values["distance"], ((mean - target) ** 2).mean(1))
    error = (mean - target) ** 2
    error = error if width == 3 else error.mean(1, keepdims=True)
    assert_allclose(
        values["likelihood"], (log_variance + (error + 1e-3) / np.exp(log_variance)).mean(1)
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("n_outputs", [2, 1])
def test_gradients_of_a_bag_match_finite_differences(objective, n_outputs):
    generator = torch.Generator().manual_seed(0)
    means, targets = torch.randn(2, 3, 4, 2, generator=generator, dtype=torch.float64)
    log_variances = torch.randn(3, 4, n_outputs, generator=generator, dtype=torch.float64)

    def loss(log_variances):
        mean, log_variance = product_of_experts(means, log_variances, dim=1)
        return OBJECTIVES[objective](mean, log_variance, targets[:, 0]).sum()

    assert torch.autograd.gradcheck(loss, log_variances.requires_grad_())


def make_networks(columns=((0, 1, 2), (1, 2, 0)), n_outputs=3):
    torch.manual_seed(0)
    low, high = torch.full((3,), -1.0), torch.full((3,), 2.0)
    return VarianceNetworks(torch.tensor(columns), low, high, (5, 4), n_outputs).double()


def test_networks_are_fully_connected_ones(rng):
    networks, x = make_networks(), rng.uniform(-1, 2, (7, 3))
    ((rows, values),) = log_variances(networks, x, "cpu")
    assert rows == slice(0, 7) and values.shape == (2, 7, 3)
    for i, columns in enumerate(networks.columns.numpy()):
        hidden = x[:, columns]
        for layer, (weight, bias) in enumerate(zip(networks.weights, networks.biases, strict=True)):
            hidden = np.maximum(hidden, 0) if layer else hidden
            hidden = hidden @ weight[i].detach().numpy() + bias[i].detach().numpy()
        assert_allclose(values[i], hidden, rtol=1e-12)


@pytest.mark.parametrize("n_outputs", [3, 1])
def test_outside_the_box_the_squared_distance_is_added(n_outputs):
    networks = make_networks(n_outputs=n_outputs)
    inside, outside = np.array([[2.0, 0.5, -1]]), np.array([[5.0, 0.5, -2]])
    ((_, near),), ((_, far),) = (log_variances(networks, x, "cpu") for x in (inside, outside))
    added = np.array([9.0, 0, 1])[networks.columns]
    added = added if n_outputs == 3 else added.mean(axis=1, keepdims=True)
    near, far = near[:, 0].numpy(), far[:, 0].numpy()
    assert_allclose(np.exp(far), np.exp(near) + added, rtol=1e-12)
    ((_, huge),) = log_variances(networks, 1e200 * outside, "cpu")
    assert torch.isfinite(huge).all()


def test_mean_of_columns_averages_the_networks_that_see_a_coordinate():
    networks = make_networks(columns=((0, 1), (1, 2)), n_outputs=2)
    values = torch.tensor([[[1.0, 2]], [[4, 8]]])
    assert_allclose(mean_of_columns(networks, values), [[1, 3, 8]])
    assert_allclose(mean_of_columns(networks, values[..., :1]), [[2.5]])


@pytest.mark.parametrize("order", [1, 2, 4, np.inf])
def test_log_norm_is_that_of_the_covariance(rng, order):
    log_variance = rng.normal(size=(6, 3))
    expected = np.log(np.linalg.norm(np.exp(log_variance), order, axis=1))
    assert_allclose(log_norm(torch.from_numpy(log_variance), order), expected, rtol=1e-12)


def test_whitened_scaling_matches_the_eigenvectors_of_limited_columns(rng):
    X = rng.normal(size=(400, 6)) * [1e-6, 0.5, 1, 1, 2, 1e6] @ np.eye(6)
    limited = X / np.maximum(X.std(0) / np.median(X.std(0)), 1)
    values, vectors = np.linalg.eigh(np.cov(limited.T))
    kept = np.cumsum(values[::-1]) / values.sum() < 0.99
    assert kept.sum() == 4  # and the one that passes 99%
    expected = (limited - limited.mean(0)) @ vectors[:, ::-1][:, :5] / np.sqrt(values[::-1][:5])
    scaled = fit_scaler("whitened", X, 0).transform(X)
    assert_allclose(np.abs(scaled), np.abs(expected), rtol=1e-6, atol=1e-9)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 70) | st.none(), st.integers(0, 9))
def test_every_coordinate_is_seen(n_features, n_networks, max_features, seed):
    columns = draw_columns(n_features, n_networks, max_features, np.random.RandomState(seed))
    assert set(columns.ravel()) == set(range(n_features))
    assert all(len(set(own)) == len(own) for own in columns)
    least = -(-n_features // n_networks)
    assert columns.shape == (n_networks, min(n_features, max(least, max_features or n_features)))


@given(st.integers(2, 60), st.integers(1, 9), st.integers(2, 70) | st.none(), st.integers(0, 9))
def test_rows_of_networks(n_samples, n_networks, max_samples, seed):
    rows = draw_rows(n_samples, n_networks, max_samples, np.random.RandomState(seed))
    mask = held_out_mask(rows, n_samples)
    assert all(len(set(own)) == len(own) for own in rows)
    assert (mask.sum(axis=0) == n_samples - rows.shape[1]).all()
    if max_samples is None:
        assert not mask.any()
    elif n_samples >= 5:
        assert rows.shape[1] <= min(max_samples, 0.8 * n_samples)


def test_held_out_norms_spread_like_those_of_new_samples(rng):
    """Networks underestimate the norms of the samples that they were trained on."""
    n, n_networks = 4000, 16
    norms = rng.normal(size=(n, 1)) + rng.normal(size=(1, n_networks))
    norms += rng.normal(scale=3, size=(n, n_networks))
    new = norms.mean(axis=1)
    held_out = rng.random((n, n_networks)) < 0.2
    chosen = held_out.any(axis=1)
    found = held_out_norms(np.where(held_out, norms, norms - 5), held_out)
    assert_allclose(found[~chosen], new[~chosen] - 5)
    assert found[chosen].mean() == pytest.approx(new.mean(), abs=0.1)
    assert found[chosen].std() == pytest.approx(new.std(), rel=0.06)
    means = np.average(norms[chosen], axis=1, weights=held_out[chosen])
    assert means.std() > 1.5 * new.std()  # as they are


def test_held_out_norms_without_noise_or_held_out_networks(rng):
    norms = np.repeat(rng.normal(size=(5, 1)), 3, axis=1)
    held_out = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]], dtype=bool)
    assert np.isfinite(held_out_norms(norms, held_out)).all()
    assert_allclose(held_out_norms(np.ones((5, 3)), held_out), 1)
    assert_allclose(held_out_norms(norms, ~held_out & held_out), norms[:, 0])


def test_bounds_leave_extremes_out():
    scaled = np.array([[0.0, 0, 3], [1, -50, 3]])
    low, high = bounds(scaled)
    assert_allclose(low, [-0.1, -11, 3])
    assert_allclose(high, [1.1, 1, 3])


@pytest.mark.parametrize("kind", ["uniform", "marginal", "noise", "mask"])
def test_views(kind):
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(4000.0).reshape(500, 2, 4) + 10
    low, high = torch.full((4,), -2.0), torch.full((4,), -1.0)
    views = RowViews(kind, low, high)(rows, generator)
    changed = views != rows
    assert views.shape == rows.shape
    # the share is uniform for each row: a half on average, with many rows near none and all
    assert changed.float().mean() == pytest.approx(0.5, abs=0.05)
    assert changed.all(dim=-1).float().mean() == pytest.approx(0.2, abs=0.05)
    values = views[changed]
    if kind == "uniform":
        assert values.min() >= -2 and values.max() <= -1 and values.std() > 0.25
    elif kind == "marginal":
        assert ((values - rows[changed]) % 8 == 0).all() and set(values.tolist()) <= set(
            rows.ravel().tolist()
        )
    elif kind == "noise":
        assert (values - rows[changed]).std() == pytest.approx(1, abs=0.1)
    else:
        assert (values == 0).all()


def make_task(**options):
    defaults = {"objective": "dot", "bag_size": 2, "trim": 0.0, "norm": 2, "sampled": False}
    return UncertaintyTask(make_networks().float(), None, **{**defaults, **options})


def test_printed_loss_of_bags_of_samples():
    task = make_task()
    x = torch.randn(9, 2, 1, 3).clamp(-1, 1)
    batch = task.prepare(x, 9, torch.Generator())
    values = {name: value.detach() for name, value in task(batch).items()}
    expected = []
    for i, columns in enumerate(task.networks.columns):
        seen = x[:, i, 0]  # stacks hold each network's columns already
        assert len(columns) == 3
        log_variance = task.networks(torch.stack([seen, seen]))[i].detach().double().numpy()
        precision, seen = np.exp(-log_variance), seen.double().numpy()
        means = [
            (precision[bag] * seen[bag]).sum(0) / precision[bag].sum(0)
            for bag in (slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8))
        ]
        expected.append(-np.mean([means[0] @ means[1], means[2] @ means[3]]))
    assert float(values["loss"]) == pytest.approx(sum(expected), rel=1e-5)
    record = task.summarise({"loss": values["loss"], "log_variance": torch.ones(())})
    assert record["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_sampled_expectation_is_unbiased():
    torch.manual_seed(0)
    x = torch.randn(8, 2, 1, 3).clamp(-1, 1)
    analytic, sampled = make_task(), make_task(sampled=True)
    batch = analytic.prepare(x, 8, torch.Generator())
    with torch.no_grad():
        draws = torch.stack([sampled(batch)["loss"] for _ in range(4000)])
    expected = float(analytic(batch)["loss"].detach())
    error = float(draws.std()) / len(draws) ** 0.5
    assert (
        float(draws.mean()) == pytest.approx(expected, abs=4 * error) and float(draws.std()) > 0.1
    )


def test_least_certain_samples_are_trimmed():
    task = make_task(objective="likelihood", trim=0.25, bag_size=1)
    x = torch.randn(8, 2, 1, 3).clamp(-1, 1)
    norms = log_norm(task.networks(x.transpose(0, 1)[:, :, 0]), 2)
    for progress, n_kept in ((0.1, 8), (0.5, 6)):
        task.after_step(progress)
        batch = task.prepare(x, 8, torch.Generator())
        assert batch.shape == (2, n_kept, 2, 3) and task.n_terms(8) == n_kept
    for i in range(2):
        expected = x[norms[i].argsort()[:6], i, 0]
        assert sorted(batch[i, :, 0].tolist()) == sorted(expected.tolist())


def test_shift_test_is_welchs(rng):
    reference, new = rng.normal(size=50), rng.normal(0.5, 2, size=30)
    result = compare_with(reference, new)
    expected = stats.ttest_ind(new, reference, equal_var=False)
    assert_allclose([result.statistic, result.p_value], expected, rtol=1e-12)
    deviation = np.sqrt((new.var(ddof=1) + reference.var(ddof=1)) / 2)
    assert result.effect_size == pytest.approx((new.mean() - reference.mean()) / deviation)
    windows = compare_with(reference, np.r_[new, reference[:40]], window=30)
    assert windows.p_value.shape == (2,) and windows.p_value[0] == result.p_value
    same = compare_with(reference, reference)
    assert same.p_value == 1 and same.effect_size == 0
    constant = compare_with(np.ones(3), np.array([1.0, 1, 2, 2]), window=2)
    assert constant.p_value.tolist() == [1, 0] and constant.effect_size.tolist() == [0, np.inf]


def test_constant_learning_rate():
    recipe = Recipe(schedule="constant", warmup=0.5, learning_rate=0.1)
    assert recipe.learning_rate_at(0.6, 10) == recipe.learning_rate_at(1.0, 10) == 0.1
    assert recipe.learning_rate_at(0.25, 10) == pytest.approx(0.05, rel=0.05)
