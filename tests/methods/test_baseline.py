"""The baseline: losses by name, a memory read before it is written, gradients everywhere, two metrics."""

import dataclasses

import pytest
import torch

from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.circle import Circle
from reid.losses.contrastive import Contrastive
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.memory import CrossBatch
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows


def make(memory: CrossBatch | None = None, **options) -> Baseline:
    torch.manual_seed(0)
    encoder = Encoder("tiny")
    terms = [
        Term("softmax", Softmax(4, encoder.dim), lr_factor=10.0, weight_decay=0.0),
        Term("triplet", Triplet(), weight=0.5),
        Term("circle", Circle(), feature="after"),
    ]
    return Baseline(encoder, terms, memory, **options)


def batch(step: int = 0, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (8, 3, 32, 16), generator=generator, dtype=torch.uint8)
    classes = torch.arange(8) // 2
    zeros = torch.zeros(8, dtype=torch.int64)
    return Batch(images, classes, zeros, classes % 2, torch.arange(8), zeros, zeros, ["x"] * 8, step=step)


def taken(method: Baseline, batch: Batch) -> tuple[dict, dict]:
    """The losses of its one phase, and what is to be remembered."""
    (phase,) = method.phases(batch)
    return phase.losses, phase.keep


def test_losses_are_weighted_and_named_and_their_sum_reaches_every_parameter():
    method = make()
    losses, keep = taken(method, batch())
    assert list(losses) == ["softmax", "triplet", "circle"]
    assert not keep
    sum(losses.values()).backward()
    grouped = [p for group in method.param_groups() for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped})
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters() if p.requires_grad}
    assert all(p.grad is not None for p in grouped)
    assert method.param_groups()[1] == {
        "name": "softmax",
        "params": [method.losses["softmax"].weight],
        "lr_factor": 10.0,
        "weight_decay": 0.0,
    }


@pytest.mark.parametrize("mode", ["separate", "joint"])
def test_calling_twice_gives_equal_losses_and_changes_no_memory(mode):
    method = make(CrossBatch(size=6, mode=mode))
    method.remember(taken(method, batch(0))[1])
    before = {k: v.clone() for k, v in method.queues.state_dict().items() if isinstance(v, torch.Tensor)}
    one, two = (taken(method, batch(1, seed=1))[0] for _ in range(2))
    assert {k: v.item() for k, v in one.items()} == {k: v.item() for k, v in two.items()}
    assert all(torch.equal(before[k], v) for k, v in method.queues.state_dict().items() if k in before)


def test_every_loss_learns_that_a_step_was_taken_and_not_before():
    class Counting(Triplet):
        steps = 0

        def after_step(self):
            self.steps += 1

    loss = Counting()
    method = Baseline(Encoder("tiny"), [Term("triplet", loss)])
    _, keep = taken(method, batch())
    assert loss.steps == 0
    method.remember(keep)
    assert loss.steps == 1


@pytest.mark.parametrize("memory", [None, CrossBatch(size=16), CrossBatch(size=16, mode="joint")])
def test_batches_without_a_usable_anchor_are_counted(memory):
    method = make(memory)
    alike = dataclasses.replace(batch(), classes=torch.zeros(8, dtype=torch.int64))  # no negatives
    (phase,) = method.phases(alike)
    assert phase.losses["triplet"].item() == phase.losses["circle"].item() == 0
    assert phase.counts == {"unusable_triplet": True, "unusable_circle": True}
    method.remember(phase.keep)
    (phase,) = method.phases(batch())
    assert phase.counts == {"unusable_triplet": False, "unusable_circle": False}
    method.remember(phase.keep)
    (phase,) = method.phases(alike)  # the memory has negatives for it
    assert {bool(count) for count in phase.counts.values()} == {memory is None}


def test_separate_memory_adds_the_loss_against_the_queue():
    method = make(CrossBatch(size=16, weight=2.0))
    assert "triplet_memory" not in taken(method, batch(0))[0]
    method.remember(taken(method, batch(0))[1])
    losses, _ = taken(method, batch(1, seed=1))
    features = method.encoder(batch(1, seed=1).images)["before"]
    queue = method.queues["before"].rows(normalize=False)
    expected = Triplet()(Pairs.between(Rows.of(features, batch().classes), queue))
    assert losses["triplet_memory"].item() == pytest.approx(0.5 * 2.0 * expected.item(), rel=1e-5)


def test_terms_of_cross_batch_memory_equal_the_paper():
    """Contrastive loss: a term of the batch, and one of the batch against what was remembered before it."""
    torch.manual_seed(0)
    method = Baseline(Encoder("tiny"), [Term("contrastive", Contrastive(margin=0.9))], CrossBatch(size=6, weight=3.0))
    remembered = torch.nn.functional.normalize(method.encoder(batch(0).images)["before"].detach())[2:]
    method.remember(taken(method, batch(0))[1])
    losses, _ = taken(method, batch(1, seed=1))
    rows = torch.nn.functional.normalize(method.encoder(batch(1, seed=1).images)["before"])
    labels = batch().classes.tolist()

    def term(refs, ref_labels, *, skip_self):
        total = 0.0
        for i in range(8):
            for j in range(len(refs)):
                s = (rows[i] @ refs[j]).item()
                if labels[i] == ref_labels[j]:
                    total += 0 if skip_self and i == j else 1 - s
                elif s > 0.9:
                    total += s
        return total / 8

    assert losses["contrastive"].item() == pytest.approx(term(rows, labels, skip_self=True), rel=1e-4)
    expected = 3 * term(remembered, labels[2:], skip_self=False)
    assert losses["contrastive_memory"].item() == pytest.approx(expected, rel=1e-4)


def test_joint_memory_is_one_loss_over_batch_and_queue():
    method = make(CrossBatch(size=16, mode="joint"))
    method.remember(taken(method, batch(0))[1])
    losses, _ = taken(method, batch(1, seed=1))
    features = method.encoder(batch(1, seed=1).images)["before"]
    pairs = Pairs.within(Rows.of(features, batch().classes), method.queues["before"].rows(normalize=False))
    assert "triplet_memory" not in losses
    assert losses["triplet"].item() == pytest.approx(0.5 * Triplet()(pairs).item(), rel=1e-5)


def test_nothing_is_kept_or_used_before_the_start_step():
    method = make(CrossBatch(size=16, start_step=2))
    for step in range(4):
        losses, keep = taken(method, batch(step))
        assert ("before" in keep) == (step >= 2)
        assert ("triplet_memory" in losses) == (step >= 3)  # at step 2 the queue is still empty
        method.remember(keep)


def test_momentum_encoder_follows_slowly_and_fills_the_queue():
    method = make(CrossBatch(size=16, momentum=0.75))
    start = [p.clone() for p in method.encoder.parameters()]
    with torch.no_grad():
        for p in method.encoder.parameters():
            p += 1
    method.remember({})
    for key, first in zip(method.key_encoder.parameters(), start, strict=True):
        assert torch.allclose(key, first + 0.25, atol=1e-6)
    _, keep = taken(method, batch())
    assert torch.allclose(keep["before"], method.key_encoder(batch().images)["before"])
    assert all(not p.requires_grad for p in method.key_encoder.parameters())


def test_negatives_of_other_domains_can_be_left_out():
    losses = [taken(make(negatives_within_domain=flag), batch())[0]["circle"].item() for flag in (False, True)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_score_is_the_metric(metric):
    method = make(metric=metric).eval()
    images = batch().images
    with torch.no_grad():
        query, gallery = method.encode_query(images[:3]), method.encode_gallery(images[3:])
        a, b = method.encoder(images)["after"].tensor_split([3])
    scores = query @ gallery.T
    if metric == "cosine":
        expected = torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T
    else:
        expected = -torch.cdist(a, b).square() / 2
    assert torch.allclose(scores, expected, atol=1e-4)
    assert method.asymmetric == (metric == "euclidean")


def test_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="no l1; there are cosine, euclidean"):
        make(metric="l1")
