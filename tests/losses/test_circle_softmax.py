"""Circle loss on classes against a loop over the paper's equation."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, same_as_loop

from reid.losses.circle_softmax import CircleSoftmax


@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 8.0), (0.35, 64.0)])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(margin, gamma, seed):
    def loop(x, classes, weight):
        total = 0.0
        for row, label in zip(x, classes, strict=True):
            s = [cosine(row, w) for w in weight]
            positive = -gamma * max(1 + margin - s[label].item(), 0) * (s[label] - (1 - margin))
            negatives = [gamma * max(v.item() + margin, 0) * (v - margin) for c, v in enumerate(s) if c != label]
            total += torch.log1p(sum(n.exp() for n in negatives) * positive.exp())
        return total / len(x)

    same_as_loop(CircleSoftmax(NUM_CLASSES, DIM, margin=margin, gamma=gamma), loop, seed)


def test_is_a_softmax_over_the_weighted_similarities():
    """A second form of it: cross-entropy of γ α (s - Δ), as the codes with one weight a class have it."""
    torch.manual_seed(0)
    loss = CircleSoftmax(NUM_CLASSES, DIM).double()
    x, classes = torch.randn(6, DIM, dtype=torch.float64), torch.arange(6) % NUM_CLASSES
    s = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(loss.weight).T
    own = torch.nn.functional.one_hot(classes, NUM_CLASSES).bool()
    logits = torch.where(own, (1.25 - s).relu() * (s - 0.75), (s + 0.25).relu() * (s - 0.25))
    assert loss(x, classes).item() == pytest.approx(torch.nn.functional.cross_entropy(128 * logits, classes).item())
