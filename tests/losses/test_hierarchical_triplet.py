"""Hierarchical triplet: the tree against naive agglomeration, the loss against a loop over all triplets."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from torch.nn import functional as F

from reid.losses.hierarchical_triplet import HierarchicalTriplet
from reid.methods._distances import class_distances
from reid.plan import Plan


def between_classes(num_classes=7, seed=0, spread=0.4):
    """Class distances of unit rows about random centres."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(num_classes, 4, generator=generator).repeat_interleave(5, dim=0)
    rows = centres + spread * torch.randn(len(centres), 4, generator=generator)
    return class_distances(rows, torch.arange(num_classes).repeat_interleave(5))


def slow_margins(distances, margin, num_levels):
    """The two nearest groups are joined, again and again, each time noting the first threshold above their distance."""
    num = len(distances)
    lowest = sum(distances[c, c].item() for c in range(num)) / num
    thresholds = [level * (4 - lowest) / num_levels + lowest for level in range(num_levels + 1)]
    groups, margins = [[c] for c in range(num)], {}

    def mean(one, other):
        return sum(distances[p, q].item() for p in one for q in other) / (len(one) * len(other))

    while len(groups) > 1:
        one, other = min(((a, b) for a in groups for b in groups if a is not b), key=lambda pair: mean(*pair))
        threshold = next(d for d in thresholds if mean(one, other) < d)
        for p in one:
            for q in other:
                margins[p, q] = margin + threshold - distances[p, p].item()
                margins[q, p] = margin + threshold - distances[q, q].item()
        groups = [group for group in groups if group is not one and group is not other] + [one + other]
    return margins


def slow_loss(case, margin_of):
    terms = [
        F.relu((2 - 2 * case.s[a][p]) - (2 - 2 * case.s[a][n]) + margin_of(a, n))
        for a in range(len(case.rows))
        for p in case.positives[a]
        for n in case.negatives[a]
    ]
    return sum(terms) / (2 * len(terms))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(kind, seed):
    case = Case(kind, seed)
    loss = HierarchicalTriplet(7).double()
    case.check(loss, slow_loss(case, lambda a, n: 0.1))
    distances = between_classes(7, seed)
    loss.use_plan(Plan(distances=distances))
    margins = slow_margins(distances, 0.1, 16)
    case.check(loss, slow_loss(case, lambda a, n: _read(loss, case, a, n)))
    for (p, q), margin in margins.items():
        made = loss.margin + loss.thresholds[int(loss.levels[p, q])] - loss.spreads[p]
        assert made.item() == pytest.approx(margin, abs=1e-5)


def _read(loss, case, a, n):
    p, q = int(case.classes[a]), int(case.ref_classes[n])
    return loss.margin + loss.thresholds[int(loss.levels[p, q])] - loss.spreads[p]


def test_classes_joined_late_have_wider_margins_and_wide_classes_smaller_ones():
    """Two near classes and one opposite: by hand, d_0 = 0.2, thresholds 0.2, 1.15, 2.1, 3.05, 4."""
    distances = torch.tensor([[0.1, 0.5, 3.5], [0.5, 0.3, 3.3], [3.5, 3.3, 0.2]])
    loss = HierarchicalTriplet(3, margin=0.1, levels=4)
    loss.use_plan(Plan(distances=distances))
    assert loss.thresholds.tolist() == pytest.approx([0.2, 1.15, 2.1, 3.05, 4.0])
    assert loss.levels.tolist() == [[0, 1, 4], [1, 0, 4], [4, 4, 0]]
    assert loss.spreads.tolist() == pytest.approx([0.1, 0.3, 0.2])


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_a_triplet_gives_zero_with_gradient_zero(classes):
    assert gives_zero(HierarchicalTriplet(3), classes)


def test_collapsed_embeddings_give_half_the_margin():
    x = F.normalize(torch.ones(6, 3)).requires_grad_(True)
    loss = HierarchicalTriplet(3)(x, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(0.05, abs=1e-6)
    assert x.grad.isfinite().all()


def test_the_tree_travels_in_the_state():
    loss, other = HierarchicalTriplet(7), HierarchicalTriplet(7)
    loss.use_plan(Plan(distances=between_classes()))
    other.load_state_dict(loss.state_dict())
    case = Case("batch")
    assert other(case.pairs).item() == loss(case.pairs).item() != HierarchicalTriplet(7)(case.pairs).item()


def test_classes_that_are_all_one_point_are_joined_at_once():
    loss = HierarchicalTriplet(3, levels=2)
    loss.use_plan(Plan(distances=torch.zeros(3, 3)))
    assert loss.levels.fill_diagonal_(1).tolist() == [[1, 1, 1]] * 3


def test_levels_out_of_range_are_refused():
    with pytest.raises(ValueError, match="LEVELS is 0; expected 1 to 255"):
        HierarchicalTriplet(3, levels=0)
