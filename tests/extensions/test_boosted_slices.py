"""A boosted pair loss from a file of its own: against a slow loop, behind a memory, and in a whole run."""

import json
import math

import pytest
import torch
from boosted_slices import BoostedSlices
from tiny_run import build
from torch.nn import functional as F

import reid.losses
from reid.builder import runs
from reid.pairs import Pairs, Rows


def slow(rows, refs, positives, negatives, num_slices):
    """rows, refs: lists of (D,); positives, negatives: lists of (i, j). The derivative of the deviance by hand."""
    boosted = dict.fromkeys(positives + negatives, 0.0)
    total = 0.0
    for m in range(num_slices):
        for pair in positives + negatives:
            one, other = (side.tensor_split(num_slices)[m] for side in (rows[pair[0]], refs[pair[1]]))
            cosine = one @ other / (one.norm() * other.norm())
            sign, scale = (-1, 2.0) if pair in positives else (1, 50.0)
            number = len(positives if pair in positives else negatives)
            weight = sign * scale / (1 + math.exp(-sign * scale * (boosted[pair] - 0.5))) / number
            total += weight * cosine
            boosted[pair] += 2 / (m + 2) * (cosine.item() - boosted[pair])
    return total / num_slices


@pytest.mark.parametrize("kind", ["batch", "memory", "joint"])
@pytest.mark.parametrize("num_slices", [1, 3])
def test_value_and_gradient_equal_the_slow_loop(kind, num_slices):
    generator = torch.Generator().manual_seed(0)
    x, memory = (torch.randn(n, 7, generator=generator, dtype=torch.float64) for n in (6, 5))
    classes, ref_classes = torch.arange(6) // 2, torch.arange(5) % 4
    own, remembered = Rows.of(x.requires_grad_(True), classes), Rows.of(memory, ref_classes)
    refs = {"batch": [*x], "memory": [*memory], "joint": [*x, *memory]}[kind]
    labels = {"batch": classes, "memory": ref_classes, "joint": torch.cat([classes, ref_classes])}[kind].tolist()
    every = [(i, j) for i in range(6) for j in range(len(refs)) if i != j or kind == "memory"]
    positives = [(i, j) for i, j in every if labels[j] == classes[i]]
    negatives = [(i, j) for i, j in every if labels[j] != classes[i]]
    made = {
        "batch": Pairs.within(own),
        "joint": Pairs.within(own, remembered),
        "memory": Pairs.between(own, remembered),
    }
    fast, loop = BoostedSlices(num_slices)(made[kind]), slow([*x], refs, positives, negatives, num_slices)
    assert fast.item() == pytest.approx(loop.item(), rel=1e-9)
    gradients = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in (fast, loop)]
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


def test_the_later_slice_learns_what_the_first_gets_wrong():
    """A negative that the first slice finds alike is pushed away in the second, one that it tells apart hardly at all."""
    first = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], dtype=torch.float64))
    second = F.normalize(torch.tensor([[1.0, 1.0], [1.0, -0.2], [1.0, -0.2]], dtype=torch.float64))
    x = torch.cat([first, second], dim=1).requires_grad_(True)
    anchor, refs = Rows.of(x[:1], torch.tensor([0])), Rows.of(x[1:], torch.tensor([1, 2]))
    (gradient,) = torch.autograd.grad(BoostedSlices(2)(Pairs.between(anchor, refs)), x)
    alike, apart = gradient[1:, 2:].norm(dim=1).tolist()
    assert alike > 1e6 * apart


def test_it_trains_behind_a_memory(tiny_world, tmp_path, monkeypatch, request):
    monkeypatch.setattr(reid.losses, "__path__", [*reid.losses.__path__, str(request.path.parent)])
    overrides = {
        "LOSSES": "[softmax, {NAME: boosted_slices, NUM_SLICES: 2}]",
        "MEMORY.SIZE": "40",
        "SAMPLER": "{NAME: identity, NUM_INSTANCES: 4}",
    }
    assert runs.train(build(tiny_world, tmp_path, overrides))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (key,) = [key for key in lines[-1] if "boosted_slices_memory" in key]
    assert all(math.isfinite(line[key]) for line in lines[1:])
