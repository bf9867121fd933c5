"""Center loss against a loop over the paper's equation."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, problem, same_as_loop

from reid.losses.center import Center


def loop(x, classes, weight):
    return sum((row - weight[label]).square().sum() for row, label in zip(x, classes, strict=True)) / 2 / len(x)


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(seed):
    same_as_loop(Center(NUM_CLASSES, DIM), loop, seed)


def test_a_step_moves_the_centres_in_the_batch_towards_their_embeddings_and_no_other():
    torch.manual_seed(0)
    loss = Center(NUM_CLASSES, DIM).double()
    x, classes = problem()
    (gradient,) = torch.autograd.grad(loss(x, classes), loss.weight)
    for c in range(NUM_CLASSES):
        gaps = [loss.weight[c] - row for row, label in zip(x, classes.tolist(), strict=True) if label == c]
        expected = sum(gaps) / len(x) if gaps else torch.zeros(DIM, dtype=torch.float64)
        assert torch.allclose(gradient[c], expected)
    assert (gradient[-1] == 0).all()
