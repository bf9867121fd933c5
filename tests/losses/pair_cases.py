"""What the tests of pair losses share: the same rows as `Pairs` and as plain lists, for loops written from the papers."""

import pytest
import torch
from torch.nn import functional as F

from reid.pairs import Pairs, Rows

KINDS = ("batch", "memory", "joint")


class Case:
    """Twelve rows of five dimensions (`x`, a leaf) within the batch, against a memory of 20 rows, or against both.

    positives[i], negatives[i]: columns; s[i][j], d[i][j]: scalars from one inner product, one norm each.
    """

    def __init__(self, kind, seed=0, *, unit=True, classes=None):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(12, 5, generator=generator, dtype=torch.float64).requires_grad_(True)
        memory = torch.randn(20, 5, generator=generator, dtype=torch.float64)
        drawn = torch.randint(5, (12,), generator=generator)
        self.classes = drawn if classes is None else torch.tensor(classes)
        memory_classes = torch.randint(7, (20,), generator=generator)
        self.kind = kind
        self.rows, memory = (F.normalize(self.x), F.normalize(memory)) if unit else (self.x, memory)
        labels = torch.zeros_like(memory_classes)
        if kind == "batch":
            self.refs, self.ref_classes = self.rows, self.classes
            self.pairs = Pairs.within(Rows.of(self.rows, self.classes))
        elif kind == "memory":
            self.refs, self.ref_classes = memory, memory_classes
            self.pairs = Pairs.between(Rows.of(self.rows, self.classes), Rows.of(memory, memory_classes))
        else:
            self.refs, self.ref_classes = torch.cat([self.rows, memory]), torch.cat([self.classes, memory_classes])
            queue = Rows(memory, memory_classes, labels, labels)
            self.pairs = Pairs.within(Rows.of(self.rows, self.classes), queue)
        self.s = [[row @ ref for ref in self.refs] for row in self.rows]
        self.d = [
            [None if self.own(i, j) else (row - ref).norm() for j, ref in enumerate(self.refs)]
            for i, row in enumerate(self.rows)
        ]
        self.positives = self._columns(lambda one, other: one == other)
        self.negatives = self._columns(lambda one, other: one != other)
        self.complete = [i for i in range(12) if self.positives[i] and self.negatives[i]]

    def own(self, i, j):
        return self.kind != "memory" and i == j

    def _columns(self, wanted):
        labels, refs = self.classes.tolist(), self.ref_classes.tolist()
        return [
            [j for j in range(len(refs)) if wanted(labels[i], refs[j]) and not self.own(i, j)]
            for i in range(len(labels))
        ]

    def check(self, loss, slow):
        """`loss(pairs)` equals `slow`, in value and in the gradient of the rows before they were normalised."""
        fast = loss(self.pairs)
        assert fast.item() == pytest.approx(slow.item(), rel=1e-7)
        (fast_gradient,) = torch.autograd.grad(fast, self.x, retain_graph=True)
        (slow_gradient,) = torch.autograd.grad(slow, self.x, retain_graph=True)
        assert torch.allclose(fast_gradient, slow_gradient, rtol=1e-6, atol=1e-7), (fast_gradient, slow_gradient)


def one_anchor():
    """Positive similarities 0.8, 0.6; negative ones 0.4, 0.55, 0.1, each of a class of its own."""
    s = torch.tensor([0.8, 0.6, 0.4, 0.55, 0.1], dtype=torch.float64)
    refs = torch.stack([s, (1 - s**2).sqrt()], dim=1)
    anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    return Pairs.between(Rows.of(anchor, torch.tensor([0])), Rows.of(refs, torch.tensor([0, 0, 1, 2, 3])))


def gives_zero(loss, classes):
    """On this batch the loss is 0, and so is its gradient."""
    x = torch.randn(len(classes), 4, requires_grad=True)
    value = loss(x, torch.tensor(classes))
    value.backward()
    return value.item() == 0 and torch.equal(x.grad, torch.zeros_like(x))


def same_without_the_far(loss, monkeypatch):
    """Against 3,000 rows in two heaps, the loss leaves the far one out, and it changes neither value nor gradient."""
    generator = torch.Generator().manual_seed(0)
    heaps = torch.tensor([[10.0, 0, 0, 0], [-10.0, 0, 0, 0]], dtype=torch.float64)
    x = torch.randn(8, 4, generator=generator, dtype=torch.float64) + heaps[0]
    memory = torch.randn(3000, 4, generator=generator, dtype=torch.float64) + heaps[(torch.arange(3000) % 5 > 0).long()]
    labels = torch.randint(4, 600, (3000,), generator=generator)
    labels[::50] = torch.arange(60) % 4  # in the near heap
    x.requires_grad_(True)
    rows, memory = (F.normalize(x), F.normalize(memory)) if loss.normalize else (x, memory)
    queue = Rows(memory, labels, torch.zeros_like(labels), torch.zeros_like(labels))
    pairs = Pairs.within(Rows.of(rows, torch.arange(8) // 2), queue)
    columns = []
    near = Pairs.near

    def watched(self, distance):
        columns.append(near(self, distance).positive.shape[1])
        return near(self, distance)

    monkeypatch.setattr(Pairs, "near", watched)
    value = loss(pairs)
    monkeypatch.setattr(Pairs, "near", lambda self, distance: self)
    whole = loss(pairs)
    gradients = [torch.autograd.grad(v, x, retain_graph=True)[0] for v in (value, whole)]
    assert columns[0] < 1500
    assert whole.item() > 0
    assert value.item() == pytest.approx(whole.item(), rel=1e-12)
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-12)
