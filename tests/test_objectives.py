"""Losses by hand and against lightly, and the gradient claim of NSA section 2.4."""

import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize
from torch.testing import assert_close

from skanomaly import NSADetector, SelfSupervisedEncoder
from skanomaly.encoders.objectives import (
    BYOL,
    OBJECTIVES,
    MeanShifted,
    Objective,
    ShiftedSimCLR,
    SimCLR,
    SimSiam,
)

KINDS = [SimCLR, ShiftedSimCLR, SimSiam, BYOL]  # with a projector


@pytest.fixture
def embedding():
    return torch.randn(12, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make(kind, **options):
    torch.manual_seed(0)
    return kind(8, hidden_dim=16, projection_dim=6, **options).double()


def loss_of(task, embedding):
    """Loss, of a target network that is the same one where the objective has a target."""
    if task.target_momentum is None:
        return task(embedding)
    return task(embedding, task.project(embedding).detach())


@pytest.fixture(autouse=True)
def keep_global_seed():
    with torch.random.fork_rng(devices=[]):
        yield


def test_simsiam_loss(embedding):
    task = make(SimSiam)
    z = normalize(task.projector(normalize(embedding)))
    p = normalize(task.predictor(z))
    expected = -((p[:6] * z[6:]).sum(dim=1) + (p[6:] * z[:6]).sum(dim=1)).mean() / 2
    assert_close(task(embedding), expected)
    assert -1 <= task(embedding).item() <= 1


def test_simclr_loss(embedding):
    task = make(SimCLR, temperature=0.3)
    z = normalize(task.projector(normalize(embedding))).detach()
    total = 0.0
    for i in range(12):
        similarities = [float(z[i] @ z[j]) / 0.3 for j in range(12) if j != i]
        partner = float(z[i] @ z[(i + 6) % 12]) / 0.3
        total += math.log(sum(map(math.exp, similarities))) - partner
    assert_close(task(embedding).item(), total / 12)


def test_mean_shifted_loss(embedding):
    task = make(MeanShifted, temperature=0.25)
    f = normalize(embedding).numpy()
    center = f.mean(axis=0) / np.linalg.norm(f.mean(axis=0))
    task(embedding)
    moved = embedding + torch.arange(8)  # the center stays that of the first batch
    shifted = normalize(moved).numpy() - center
    u = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    similarity = u @ u.T / 0.25
    np.fill_diagonal(similarity, -np.inf)
    partner = similarity[np.arange(12), (np.arange(12) + 6) % 12]
    contrast = np.log(np.exp(similarity).sum(axis=1)) - partner
    expected = contrast.mean() + np.square(shifted).sum(axis=1).mean()
    assert_close(task(moved).item(), expected)


def test_byol_loss(embedding):
    task = make(BYOL)
    target = torch.randn(12, 6, dtype=torch.float64)
    p = normalize(task.predictor(normalize(task.projector(normalize(embedding)))))
    t = normalize(target)
    squared_distance = ((p[:6] - t[6:]).square().sum(1) + (p[6:] - t[:6]).square().sum(1)).mean()
    assert_close(2 + 2 * task(embedding, target), squared_distance / 2)


@pytest.mark.parametrize("kind", [SimCLR, ShiftedSimCLR])
def test_every_other_view_is_a_negative(embedding, kind):
    """Only the partner attracts: a step along the gradient brings it nearer, others further."""
    leaf = embedding.clone().requires_grad_()
    task = make(kind).eval()
    task.projector = torch.nn.Sequential(torch.nn.Identity())
    (gradient,) = torch.autograd.grad(task(leaf), leaf)
    before, after = normalize(embedding), normalize(embedding - 1e-3 * gradient)
    moved = after @ after.T - before @ before.T
    partners = torch.arange(12).roll(6)
    assert (moved[torch.arange(12), partners] > 0).all()
    moved[torch.arange(12), partners] = moved[torch.arange(12), torch.arange(12)] = 0
    assert moved.sum() < 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalize_embedding", [True, False])
def test_gradient_is_that_of_finite_differences(embedding, kind, normalize_embedding):
    task = make(kind, normalize_embedding=normalize_embedding).eval()
    if isinstance(task, SimSiam):  # the stop-gradient is no derivative of the loss
        target = task.project(embedding).detach()

        def loss(y):
            p1, p2 = task.predictor(task.project(y)).chunk(2)
            z1, z2 = target.chunk(2)
            return -(cosine_similarity(p1, z2) + cosine_similarity(p2, z1)).mean() / 2

        leaf = embedding.clone().requires_grad_()
        found = torch.autograd.grad(loss_of(task, leaf), leaf)
        assert_close(found, torch.autograd.grad(loss(leaf), leaf))
    else:
        loss = task
    assert torch.autograd.gradcheck(loss, embedding.clone().requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_normalised_embedding_gets_no_gradient_along_itself(embedding, kind):
    """Section 2.3: the norm of the embedding cannot lower the loss."""
    for normalised in (True, False):
        leaf = embedding.clone().requires_grad_()
        loss_of(make(kind, normalize_embedding=normalised), leaf).backward()
        along = (leaf.grad * embedding).sum(dim=1).abs().max()
        assert (along < 1e-12) == normalised


@pytest.mark.parametrize("kind", [SimSiam, BYOL])
@pytest.mark.parametrize("normalised", [True, False])
def test_projector_receives_the_norm_removing_gradient(embedding, kind, normalised):
    """Section 2.4: with the normalisation, z has no gradient along itself; without, it has."""
    task = make(kind, normalize_projection=normalised)
    z = []
    task.projector.register_forward_hook(lambda module, args, output: z.append(output))
    task.eval()  # so that batch normalisation of the predictor does not hide the scale of z
    loss = loss_of(task, embedding.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(loss, z[-1])
    along = (gradient * z[-1]).sum(dim=1).abs().max()
    assert (along < 1e-12) == normalised


@pytest.mark.parametrize("normalised", [True, False])
def test_norm_of_the_projection_in_training(embedding, normalised):
    """Section 2.4: the normalised projection is the target; without, targets keep their norms."""
    norms = make(SimSiam, normalize_projection=normalised).project(embedding).norm(dim=1)
    assert torch.allclose(norms, torch.ones_like(norms)) == normalised


@pytest.mark.parametrize("kind", KINDS)
def test_views_that_agree_have_the_least_loss(embedding, kind):
    task = make(kind).eval()
    assert loss_of(task, embedding[:6].repeat(2, 1)) < loss_of(task, embedding)


def test_names_of_objectives():
    assert list(OBJECTIVES.values()) == [*KINDS, MeanShifted]


@pytest.fixture
def lightly_loss(monkeypatch):
    monkeypatch.setitem(os.environ, "LIGHTLY_DID_VERSION_CHECK", "True")
    return pytest.importorskip("lightly.loss")


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("kind", [SimCLR, ShiftedSimCLR])
def test_simclr_is_lightlys(embedding, lightly_loss, kind, temperature):
    task = make(kind, temperature=temperature)
    ours, theirs = (embedding.clone().requires_grad_() for _ in range(2))
    loss = task(ours)
    views = task.project(theirs).chunk(2)
    expected = lightly_loss.NTXentLoss(temperature=temperature)(*views)
    assert_close(loss, expected)
    assert_close(torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs))


@pytest.mark.parametrize("kind", [SimSiam, BYOL])
@pytest.mark.parametrize("normalised", [True, False])
def test_simsiam_and_byol_are_lightlys(embedding, lightly_loss, kind, normalised):
    task = make(kind, normalize_embedding=normalised, normalize_projection=normalised)
    ours, theirs = (embedding.clone().requires_grad_() for _ in range(2))
    loss = loss_of(task, ours)
    z = task.project(theirs)
    (z1, z2), (p1, p2) = z.detach().chunk(2), task.predictor(z).chunk(2)
    criterion = lightly_loss.NegativeCosineSimilarity()
    expected = (criterion(p1, z2) + criterion(p2, z1)) / 2
    assert_close(loss, expected)
    assert_close(torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs))


@pytest.fixture
def documented():
    """What the example of the page on training defines."""
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    (example,) = re.findall(r"```python\n(import torch\n.*?class .*?)```", page, re.S)
    names = {}
    exec(example, names)
    return names


def test_documented_objective_of_a_user(documented, images):
    kind = documented["BarlowTwins"]
    views = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    task = make(kind, normalize_projection=False).float()
    task.projector = torch.nn.Sequential(torch.nn.Identity())
    same, other = torch.cat([views, views]), torch.cat([views, views.flip(0)])
    assert task(same) < task(other) / 5
    detector = documented["detector"].set_params(random_state=0).fit(images)
    losses = [epoch["loss"] for epoch in detector.encoder_.history_]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert (detector.score_samples(255 - images) < detector.offset_).all()


class Following(SimSiam):
    """An objective of a user that asks for a target network."""

    target_momentum = 0.5
    seen = 0

    def forward(self, embedding, target):
        assert not target.requires_grad and target.shape == (48, 128)
        Following.seen += 1
        return BYOL.forward(self, embedding, target)


def test_objective_of_a_user_with_a_target(images):
    NSADetector(SelfSupervisedEncoder(Following, max_epochs=2, normalize=None)).fit(images)
    assert Following.seen == 2


def test_objective_of_another_kind_is_refused(images):
    with pytest.raises(TypeError, match=r"returned Linear; pass a callable that returns a skanom"):
        SelfSupervisedEncoder(lambda dim, **options: torch.nn.Linear(dim, 1)).fit(images)
    with pytest.raises(TypeError, match="objective is a SimCLR that is built already; pass the cl"):
        SelfSupervisedEncoder(SimCLR(128)).fit(images)
    with pytest.raises(TypeError, match=r"callbacks\[1\] is 1; pass functions of history_"):
        SelfSupervisedEncoder(callbacks=[len, 1]).fit(images)


def own_objective(loss):
    class Own(Objective):
        def forward(self, embedding):
            return loss(self.project(embedding))

    return Own


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda z: None, TypeError, "objective Own returned a NoneType; return a scalar tensor"),
        (lambda z: z.square().mean().item(), TypeError, "objective Own returned a float; return"),
        (lambda z: z.square().mean(1), ValueError, r"returned a tensor of shape \(48,\); return a"),
        (lambda z: z.detach().mean(), ValueError, "returned a loss without a gradient; return"),
    ],
)
def test_own_objective_that_returns_no_loss(images, loss, error, message):
    encoder = SelfSupervisedEncoder(own_objective(loss), max_epochs=1)
    with pytest.raises(error, match=message):
        encoder.fit(images)
    assert not hasattr(encoder, "network_")
    SelfSupervisedEncoder(own_objective(lambda z: z.square().mean()), max_epochs=1).fit(images)
