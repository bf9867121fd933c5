"""Divide and conquer: what each learner sees, masks and their schedule, who may learn when, and a resumed run."""

import math

import numpy as np
import pytest
import torch
from tiny_run import assert_equal_runs, build, dealt
from torch.nn import functional as F

from reid.builder import runs
from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.binomial import BinomialDeviance
from reid.losses.softmax import Softmax
from reid.memory import CrossBatch
from reid.methods.divide_and_conquer import DivideAndConquer, mean_cosine
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows

CLASSES = np.arange(64) // 4  # 16 classes of 4


def make(memory=None, losses=None, classes=CLASSES, dim=16, **options) -> DivideAndConquer:
    torch.manual_seed(0)
    encoder = Encoder("tiny", dim=dim, neck=False, features=("parts",))
    terms = [Term("binomial", BinomialDeviance())] if losses is None else losses
    return DivideAndConquer(encoder, terms, 16, 64, memory, classes, **{"num_learners": 4, **options})


def batch(part=0, epoch=0, step=0, seed=0) -> Batch:
    images = torch.randint(256, (8, 3, 32, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    classes, zeros = torch.arange(8) // 2, torch.zeros(8, dtype=torch.int64)
    return Batch(
        images, classes, zeros, zeros, 4 * classes + torch.arange(8) % 2, zeros + part, zeros, ["x"] * 8, step, epoch
    )


def phase_of(method, given):
    (phase,) = method.phases(given)
    return phase


def embed_apart(parts):
    """An `embed` by which the samples of each of `parts` (N,) lie together, and those of 2c and 2c + 1 not far away."""
    noise = 0.05 * torch.randn(len(parts), 1, 12, generator=torch.Generator().manual_seed(0))
    parts = torch.as_tensor(parts)
    rows = (torch.eye(12)[parts] + 3 * torch.eye(12)[8 + parts // 2])[
        :, None
    ] + noise  # (N, 1, C), as `parts` of an encoder are
    return lambda feature: rows if feature == "parts" else pytest.fail(f"embeds {feature}")


# ---- the learners


def slow_learner(method, embeddings, number, num):
    """One row at a time, as the papers say it."""
    rows = []
    for row in embeddings:
        if method.learners == "slices":
            slices = [part / part.norm() for part in row.split(len(row) // 4)]
            whole = torch.cat(slices)
            rows.append(whole / whole.norm() if number is None else slices[number])
        elif method.learners == "masks":
            mask = torch.ones(len(row)) if number is None else method.masks[number].clamp_min(0)
            rows.append(row * mask / (row * mask).norm())
        else:
            kept = row.clone()
            if number is not None:
                width = len(row) // num
                kept[: number * width] = kept[(number + 1) * width :] = 0
            rows.append(kept / kept.norm())
    return torch.stack(rows)


@pytest.mark.parametrize("learners", ["slices", "masks", "fixed_masks"])
@pytest.mark.parametrize(("epoch", "num"), [(2, 2), (4, 4), (9, None)])
def test_divide_teaches_the_learner_of_the_cluster_alone(learners, epoch, num):
    method = make(learners=learners, full_from=9)
    with torch.no_grad():
        for mask in method.masks:
            mask.uniform_(-0.5, 1)
    given = batch(part=1, epoch=epoch)
    rows = slow_learner(method, method.encoder(given.images)["before"], None if num is None else 1, num)
    expected = BinomialDeviance()(rows, given.classes)
    found = phase_of(method, given).losses
    assert found["binomial"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert ("mask_diversity" in found) == (learners == "masks" and num is not None)


@pytest.mark.parametrize("learners", ["slices", "fixed_masks"])
def test_divide_gives_no_gradient_to_other_learners(learners):
    method = make(learners=learners)
    phase_of(method, batch(part=2, epoch=4)).losses["binomial"].backward()
    moved = method.encoder.reduce.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [False] * 8 + [True] * 4 + [False] * 4


@pytest.mark.parametrize("learners", ["slices", "masks", "fixed_masks"])
def test_divide_scores_the_whole_embedding_without_masks(learners):
    method = make(learners=learners).eval()
    with torch.no_grad():
        before, rows = method.encoder(batch().images)["before"], method.encode_query(batch().images)
    assert torch.allclose(rows, slow_learner(method, before, None, None), atol=1e-6)
    if learners == "slices":  # the inner product is the mean of the learners' cosines
        cosines = [F.cosine_similarity(*before[:2].split(4, dim=1)[k], dim=0) for k in range(4)]
        assert (rows[0] @ rows[1]).item() == pytest.approx(torch.stack(cosines).mean().item(), abs=1e-6)


def test_divide_initialises_each_slice_alone():
    """Xavier's deviation follows from the 4 outputs of a slice, not from all 16."""
    method = make()
    num = method.encoder.reduce.in_features
    assert method.encoder.reduce.weight.std().item() == pytest.approx(math.sqrt(2 / (num + 4)), rel=0.1)


def test_divide_takes_margin_loss_with_a_fixed_boundary_by_default():
    method = make(losses=[])
    assert list(method.losses) == ["margin"]
    assert not method.losses["margin"].beta.requires_grad
    assert [group["name"] for group in method.param_groups()] == ["encoder", "embedding"]
    assert phase_of(method, batch()).losses["margin"] > 0


@pytest.mark.parametrize("mode", ["separate", "joint"])
def test_divide_shows_a_learner_the_memory_of_its_cluster(mode):
    method = make(CrossBatch(size=24, mode=mode))
    with torch.no_grad():
        method.remember(phase_of(method, batch(part=0, step=0)).keep)
        method.remember(phase_of(method, batch(part=1, step=1, seed=1)).keep)
    method.clusters[:] = torch.arange(64) // 4 % 2 * 3  # classes 1 and 3 of each batch are in cluster 3
    given = batch(part=3, step=2, seed=2)
    rows = Rows.of(method.encoder(given.images)["before"][:, 12:], given.classes).normalized()
    queue = method.queues["before"].rows(normalize=False)
    own = queue.classes % 2 == 1
    memory = Rows.of(queue.embeddings[own][:, 12:], queue.classes[own]).normalized()
    loss, found = BinomialDeviance(), phase_of(method, given).losses
    if mode == "joint":
        assert found["binomial"].item() == pytest.approx(loss(Pairs.within(rows, memory)).item(), rel=1e-5)
    else:
        assert found["binomial_memory"].item() == pytest.approx(loss(Pairs.between(rows, memory)).item(), rel=1e-5)
    assert ("binomial_memory" in phase_of(method, batch(part=1, step=2)).losses) is False, (
        "nothing of cluster 1 is held"
    )


# ---- divisions


def test_divide_keeps_numbers_from_division_to_division_and_lone_pictures_out():
    method = make(every=2)
    true = CLASSES % 4
    first = method.start_epoch(0, embed_apart(true)).parts.numpy()
    assert len(set(zip(first.tolist(), true.tolist(), strict=True))) == 4
    assert method.start_epoch(1, lambda feature: pytest.fail("embeds between divisions")) is None
    moved = true.copy()
    moved[0] = (true[0] + 1) % 4  # one picture changes clusters: alone in its class, it sits out
    again = method.start_epoch(2, embed_apart(moved)).parts.numpy()
    assert again[0] == -1
    assert np.array_equal(again[1:], first[1:])
    assert method.clusters[0] >= 0, "the next division is matched with all"


def test_divide_rematch_is_an_option(monkeypatch):
    """k-means finds the clusters of before under numbers that go round: named anew they are as before, or nothing is."""
    cycle = np.array([1, 2, 3, 0])
    monkeypatch.setattr(
        "reid.methods.divide_and_conquer.divide", lambda rows, classes, num, **settings: cycle[CLASSES % 4]
    )
    for word, agreement in (("corrected", 1), ("published", 0)):
        method = make(rematch=word)
        method.clusters.copy_(torch.from_numpy(CLASSES % 4))
        assert (method.start_epoch(2, embed_apart(CLASSES % 4)).parts.numpy() == CLASSES % 4).mean() == agreement


@pytest.mark.parametrize("learners", ["masks", "fixed_masks"])
def test_divide_masks_double_at_each_division_and_children_begin_as_their_parent(learners):
    method = make(learners=learners, every=2)
    true = CLASSES % 4
    sizes, clusters, before = [], [], []
    for epoch in range(8):
        plan = method.start_epoch(epoch, embed_apart(true))
        assert (plan is None) == bool(epoch % 2)
        sizes.append(len(method._masks(method._num_active(epoch))))
        clusters.append(method.clusters.clone())
        if plan is not None and learners == "masks":
            num = sizes[-1]
            if epoch in (2, 4):
                assert all(torch.equal(method.masks[c], before[c // 2]) for c in range(num))
            with torch.no_grad():
                for mask in method.masks[:num]:
                    mask.uniform_()
            before = [mask.clone() for mask in method.masks]
    assert sizes == [1, 1, 2, 2, 4, 4, 4, 4]
    assert torch.equal(clusters[4] // 2, clusters[2]), "the halves of c are 2c and 2c + 1"
    assert torch.equal(clusters[6], clusters[4])


def test_divide_fixed_masks_are_halves_of_halves():
    method = make(learners="fixed_masks", dim=8)
    assert method._masks(1).tolist() == [[1] * 8]
    assert method._masks(2).tolist() == [[1] * 4 + [0] * 4, [0] * 4 + [1] * 4]
    assert method._masks(4).argmax(dim=1).tolist() == [0, 2, 4, 6]
    assert method._masks(4).sum(dim=1).tolist() == [2] * 4


def test_divide_mean_cosine_of_masks_equals_the_loop():
    masks = torch.rand(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    slow = sum(masks[i] @ masks[j] / masks[i].norm() / masks[j].norm() for i, j in pairs) / len(pairs)
    assert mean_cosine(masks).item() == pytest.approx(slow.item(), rel=1e-12)


def test_divide_by_lot_never_embeds_and_stays():
    method = make(clusters="random")
    first = method.start_epoch(0, lambda feature: pytest.fail("embeds")).parts
    assert torch.equal(method.start_epoch(2, lambda feature: pytest.fail("embeds")).parts, first)
    assert first.unique().tolist() == [0, 1, 2, 3]


def test_divide_joins_all_pictures_in_the_end():
    method = make(full_from=3, joint_from=6)
    method.start_epoch(0, embed_apart(CLASSES % 4))
    plan = method.start_epoch(6, lambda feature: pytest.fail("embeds"))
    assert not plan.parts.any()
    assert [method.start_epoch(epoch, lambda feature: pytest.fail("embeds")) for epoch in (7, 8)] == [None, None]
    whole, cluster = (phase_of(method, batch(epoch=epoch)).losses["binomial"] for epoch in (8, 2))
    assert whole.item() == pytest.approx(phase_of(method, batch(epoch=3, part=2)).losses["binomial"].item())
    assert whole.item() != pytest.approx(cluster.item())


def test_divide_freezes_the_backbone_in_the_epoch_of_a_division():
    method = make(freeze=True, joint_from=4)
    assert [phase_of(method, batch(epoch=epoch)).learns for epoch in (0, 1, 2, 4)] == [
        ["embedding"],
        None,
        ["embedding"],
        None,
    ]


def test_divide_has_every_parameter_in_one_group():
    for method in (make(), make(learners="masks"), make(dim=0, num_learners=2)):
        grouped = [p for group in method.param_groups() for p in group["params"]]
        assert len(grouped) == len({id(p) for p in grouped})
        assert {id(p) for p in grouped} == {id(p) for p in method.parameters() if p.requires_grad}
    (masks,) = [group for group in make(learners="masks").param_groups() if group["name"] == "masks"]
    assert (len(masks["params"]), masks["lr_factor"]) == (4, 100.0)


# ---- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_learners": 3}, "NUM_LEARNERS is 3 and embeddings have 16 numbers; expected a divisor"),
        ({"num_learners": 0}, "NUM_LEARNERS is 0"),
        ({"num_learners": 3, "learners": "masks", "dim": 18}, "NUM_LEARNERS is 3; expected 1, 2, 4, 8"),
        ({"num_learners": 32, "dim": 32}, "NUM_LEARNERS is 32 and there are 16 classes"),
        ({"learners": "slice"}, "LEARNERS: no slice; there are slices, masks, fixed_masks"),
        ({"rematch": "released"}, "REMATCH: no released"),
        ({"clusters": "none"}, "CLUSTERS: no none"),
        ({"every": 0}, "EVERY is 0"),
        ({"joint_from": -1}, "JOINT_FROM -1"),
        ({"losses": [Term("softmax", Softmax(16, 16))]}, "LOSSES: found softmax; expected losses of pairs"),
        ({"freeze": True, "dim": 0, "num_learners": 2}, "FREEZE is True and nothing follows pooling"),
    ],
)
def test_divide_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_divide_refuses_clusters_that_nothing_can_be_learned_from():
    with pytest.raises(ValueError, match=r"found cluster . of 4 without two classes of two pictures, after 30 starts"):
        make().start_epoch(0, embed_apart(np.minimum(np.arange(64), 3)))
    with pytest.raises(ValueError, match="found a part of 1 classes of two pictures; expected 2"):
        make(num_learners=16, clusters="random").start_epoch(0, lambda feature: None)
    with pytest.raises(ValueError, match="found no classes of the training samples"):
        make(classes=None).start_epoch(0, lambda feature: None)


# ---- whole runs

OVERRIDES = {
    "SAMPLER": "{NAME: one_part, NUM_INSTANCES: 2}",
    "LOSSES": "[margin]",
    "MODEL.DIM": "16",
    "SOLVER.EPOCHS": "4",
    "SOLVER.CHECKPOINT_STEPS": "3",
    "MEMORY.SIZE": "32",
}
METHODS = {
    "slices": "{NAME: divide_and_conquer, NUM_LEARNERS: 2, REDO: 1, FULL_FROM: 3}",
    "masks": "{NAME: divide_and_conquer, NUM_LEARNERS: 2, REDO: 1, LEARNERS: masks, FREEZE: true}",
}
STEPS = 10  # an epoch: 160 pictures, 16 a batch


@pytest.mark.parametrize(("learners", "step"), [("slices", 10), ("slices", 27), ("masks", 37)])
def test_divide_resumed_in_the_middle_of_a_division_equals_an_unbroken_run(tiny_world, tmp_path, learners, step):
    """Divided at steps 0 and 20; killed where a division goes on into its second epoch, and within epochs."""
    overrides = {**OVERRIDES, "METHOD": METHODS[learners]}
    whole, broken = (build(tiny_world, tmp_path / name, overrides) for name in ("whole", "broken"))
    batches = dealt(pytest.MonkeyPatch, DivideAndConquer, whole)
    assert all(len(set(parts)) == 1 for _, _, parts in batches)
    for epoch in range(4):
        both = learners == "slices" or epoch > 1
        found = {parts[0] for number, _, parts in batches if number // STEPS == epoch}
        assert found == ({0, 1} if both else {0})
    before = dealt(pytest.MonkeyPatch, DivideAndConquer, broken, stop=step)
    after = dealt(pytest.MonkeyPatch, DivideAndConquer, broken, resume=True)
    assert before == batches[:step]
    assert after == batches[after[0][0] :]
    assert 0 <= step - after[0][0] < 3, "it went on from a checkpoint"
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_divide_is_scored_without_what_only_training_needs(tiny_world, tmp_path):
    runs.train(build(tiny_world, tmp_path / "run", {**OVERRIDES, "METHOD": METHODS["masks"], "SOLVER.EPOCHS": "1"}))
    state = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)["model"]
    assert not [key for key in state if key.startswith(("clusters", "masks", "queues"))]
    assert runs.score(None, tmp_path / "run" / "model_final.pth")


def test_divide_needs_its_sampler(tiny_world, tmp_path):
    overrides = {**OVERRIDES, "METHOD": METHODS["slices"], "SAMPLER": "{NAME: identity}"}
    with pytest.raises(ValueError, match="SAMPLER is identity; expected one_part"):
        runs.train(build(tiny_world, tmp_path / "run", overrides))
