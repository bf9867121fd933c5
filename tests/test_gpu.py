"""On a CUDA device: ranking, losses and whole runs give what they give on the CPU. Run them with `pytest -m gpu`."""

import json

import numpy as np
import pytest
import torch
from tiny_run import build
from torch.nn import functional as F

from reid import checkpoint, optim
from reid.builder import registry, runs
from reid.evaluation import counting, neighbours
from reid.evaluation.rank import Ids, retrieval, score
from reid.evaluation.rerank import k_reciprocal, reranked
from reid.evaluation.verification import tpr_at_fpr
from reid.similarity import Inner
from reid.similarity.matched import Matched, Rescored

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
LOSSES = registry.names("losses")
ON_GPU = {"LOSSES": "[softmax, triplet]", "SOLVER.CHECKPOINT_STEPS": "4", "DEVICE": "cuda"}
METHODS = {
    "baseline": {},
    "memory": {"MEMORY.SIZE": "40"},
    "memory of a momentum encoder": {"MEMORY.SIZE": "40", "MEMORY.MOMENTUM": "0.9"},
    "dimn": {"METHOD": "{NAME: dimn, BANK_INIT: class_means}", "SAMPLER": "{NAME: episode}", "LOSSES": "[softmax]"},
    "ecn": {"METHOD": "{NAME: ecn}", "LOSSES": "[]"},
    "class distances and drift": {
        "SAMPLER": "{NAME: hard_class, NUM_INSTANCES: 2}",
        "LOSSES": "[hierarchical_triplet]",
        "DRIFT.EVERY": "10",
        "MEMORY.SIZE": "200",
    },
}


def people(num_query=300, num_gallery=5000, num_people=80, dim=64):
    """Unit vectors of people before six cameras; rows, then Ids, of both sides."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(num_people + 1, dim))
    pids = [rng.integers(low, num_people + 1, n) for low, n in ((1, num_query), (0, num_gallery))]
    rows = [torch.from_numpy(centres[p] + 2.0 * rng.normal(size=(len(p), dim))).float() for p in pids]
    return *(F.normalize(x) for x in rows), *(Ids(p, rng.integers(1, 7, len(p))) for p in pids)


@pytest.mark.parametrize("tile", [None, (64, 512)])
def test_scores_are_those_of_the_cpu(monkeypatch, tile):
    query, gallery, *ids = people()
    expected = score(query, gallery, *ids)
    if tile:
        monkeypatch.setattr(counting, "tile_for", lambda device: tile)
    found = score(query.cuda(), gallery.cuda(), *ids)
    assert 0.1 < expected.mAP < 0.9
    np.testing.assert_allclose(found.cmc, expected.cmc, atol=0.004)  # one query: sums differ in their last digit
    assert found.mAP == pytest.approx(expected.mAP, abs=1e-4)
    assert found.mINP == pytest.approx(expected.mINP, abs=1e-4)


def test_half_precision_scores_are_close():
    query, gallery, *ids = people()
    expected, found = score(query, gallery, *ids), score(query.cuda().half(), gallery.cuda().half(), *ids)
    assert found.mAP == pytest.approx(expected.mAP, abs=2e-3)


def test_retrieval_of_classes_verification_and_neighbours_are_those_of_the_cpu():
    query, gallery, *ids = people()
    classes = ids[1].pids + 1
    assert retrieval(gallery.cuda(), classes) == pytest.approx(retrieval(gallery, classes), abs=1e-3)
    fprs = (1e-3, 1e-2)
    expected = tpr_at_fpr(query, gallery, *ids, fprs=fprs)
    np.testing.assert_allclose(tpr_at_fpr(query.cuda(), gallery.cuda(), *ids, fprs=fprs), expected, atol=1e-3)
    best = [neighbours.nearest(Inner(*rows), 10) for rows in ((query, gallery), (query.cuda(), gallery.cuda()))]
    assert (best[0].columns == best[1].columns.cpu()).float().mean() > 0.99


@pytest.mark.parametrize("name", ["exact", "shortlists", "re-ranking"])
def test_a_matcher_on_the_gpu_scores_maps_that_stay_on_the_cpu(name):
    query, gallery, *ids = people(num_query=60, num_gallery=700)
    flat = Inner(query, gallery)
    query, gallery = (rows.unflatten(1, (16, 4)) for rows in (query, gallery))
    everybody = torch.cat([query, gallery])

    def match(one, other):  # the mean of each place's best in the other map
        return torch.einsum("bcp,ncq->bnpq", one, other).amax(dim=3).mean(dim=2)

    figures = []
    for device in ("cpu", "cuda"):
        found = Matched(match, query, gallery, device=device)
        if name == "shortlists":
            found = Rescored(flat, found, first=50)
        elif name == "re-ranking":
            found = reranked(found, Matched(match, everybody, everybody, device=device)).similarity
        figures.append(score(found, None, *ids).mAP)
    assert figures[1] == pytest.approx(figures[0], abs=2e-3)


def test_reranked_scores_are_those_of_the_cpu():
    query, gallery, *ids = people(num_gallery=1500)
    figures = []
    for rows in ((query, gallery), (query.cuda(), gallery.cuda())):
        figures.append(score(k_reciprocal(*rows).similarity, None, *ids).mAP)
    assert figures[1] == pytest.approx(figures[0], abs=2e-3)


@pytest.mark.parametrize("amp", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_are_those_of_the_cpu(name, amp):
    generator = torch.Generator().manual_seed(3)
    classes = torch.arange(8).repeat_interleave(4)
    rows = torch.randn(8, 16, generator=generator)[classes] + torch.randn(32, 16, generator=generator)
    torch.manual_seed(0)
    loss = registry.make("losses", {"NAME": name}, num_classes=8, dim=16)
    values, gradients = [], []
    for device in ("cpu", "cuda"):
        loss, x, y = loss.to(device), rows.to(device, copy=True).requires_grad_(True), classes.to(device)
        with torch.autocast(device, amp, enabled=amp is not None):
            value = loss(x, y)
        assert value.dtype == torch.float32
        values.append(value.item())
        gradients.append(torch.autograd.grad(value, x)[0].cpu())
    assert gradients[1].isfinite().all()
    if loss_draws(name):
        return  # draws negatives, and each device has numbers of its own
    tolerance = 1e-4 if amp is None else 0.1
    assert values[1] == pytest.approx(values[0], rel=tolerance, abs=1e-5)
    assert (gradients[0] - gradients[1]).norm() <= tolerance * gradients[0].norm() + 1e-6


def loss_draws(name):
    return name == "margin"


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_and_scores(tiny_world, tmp_path, name, amp):
    rows = runs.train(build(tiny_world, tmp_path, {**ON_GPU, **METHODS[name], "SOLVER.AMP": amp}))
    assert rows
    for line in lines(tmp_path):
        line.pop("grad_norm", None)  # infinite where fp16 skipped the step
        assert np.isfinite(list(line.values())).all(), line
    saved = checkpoint.load(tmp_path / "model_final.pth")["model"]
    assert all(v.device.type == "cpu" for v in saved.values() if isinstance(v, torch.Tensor)), "opens without a GPU"


def test_the_first_steps_are_those_of_the_cpu(tiny_world, tmp_path):
    for device in ("cpu", "cuda"):
        runs.train(build(tiny_world, tmp_path / device, {**ON_GPU, "SOLVER.MAX_STEPS": "3", "DEVICE": device}))
    for one, other in zip(lines(tmp_path / "cpu"), lines(tmp_path / "cuda"), strict=True):
        assert one["step"] == other["step"]
        losses = [key for key in one if key.startswith("loss")]
        assert losses
        assert [other[key] for key in losses] == pytest.approx([one[key] for key in losses], rel=0.02)


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.mark.parametrize("amp", ["off", "fp16"])
def test_a_resumed_run_goes_on_where_it_stopped(tiny_world, tmp_path, monkeypatch, amp):
    def cfg(folder):
        return build(tiny_world, tmp_path / folder, {**ON_GPU, "MEMORY.SIZE": "40", "SOLVER.AMP": amp})

    runs.train(cfg("whole"))
    steps, real = iter(range(100)), optim.set_lr

    def set_lr(*args):
        if next(steps) == 10:
            raise Killed
        return real(*args)

    monkeypatch.setattr(optim, "set_lr", set_lr)
    with pytest.raises(Killed):
        runs.train(cfg("broken"))
    monkeypatch.undo()
    runs.train(cfg("broken"), resume=True)
    whole, broken = lines(tmp_path / "whole"), lines(tmp_path / "broken")
    assert [row["step"] for row in broken] == [row["step"] for row in whole]
    # A GPU's sums may differ from run to run in their last digit, and steps carry that on.
    assert broken[8]["lr"] == whole[8]["lr"]
    for one, other in zip(whole, broken, strict=True):
        losses = [key for key in one if key.startswith("loss")]
        assert [other[key] for key in losses] == pytest.approx([one[key] for key in losses], rel=0.05)
