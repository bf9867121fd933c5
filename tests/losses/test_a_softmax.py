"""A-Softmax against a loop over angles, its annealing, and an independent library."""

import math

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, cross_entropy, problem, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.a_softmax import ASoftmax


def psi(value, margin):
    angle = value.acos()
    k = min(math.floor(angle.item() * margin / math.pi), margin - 1)
    return (-1) ** k * (margin * angle).cos() - 2 * k


@pytest.mark.parametrize(("steps", "blend"), [(0, 1000.0), (25, 250.0), (100_000, 5.0)])  # 1000 / (1 + 0.12 * 25) = 250
@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_value_and_gradient_equal_the_slow_loop(margin, steps, blend):
    def loop(x, classes, weight):
        total = 0.0
        for row, label in zip(x, classes, strict=True):
            logits = [row.norm() * cosine(row, w) for w in weight]
            own = cosine(row, weight[label])
            logits[label] = row.norm() * (blend * own + psi(own, margin)) / (1 + blend)
            total += cross_entropy(logits, label)
        return total / len(x)

    loss = ASoftmax(NUM_CLASSES, DIM, margin=margin)
    loss.steps += steps
    same_as_loop(loss, loop, seed=margin)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # the peer's, on torch numbers given to scipy
def test_without_annealing_equals_pytorch_metric_learning():
    loss = ASoftmax(NUM_CLASSES, DIM, lambda_start=0.0, lambda_min=0.0)
    same_as_peer(loss, losses.SphereFaceLoss(NUM_CLASSES, DIM), "W")


def test_only_a_step_that_was_taken_lowers_the_blend_and_the_count_is_in_the_state():
    torch.manual_seed(0)
    loss, copy = (ASoftmax(NUM_CLASSES, DIM, lambda_start=10.0).double() for _ in range(2))
    x, classes = problem()
    first = loss(x, classes).item()
    assert loss(x, classes).item() == first
    for _ in range(3):
        loss.after_step()
    assert loss(x, classes).item() > first
    copy.load_state_dict(loss.state_dict())
    assert copy(x, classes).item() == loss(x, classes).item()


@pytest.mark.parametrize("margin", [2, 3, 4])
def test_own_entry_falls_from_one_to_one_minus_twice_the_margin(margin):
    cosines = torch.linspace(0, math.pi, 200, dtype=torch.float64).cos().requires_grad_(True)
    entries = ASoftmax(2, 2, margin=margin)._psi(cosines)
    assert (entries.diff() < 0).all()
    assert entries[[0, -1]].tolist() == pytest.approx([1, 1 - 2 * margin])
    assert (torch.autograd.grad(entries.sum(), cosines)[0] > -1e-9).all()


def test_margin_below_one_is_refused():
    with pytest.raises(ValueError, match="MARGIN is 0; expected a whole number from 1"):
        ASoftmax(2, 2, margin=0)
