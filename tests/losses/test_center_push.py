"""Centre push against a loop over its terms."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, same_as_loop

from reid.losses.center_push import CenterPush


def loop(margin):
    def slow(x, classes, weight):
        rows = []
        for row, label in zip(x, classes, strict=True):
            own = 1 - cosine(row, weight[label])
            terms = [margin + own - (1 - cosine(row, w)) for c, w in enumerate(weight) if c != label]
            terms = [term for term in terms if term > 0]
            rows += [sum(terms) / len(terms)] if terms else []
        return sum(rows) / len(rows)

    return slow


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.5])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(margin, seed):
    same_as_loop(CenterPush(NUM_CLASSES, DIM, margin), loop(margin), seed)


def test_hand_checked():
    """Cosine 0.6 with the own centre, 0.8 and 0 with the others: 0.1 + 0.4 - 0.2 = 0.3; the other term is below 0."""
    loss = CenterPush(3, 2).double()
    loss.weight.data = torch.tensor([[0.6, 0.8], [0.8, -0.6], [0.0, 1.0]], dtype=torch.float64)
    assert loss(torch.tensor([[5.0, 0.0]], dtype=torch.float64), torch.tensor([0])).item() == pytest.approx(0.3)


def test_where_all_are_near_their_centres_it_is_zero_with_gradient_zero():
    loss = CenterPush(3, 3)
    loss.weight.data = torch.eye(3)
    x = torch.eye(3, requires_grad=True)
    loss(x, torch.arange(3)).backward()
    assert not x.grad.any()
