"""Local push against a loop over its terms."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, same_as_loop

from reid.losses.local_push import LocalPush


def loop(margin):
    def slow(x, classes, weight):
        rows = []
        for row, label in zip(x, classes, strict=True):
            own = 1 - cosine(row, weight[label])
            terms = [margin + own - (1 - cosine(row, other)) for other, c in zip(x, classes, strict=True) if c != label]
            terms = [term for term in terms if term > 0]
            rows += [sum(terms) / len(terms)] if terms else []
        return sum(rows) / len(rows)

    return slow


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(margin, seed):
    same_as_loop(LocalPush(NUM_CLASSES, DIM, margin), loop(margin), seed)


def test_hand_checked():
    """Cosines 0.6 and 1 with the own centres, 0.8 between the two: 0.1 + 0.8 - 0.6 = 0.3 for the first, below 0 for the other."""
    loss = LocalPush(2, 2).double()
    loss.weight.data = torch.tensor([[0.6, 0.8], [0.8, -0.6]], dtype=torch.float64)
    x = torch.tensor([[2.0, 0.0], [0.8, -0.6]], dtype=torch.float64)
    assert loss(x, torch.arange(2)).item() == pytest.approx(0.3)


def test_a_batch_of_one_class_gives_zero_with_gradient_zero():
    x = torch.randn(4, 3, requires_grad=True)
    value = LocalPush(2, 3)(x, torch.zeros(4, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert not x.grad.any()
