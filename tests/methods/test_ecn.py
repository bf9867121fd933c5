"""ECN against a loop over the paper's equations; its memory; what it must not look at."""

import copy
import dataclasses

import pytest
import torch
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.methods.ecn import ECN
from reid.models.encoder import Encoder

NUM_SAMPLES = 12


def make(**options) -> ECN:
    torch.manual_seed(0)
    method = ECN(Encoder("tiny"), NUM_SAMPLES, **{"num_neighbours": 4, **options})
    method.exemplars.rows.copy_(F.normalize(torch.randn_like(method.exemplars.rows)))
    return method


def batch(indices=(3, 0, 7, 11), epoch: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(len(indices), 3, 32, 16, generator=generator)
    zeros = torch.zeros(len(indices), dtype=torch.int64)
    return Batch(images, zeros, zeros, zeros, torch.tensor(indices), zeros, zeros, ["x"] * len(indices), epoch=epoch)


class Given(torch.nn.Module):
    """An encoder whose embeddings are given: those of an encoder are float32, whatever its weights."""

    def __init__(self, embeddings):
        super().__init__()
        self.embeddings = torch.nn.Parameter(embeddings)

    def forward(self, images, domains=None, camids=None):
        return {"after": self.embeddings}


@pytest.mark.parametrize("epoch", [4, 5])
def test_losses_and_gradient_equal_the_slow_loop(epoch):
    method = make().double()
    x = torch.randn(4, method.exemplars.rows.shape[1], dtype=torch.float64)
    # The second picture lies next to its own row, so that the own row is among the neighbours and counted once.
    x[1] = method.exemplars.rows[0] + 0.01 * x[1]
    method.encoder = Given(x)
    losses, _ = method.training_losses(batch(epoch=epoch))
    exemplar, neighbour = 0.0, 0.0
    for row, own in zip(method.encoder.embeddings, batch().indices.tolist(), strict=True):
        similarity = [row / row.norm() @ memory for memory in method.exemplars.rows]
        total = sum((s / 0.05).exp() for s in similarity)
        shares = [(s / 0.05).exp() / total for s in similarity]
        nearest = sorted(range(NUM_SAMPLES), key=lambda j, s=similarity: -s[j])[:4]
        exemplar -= shares[own].log() / 4
        neighbour -= sum(shares[j].log() / 4 for j in nearest if j != own) / 4
    expected = {"exemplar": exemplar} if epoch < 5 else {"exemplar": exemplar, "neighbour": neighbour}
    assert {k: v.item() for k, v in losses.items()} == pytest.approx({k: v.item() for k, v in expected.items()})
    grads = [
        torch.autograd.grad(sum(d.values()), method.encoder.embeddings, retain_graph=True)[0]
        for d in (losses, expected)
    ]
    assert torch.allclose(*grads, atol=1e-9)


def test_rows_are_renewed_after_the_step_and_less_each_epoch():
    for epoch, old in ((0, 0.0), (1, 0.01), (30, 0.3), (200, 1.0)):
        method = make()
        before = method.exemplars.rows.clone()
        _, fresh = method.training_losses(batch(epoch=epoch))
        assert torch.equal(method.exemplars.rows, before)
        method.remember(fresh)
        for row, index in zip(fresh["embeddings"], batch().indices, strict=True):
            expected = F.normalize(old * before[index] + (1 - old) * row, dim=0)
            assert torch.allclose(method.exemplars.rows[index], expected, atol=1e-6)
        untouched = [i for i in range(NUM_SAMPLES) if i not in batch().indices]
        assert torch.equal(method.exemplars.rows[untouched], before[untouched])


def test_labels_are_left_out():
    method = make()
    told = dataclasses.replace(batch(epoch=5), classes=torch.arange(4), domains=torch.arange(4), camids=torch.arange(4))
    for one, other in zip(method.training_losses(batch(epoch=5)), method.training_losses(told), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_memory_is_in_the_state_and_takes_no_gradient():
    method = make()
    losses, fresh = method.training_losses(batch(epoch=5))
    sum(losses.values()).backward()
    grouped = [p for group in method.param_groups() for p in group["params"]]
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters() if p.requires_grad}
    assert all(p.grad is not None for p in grouped)
    method.remember(fresh)
    restored = copy.deepcopy(make())
    restored.load_state_dict(method.state_dict())
    assert torch.equal(restored.exemplars.rows, method.exemplars.rows)


@pytest.mark.parametrize("rows", ["empty", "collapsed", "antipodal"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_extreme_memories_stay_finite_in_half_precision(rows, dtype):
    method = make()
    fill = {"empty": 0.0, "collapsed": 1.0, "antipodal": torch.tensor([1.0, -1.0] * 6)[:, None]}[rows]
    method.exemplars.rows.copy_(F.normalize(torch.ones_like(method.exemplars.rows) * fill))
    with torch.autocast("cpu", dtype):
        losses, _ = method.training_losses(batch(epoch=5))
    total = sum(losses.values())
    total.backward()
    assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in method.encoder.parameters() if p.requires_grad)


def test_more_neighbours_than_pictures_are_refused():
    with pytest.raises(ValueError, match="NUM_NEIGHBOURS is 13; expected 1 to 12, the training pictures"):
        make(num_neighbours=13)
