"""Losses by hand, and the gradient claim of NSA section 2.4."""

import math

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from skanomaly.encoders.objectives import OBJECTIVES, SimCLR, SimSiam


@pytest.fixture
def embedding():
    return torch.randn(12, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make(kind, **options):
    torch.manual_seed(0)
    return kind(8, hidden_dim=16, projection_dim=6, **options).double()


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


@pytest.mark.parametrize("kind", OBJECTIVES.values())
@pytest.mark.parametrize("normalize_embedding", [True, False])
def test_gradient_is_that_of_finite_differences(embedding, kind, normalize_embedding):
    task = make(kind, normalize_embedding=normalize_embedding).eval()
    if kind is SimSiam:  # the stop-gradient is no derivative of the loss
        target = task.project(embedding).detach()

        def loss(y):
            p1, p2 = task.predictor(task.project(y)).chunk(2)
            z1, z2 = target.chunk(2)
            cosine = torch.nn.functional.cosine_similarity
            return -(cosine(p1, z2) + cosine(p2, z1)).mean() / 2

        leaf = embedding.clone().requires_grad_()
        assert_close(torch.autograd.grad(task(leaf), leaf), torch.autograd.grad(loss(leaf), leaf))
    else:
        loss = task
    assert torch.autograd.gradcheck(loss, embedding.clone().requires_grad_())


@pytest.mark.parametrize("kind", OBJECTIVES.values())
def test_normalised_embedding_gets_no_gradient_along_itself(embedding, kind):
    """Section 2.3: the norm of the embedding cannot lower the loss."""
    for normalised in (True, False):
        leaf = embedding.clone().requires_grad_()
        make(kind, normalize_embedding=normalised)(leaf).backward()
        along = (leaf.grad * embedding).sum(dim=1).abs().max()
        assert (along < 1e-12) == normalised


@pytest.mark.parametrize("normalised", [True, False])
def test_projector_receives_the_norm_removing_gradient(embedding, normalised):
    """Section 2.4: with the normalisation, z has no gradient along itself; without, it has."""
    task = make(SimSiam, normalize_projection=normalised)
    z = []
    task.projector.register_forward_hook(lambda module, args, output: z.append(output))
    task.eval()  # so that batch normalisation of the predictor does not hide the scale of z
    loss = task(embedding.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(loss, z[0])
    along = (gradient * z[0]).sum(dim=1).abs().max()
    assert (along < 1e-12) == normalised


def test_views_that_agree_have_the_least_loss(embedding):
    agreeing = embedding[:6].repeat(2, 1)
    for kind in OBJECTIVES.values():
        task = make(kind).eval()
        assert task(agreeing) < task(embedding)
