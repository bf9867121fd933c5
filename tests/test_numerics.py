"""Whatever torch's default type is, searches, memories and losses are the same; nothing at all costs nothing."""

import numpy as np
import pytest
import tiny_run
import torch

import reid
from reid.builder import exports, registry, runs
from reid.evaluation import neighbours, rank, verification
from reid.evaluation.ids import Ids
from reid.losses import PairLoss
from reid.memory import EmbeddingQueue, IdentityBank
from reid.pairs import Pairs, Rows
from reid.similarity import Inner
from reid.similarity.matched import Matched

NAMES = registry.names("losses")
PAIR_LOSSES = [name for name in NAMES if issubclass(registry.find("losses", name), PairLoss)]


@pytest.fixture
def under():
    """A function that calls another with a default type."""
    before = torch.get_default_dtype()

    def call(dtype, function):
        torch.set_default_dtype(dtype)
        try:
            return function()
        finally:
            torch.set_default_dtype(before)

    return call


def drawn(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def searches():
    rows, pids = drawn(60, 8), np.arange(60) % 12 + 1
    ids = Ids(pids[:20]), Ids(pids[20:])
    matched = Matched(lambda a, b: a @ b.T, rows[:20], rows[20:])
    return [
        rank.score(rows[:20], rows[20:], *ids).mAP,
        rank.score(matched, None, *ids).mAP,
        *rank.retrieval(rows, pids).values(),
        *verification.tpr_at_fpr(rows[:20], rows[20:], *ids, fprs=(0.1, 0.5)),
        *neighbours.nearest(Inner(rows, rows), 3).scores.flatten().tolist(),
    ]


def test_searches(under):
    expected = searches()
    for dtype in (torch.float64, torch.float16):
        assert under(dtype, searches) == expected


@pytest.mark.parametrize("name", NAMES)
def test_losses(under, name):
    def value():
        torch.manual_seed(0)
        loss = registry.make("losses", {"NAME": name}, num_classes=5, dim=6)
        return loss(drawn(12, 6), torch.arange(12) % 5)

    expected, found = value(), under(torch.float64, value)
    assert expected.dtype == found.dtype == torch.float32
    assert torch.equal(expected, found)


def test_memories(under):
    for make in (lambda: EmbeddingQueue(4, 3), lambda: IdentityBank(4, 3)):
        for buffer, other in zip(make().buffers(), under(torch.float64, make).buffers(), strict=True):
            assert buffer.dtype == other.dtype


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_costs_nothing(name):
    loss = registry.make("losses", {"NAME": name}, num_classes=5, dim=6)
    x = torch.zeros(0, 6, requires_grad=True)
    value = loss(x, torch.zeros(0, dtype=torch.int64))
    assert value == 0
    value.backward()
    assert all(p.grad is None or not p.grad.any() for p in loss.parameters())


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_anchors_without_references_cost_nothing(name):
    x = torch.nn.functional.normalize(drawn(4, 6)).requires_grad_(True)
    anchors, none = Rows.of(x, torch.arange(4) % 2), Rows.of(torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64))
    value = registry.make("losses", {"NAME": name}, num_classes=5, dim=6)(Pairs.between(anchors, none))
    assert value == 0
    value.backward()
    assert not x.grad.any()


def test_a_run_its_scoring_and_its_export(under, tiny_world, tmp_path):
    words = {"LOSSES": "[softmax, triplet]", "MEMORY.SIZE": "40", "SOLVER.MAX_STEPS": "4", "DRIFT.EVERY": "10"}
    words |= {"MODEL.POOLING": "gem", "MODEL.DIM": "16"}
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 16, 3), np.uint8)

    def made(name):
        folder = tmp_path / name
        rows = runs.train(tiny_run.build(tiny_world, folder, words))
        rows += runs.score(None, folder / "model_final.pth")
        exports.export(folder / "model_final.pth", folder / "export", formats=["torchscript"])
        vectors = [reid.load(path).embed(picture) for path in (folder / "model_final.pth", folder / "export")]
        return rows, (folder / "metrics.jsonl").read_text(), np.concatenate(vectors).tolist()

    expected = made("plain")
    assert under(torch.float64, lambda: made("double")) == expected
    assert torch.get_default_dtype() == torch.float32
