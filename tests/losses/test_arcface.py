"""ArcFace against a loop over angles, and against an independent library."""

import math

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, cross_entropy, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.arcface import ArcFace


def own_entry(value, margin, easy):
    angle = value.acos()
    if easy:
        return (angle + margin).cos() if angle < math.pi / 2 else value
    return (angle + margin).cos() if angle + margin <= math.pi else value - margin * math.sin(margin)


@pytest.mark.parametrize("easy", [False, True])
@pytest.mark.parametrize("margin", [0.5, 2.0])  # at 2 many angles pass π - m
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(margin, easy, seed):
    def loop(x, classes, weight):
        total = 0.0
        for row, label in zip(x, classes, strict=True):
            logits = [cosine(row, w) for w in weight]
            logits[label] = own_entry(logits[label], margin, easy)
            total += cross_entropy([8 * value for value in logits], label)
        return total / len(x)

    same_as_loop(ArcFace(NUM_CLASSES, DIM, margin=margin, scale=8.0, easy_margin=easy), loop, seed)


@pytest.mark.parametrize("margin", [0.5, 2.0])
def test_equals_pytorch_metric_learning(margin):
    peer = losses.ArcFaceLoss(NUM_CLASSES, DIM, margin=math.degrees(margin), scale=64)
    same_as_peer(ArcFace(NUM_CLASSES, DIM, margin=margin), peer, "W")


def test_own_entry_falls_over_the_whole_half_circle():
    angles = torch.linspace(0, math.pi, 200, dtype=torch.float64)
    entries = ArcFace(2, 2, margin=0.5)._enlarge(angles.cos())
    assert (entries.diff() < 0).all()


@pytest.mark.parametrize("easy", [False, True])
def test_gradient_is_finite_exactly_on_the_own_row_and_opposite_it(easy):
    loss = ArcFace(2, 2, easy_margin=easy)
    loss.weight.data = torch.eye(2)
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    loss(x, torch.tensor([0, 0])).backward()
    assert x.grad.isfinite().all()


def test_margin_of_half_a_turn_is_refused():
    with pytest.raises(ValueError, match=r"MARGIN is 28\.6; expected radians"):
        ArcFace(2, 2, margin=28.6)
