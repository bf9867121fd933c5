"""Triplets over domains against a loop; where there is one domain, nothing."""

import pytest
import torch
from tiny_run import build

from reid.builder import objects
from reid.losses.domain_triplet import DomainTriplet
from reid.pairs import Pairs, Rows


def problem(seed=0, num=12):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 5, generator=generator, dtype=torch.float64).requires_grad_(True)
    classes = torch.randint(6, (num,), generator=generator)
    return x, classes, classes // 2  # a class lies in one domain


def loop(x, classes, domains, refs, ref_classes, ref_domains, margin):
    rows = []
    for i in range(len(x)):
        others = [(x[i] - refs[j]).norm() for j in range(len(refs)) if ref_domains[j] != domains[i]]
        near = [
            (x[i] - refs[j]).norm()
            for j in range(len(refs))
            if ref_domains[j] == domains[i] and ref_classes[j] != classes[i]
        ]
        if others and near:
            gap = max(others) - min(near)
            rows.append((gap + margin).clamp_min(0) if margin else torch.log1p(gap.exp()))
    return sum(rows) / len(rows)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(margin, memory, seed):
    x, classes, domains = problem(seed)
    refs, ref_classes, ref_domains = x, classes, domains
    kept = None
    if memory:
        more, more_classes, more_domains = problem(seed + 9, 20)
        kept = Rows.of(more.detach(), more_classes, more_domains)
        refs, ref_classes = torch.cat([x, more.detach()]), torch.cat([classes, more_classes])
        ref_domains = torch.cat([domains, more_domains])
    fast = DomainTriplet(margin)(Pairs.within(Rows.of(x, classes, domains), kept))
    slow = loop(x, classes, domains, refs, ref_classes, ref_domains, margin)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in (fast, slow)]
    assert torch.allclose(*gradients, atol=1e-8)


def test_one_domain_gives_zero_with_gradient_zero():
    x, classes, _ = problem()
    value = DomainTriplet()(x, classes)
    value.backward()
    assert value.item() == 0
    assert not x.grad.any()


def test_a_run_of_one_source_is_refused(tiny_world, tmp_path):
    one = {"LOSSES": "[domain_triplet]", "DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}]"}
    with pytest.raises(
        ValueError, match=r"losses\.domain_triplet: found 1 source; it compares domains: name two or more"
    ):
        objects.losses(build(tiny_world, tmp_path / "run", one), num_classes=3, dim=4)
