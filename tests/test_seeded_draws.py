"""Random numbers depend on the seed alone, whatever other threads draw."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from skanomaly import DUMDetector, SelfSupervisedEncoder
from skanomaly._training import SeededDraws


def with_noise(batch):
    """An augmentation that takes no generator."""
    return batch + 0.1 * torch.randn_like(batch)


def features_of_images(images, seed):
    return SelfSupervisedEncoder(max_epochs=2, random_state=seed).fit(images).transform(images)


def features_with_dropout(images, seed):
    with SeededDraws(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.Dropout(), nn.Linear(32, 16))
    options = {"backbone": network, "augment": with_noise, "max_epochs": 2}
    return SelfSupervisedEncoder(**options, random_state=seed).fit(images).transform(images)


def scores_of_embeddings(images, seed):
    options = {"n_estimators": 2, "max_epochs": 2, "expectation": "sampled"}
    X = images[:, 3:6, 3].astype(float)
    return DUMDetector(**options, random_state=seed).fit(X).training_scores_


FITS = [features_of_images, features_with_dropout, scores_of_embeddings]


def test_threads_train_what_one_after_the_other_trains(images):
    jobs = [(fit, seed) for fit in FITS for seed in (0, 1)]
    expected = [fit(images, seed) for fit, seed in jobs]
    assert not np.array_equal(expected[0], expected[1])
    torch.manual_seed(0)
    drawn = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        fits = [pool.submit(fit, images, seed) for fit, seed in jobs]
        while not all(running.done() for running in fits):
            drawn.append(float(torch.rand(())))
            time.sleep(1e-3)
        found = [running.result() for running in fits]
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)
    undisturbed = torch.rand(len(drawn), generator=torch.Generator().manual_seed(0))
    assert drawn == undisturbed.tolist()


@pytest.mark.parametrize("fit", FITS)
def test_global_generator_is_neither_used_nor_changed(images, fit):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit(images, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_array_equal(fit(images, 0), first)


def draw_everything():
    layers = nn.Sequential(nn.Linear(3, 4), nn.Conv1d(1, 2, 3), nn.Embedding(3, 2))
    x = torch.ones(2, 1, 8)
    return [
        *layers.state_dict().values(),
        torch.rand(3),
        torch.randn(3),
        torch.randint(9, (3,)),
        torch.randint(3, 9, (3,)),
        torch.randperm(9),
        torch.rand_like(x),
        torch.bernoulli(x / 2),
        torch.multinomial(x[:, 0], 3),
        torch.distributions.Beta(2.0, 3.0).sample((3,)),
        nn.functional.dropout(x, 0.5),
        nn.functional.alpha_dropout(x, 0.5, training=True),
        torch.native_dropout(x, 0.5, True)[0],
    ]


def test_all_that_torch_draws_is_seeded():
    before = torch.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        with SeededDraws(seed) as draws:
            drawn.append(draw_everything())
    assert torch.equal(torch.get_rng_state(), before) and draws.n_draws > 12
    for first, again, _ in zip(*drawn, strict=True):
        assert torch.equal(first, again)
    for i in range(6):  # the weights and biases differ with the seed
        assert not torch.equal(drawn[0][i], drawn[2][i]) or drawn[0][i].numel() < 2


def test_draws_go_on_from_a_state():
    draws = SeededDraws(0)
    with draws:
        torch.rand(3)
    state = draws.state()
    with draws:
        expected = torch.rand(3)
    resumed = SeededDraws(7)
    resumed.restore(state)
    with resumed:
        assert torch.equal(torch.rand(3), expected)


def test_native_dropout_keeps_the_mean_and_its_gradient():
    x = torch.ones(10_000, requires_grad=True)
    with SeededDraws(0):
        dropped, kept = torch.native_dropout(x, 0.25, True)
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(dropped, kept / 0.75)
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    torch.testing.assert_close(gradient, kept / 0.75)
