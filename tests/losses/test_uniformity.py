"""Uniformity, over all pairs and within domains, against loops."""

import math

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from torch.nn import functional as F

from reid.losses.domain_uniformity import DomainUniformity
from reid.losses.uniformity import Uniformity
from reid.pairs import Pairs, Rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_over_all_pairs_it_equals_the_slow_loop(kind, scale):
    case = Case(kind)
    terms = [
        (-scale * (row - ref).square().sum()).exp()
        for i, row in enumerate(case.rows)
        for j, ref in enumerate(case.refs)
        if not case.own(i, j)
    ]
    case.check(Uniformity(scale), (sum(terms) / len(terms)).log())


def test_hand_checked():
    """Two rows at a right angle: exp(-2 * 2), whichever their classes; opposite ones exp(-2 * 4)."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    for labels in ([0, 0], [0, 1]):
        assert Uniformity()(rows, torch.tensor(labels)).item() == pytest.approx(-4, abs=1e-5)
    assert Uniformity()(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 1])).item() == pytest.approx(
        -8, abs=1e-5
    )


@pytest.mark.parametrize("num_neighbours", [1, 2, 100])
@pytest.mark.parametrize("prototypes", [False, True])
def test_within_domains_it_equals_the_slow_loop(num_neighbours, prototypes):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64).requires_grad_(True)
    classes = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    domains = torch.tensor([0] * 6 + [1] * 4 + [2] * 2)  # the last has one class: nothing to spread from
    rows = F.normalize(x)
    anchors = Rows.of(rows, classes, domains)
    if prototypes:
        centres = F.normalize(torch.randn(6, 5, generator=generator, dtype=torch.float64))
        refs = Rows.of(centres, torch.arange(6), torch.tensor([0, 0, 0, 1, 1, 2]))
        pairs = Pairs.between(anchors, refs)
    else:
        refs, pairs = anchors, Pairs.within(anchors)
    terms = []
    for i in range(12):
        squared = [
            (rows[i] - refs.embeddings[j]).square().sum()
            for j in range(len(refs))
            if refs.domains[j] == domains[i] and refs.classes[j] != classes[i]
        ]
        terms += [(-2 * d).exp() for d in sorted(squared, key=lambda d: d.item())[:num_neighbours]]
    slow = (sum(terms) / len(terms)).log()
    loss = DomainUniformity(num_neighbours)
    fast = loss(pairs)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in (fast, slow)]
    assert torch.allclose(*gradients, atol=1e-9)
    assert loss.usable(pairs).tolist() == [True] * 10 + [False] * 2


@pytest.mark.parametrize(("loss", "classes"), [(Uniformity(), [0]), (DomainUniformity(), [0, 0, 0])])
def test_without_a_pair_it_is_zero_with_gradient_zero(loss, classes):
    assert gives_zero(loss, classes)


def test_duplicates_are_as_far_from_uniform_as_can_be():
    assert Uniformity()(torch.ones(4, 3), torch.arange(4)).item() == pytest.approx(0, abs=1e-5)
    assert not math.isnan(DomainUniformity()(torch.ones(4, 3), torch.arange(4)).item())
