"""Pair losses as weights: the theorem of general pair weighting, and closed forms."""

import pytest
import torch
from torch.nn import functional as F

from reid.builder import registry
from reid.losses import PairLoss
from reid.losses.binomial import BinomialDeviance
from reid.losses.multi_similarity import MultiSimilarity
from reid.losses.triplet import Triplet
from reid.pairs import Pairs, Rows

PAIR_LOSSES = [name for name in registry.names("losses") if issubclass(registry.find("losses", name), PairLoss)]


def rows(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64).requires_grad_(True)
    return x, torch.randint(4, (12,), generator=generator)


@pytest.mark.parametrize("name", PAIR_LOSSES)
@pytest.mark.parametrize("kind", ["batch", "joint"])
def test_constant_weights_give_the_gradient_of_the_loss(name, kind):
    x, classes = rows()
    remembered, remembered_classes = rows(1)
    queue = Rows(F.normalize(remembered.detach()), remembered_classes, *[torch.zeros_like(classes)] * 2)
    pairs = Pairs.within(Rows.of(F.normalize(x), classes, classes % 2), queue if kind == "joint" else None)
    loss = registry.make("losses", {"NAME": name}, num_classes=4, dim=5).double()
    (expected,) = torch.autograd.grad(loss(pairs), x, retain_graph=True)
    (actual,) = torch.autograd.grad((loss.weights(pairs) * pairs.similarity()).sum(), x)
    assert expected.abs().max() > 0
    assert torch.allclose(actual, expected, rtol=1e-6, atol=1e-9)


def test_weights_of_all_triplets_over_a_large_memory():
    x, classes = rows()
    refs = F.normalize(torch.randn(1300, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    pairs = Pairs.between(Rows.of(F.normalize(x), classes), Rows.of(refs, torch.arange(1300) % 4))
    loss = Triplet(mining="all", distance="cosine")
    (expected,) = torch.autograd.grad(loss(pairs), x, retain_graph=True)
    (actual,) = torch.autograd.grad((loss.weights(pairs) * pairs.similarity()).sum(), x)
    assert torch.allclose(actual, expected, rtol=1e-6, atol=1e-9)


def test_multi_similarity_has_the_weights_of_the_paper():
    """Those of the pairs that its mining keeps, divided by the number of anchors that have a positive and a negative."""
    x, classes = rows()
    pairs = Pairs.within(Rows.of(F.normalize(x), classes))
    a, b, base = 2.0, 50.0, 0.5
    actual = MultiSimilarity(alpha=a, beta=b, base=base, epsilon=0.1).weights(pairs)
    s = pairs.similarity().detach()
    for i in range(12):
        positives, negatives = (mask[i].nonzero().squeeze(1).tolist() for mask in (pairs.positive, pairs.negative))
        kept_p = [j for j in positives if s[i, j] < max(s[i, k] for k in negatives) + 0.1]
        kept_n = [j for j in negatives if positives and s[i, j] > min(s[i, k] for k in positives) - 0.1]
        expected = torch.zeros(12, dtype=torch.float64)
        for j in kept_p:
            others = sum((-a * (s[i, k] - s[i, j])).exp() for k in kept_p)
            expected[j] = -1 / ((-a * (base - s[i, j])).exp() + others)
        for j in kept_n:
            others = sum((b * (s[i, k] - s[i, j])).exp() for k in kept_n)
            expected[j] = 1 / ((b * (base - s[i, j])).exp() + others)
        assert torch.allclose(actual[i], expected / pairs.positive.any(dim=1).sum(), atol=1e-12)


def test_binomial_deviance_has_the_weights_of_a_logistic_loss():
    x, classes = rows()
    pairs = Pairs.within(Rows.of(F.normalize(x), classes))
    s = pairs.similarity().detach()
    expected = -2 * torch.sigmoid(-2 * (s - 0.5)) * pairs.positive / pairs.positive.sum()
    expected += 50 * torch.sigmoid(50 * (s - 0.5)) * pairs.negative / pairs.negative.sum()
    assert torch.allclose(BinomialDeviance().weights(pairs), expected)
