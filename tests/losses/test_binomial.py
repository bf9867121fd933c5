"""Binomial deviance against a loop over the definition."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero

from reid.losses.binomial import BinomialDeviance
from reid.pairs import Pairs, Rows


def slow_binomial(case, alpha, beta, cost):
    positives = [torch.log1p((-alpha * (case.s[i][j] - beta)).exp()) for i in range(12) for j in case.positives[i]]
    negatives = [
        torch.log1p((alpha * cost * (case.s[i][j] - beta)).exp()) for i in range(12) for j in case.negatives[i]
    ]
    return sum(positives) / len(positives) + sum(negatives) / len(negatives)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("alpha", "beta", "cost"), [(2.0, 0.5, 25.0), (1.0, 0.2, 3.0)])
def test_value_and_gradient_equal_the_slow_loop(kind, alpha, beta, cost):
    case = Case(kind)
    case.check(BinomialDeviance(alpha=alpha, beta=beta, negative_cost=cost), slow_binomial(case, alpha, beta, cost))


@pytest.mark.parametrize(("similarity", "label", "expected"), [(0.8, 0, 0.437488), (0.55, 1, 2.578890)])
def test_worked_examples_of_one_pair(similarity, label, expected):
    ref = torch.tensor([[similarity, (1 - similarity**2) ** 0.5]], dtype=torch.float64)
    anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    pairs = Pairs.between(Rows.of(anchor, torch.tensor([0])), Rows.of(ref, torch.tensor([label])))
    assert BinomialDeviance()(pairs).item() == pytest.approx(expected, abs=1e-6)


def test_batch_without_a_pair_gives_zero_with_gradient_zero():
    assert gives_zero(BinomialDeviance(), [0])


def test_batch_with_one_kind_of_pair_keeps_its_mean():
    x = torch.eye(3)
    only = BinomialDeviance()(x, torch.tensor([0, 0, 0]))
    assert only.item() == pytest.approx(torch.log1p(torch.tensor(1.0).exp()).item())
