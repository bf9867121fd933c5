"""Circle loss against a loop over the paper's equations, and against an independent library."""

import math

import pytest
import torch
from pytorch_metric_learning import losses
from torch.nn import functional as F

from reid.losses.circle import Circle
from reid.pairs import Pairs, Rows


def problem(seed: int = 0, size: int = 12):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 4, generator=generator, dtype=torch.float64).requires_grad_(True)
    return x, torch.randint(4, (size,), generator=generator)


def slow_circle(rows, classes, margin, gamma):
    values = []
    for i in range(len(rows)):
        negatives, positives = [], []
        for j in range(len(rows)):
            s = rows[i] @ rows[j]
            if classes[i] != classes[j]:
                negatives.append(gamma * max(s.item() + margin, 0) * (s - margin))
            elif i != j:
                positives.append(-gamma * max(1 + margin - s.item(), 0) * (s - (1 - margin)))
        if positives and negatives:
            both = torch.logsumexp(torch.stack(negatives), 0) + torch.logsumexp(torch.stack(positives), 0)
            values.append(F.softplus(both))
    return sum(values) / len(values)


@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 128.0), (0.4, 80.0), (0.25, 256.0)])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(margin, gamma, seed):
    x, classes = problem(seed)
    slow = slow_circle(F.normalize(x), classes, margin, gamma)
    fast = Circle(margin=margin, gamma=gamma)(x, classes)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-9)
    (fast_grad,) = torch.autograd.grad(fast, x)
    (slow_grad,) = torch.autograd.grad(slow, x)
    assert torch.allclose(fast_grad, slow_grad, atol=1e-9)


def test_value_equals_pytorch_metric_learning():
    x, classes = problem(5)
    expected = losses.CircleLoss(m=0.4, gamma=80)(x.detach(), classes)
    assert Circle(margin=0.4, gamma=80.0)(x, classes).item() == pytest.approx(expected.item())


def test_the_worked_example_of_one_anchor():
    """One anchor with positive similarities 0.8, 0.6 and negative ones 0.4, 0.55, 0.1: 21.600571 at margin 0.25, gamma 64."""
    similarities = torch.tensor([0.8, 0.6, 0.4, 0.55, 0.1], dtype=torch.float64)
    refs = torch.stack([similarities, (1 - similarities**2).sqrt()], dim=1)
    anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    pairs = Pairs.between(Rows.of(anchor, torch.tensor([0])), Rows.of(refs, torch.tensor([0, 0, 1, 1, 1])))
    assert Circle(0.25, 64.0)(pairs).item() == pytest.approx(21.600571, abs=1e-6)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    x = torch.randn(3, 4, requires_grad=True)
    loss = Circle()(x, torch.tensor(classes))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("rows", ["collapsed", "antipodal"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_extreme_embeddings_stay_finite_in_half_precision(rows, dtype):
    x = torch.ones(4, 8)
    if rows == "antipodal":
        x[::2] *= -1
    x = F.normalize(x).to(dtype).requires_grad_(True)
    loss = Circle(gamma=256.0)(x, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert x.grad.isfinite().all()
