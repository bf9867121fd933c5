"""The unified loss against its equation, and the losses it turns into."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero, one_anchor

from reid.losses.triplet import Triplet
from reid.losses.unified import Unified


def slow_unified(case, margin, gamma):
    values = []
    for i in case.complete:
        terms = [
            (gamma * (case.s[i][n] - case.s[i][p] + margin)).exp() for n in case.negatives[i] for p in case.positives[i]
        ]
        values.append(torch.log(1 + sum(terms)))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 128.0), (0.4, 5.0)])
def test_value_and_gradient_equal_the_slow_loop(kind, margin, gamma):
    case = Case(kind)
    case.check(Unified(margin, gamma), slow_unified(case, margin, gamma))


def test_worked_example_of_one_anchor():
    assert Unified(0.25, 64.0)(one_anchor()).item() == pytest.approx(12.800073, abs=1e-6)


def test_large_gamma_gives_batch_hard_triplets():
    pairs = Case("batch").pairs
    hard = Triplet(margin=0.25, distance="cosine")(pairs)
    assert Unified(0.25, 4096.0)(pairs).item() / 4096 == pytest.approx(hard.item(), abs=1e-3)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(Unified(), classes)
