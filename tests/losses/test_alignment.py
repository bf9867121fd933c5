"""Alignment against loops over sets of neighbours, within a batch and between two views."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero

from reid.losses.alignment import Alignment


def slow(case, k):
    apart = case.kind == "memory"
    rows = [*case.rows, *case.refs] if apart else list(case.refs)
    refs_from = len(case.rows) if apart else 0

    def nearest(i):
        order = sorted(range(len(rows)), key=lambda j: -2.0 if j == i else -(rows[i] @ rows[j]).item())
        return set(order[:k])

    near = [nearest(i) for i in range(len(rows))]
    mutual = [{j for j in near[i] if i in near[j]} for i in range(len(rows))]
    total = weights = 0.0
    for i in range(12):
        for j in case.positives[i]:
            ours, theirs = mutual[i], mutual[refs_from + j]
            weight = len(ours & theirs) / (len(ours | theirs) + 1e-6) if k else 1.0
            total = total + weight * (case.rows[i] - case.refs[j]).square().sum()
            weights += weight
    return total / weights


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [0, 3, 8, 100])
@pytest.mark.parametrize("seed", range(2))
def test_value_and_gradient_equal_the_slow_loop(kind, k, seed):
    case = Case(kind, seed)
    case.check(Alignment(k), slow(case, k))


def test_a_batch_without_a_positive_gives_zero_with_gradient_zero():
    assert gives_zero(Alignment(), [0, 1, 2])


def test_a_pair_whose_surroundings_differ_counts_less():
    """Four rows of one class; the last lies among another class, and its pairs weigh less than the others'."""
    generator = torch.Generator().manual_seed(0)
    places = torch.tensor([0.0, 0.0, 0.0, 1.5, 1.5, 1.5, 1.5]) + 0.02 * torch.randn(7, generator=generator)
    x = torch.stack([places.cos(), places.sin()], dim=1).requires_grad_(True)
    classes = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    plain, weighed = Alignment(0)(x, classes), Alignment(4)(x, classes)
    assert weighed < 0.5 * plain
