"""Triplets, hardest, semi-hard and all, against loops over the definitions, and against an independent library."""

import math

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero, same_without_the_far
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn import functional as F

from reid.losses.triplet import Triplet
from reid.pairs import Pairs, Rows, inner


def problem(seed: int = 0, size: int = 12, num_classes: int = 4):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 5, generator=generator, dtype=torch.float64).requires_grad_(True)
    return x, torch.randint(num_classes, (size,), generator=generator)


def batch_hard(x, classes, refs, ref_classes, skip_self, margin, distance):
    values = []
    for i in range(len(x)):
        positives, negatives = [], []
        for j in range(len(refs)):
            if skip_self and i == j:
                continue
            d = (x[i] - refs[j]).norm() if distance == "euclidean" else -x[i] @ refs[j]
            (positives if classes[i] == ref_classes[j] else negatives).append(d)
        if positives and negatives:
            gap = max(positives) - min(negatives)
            values.append(F.relu(gap + margin) if margin else torch.log1p(gap.exp()))
    return sum(values) / len(values)


@pytest.mark.parametrize("distance", ["euclidean", "cosine", "score"])
@pytest.mark.parametrize("margin", [0.3, 0.0])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(distance, margin, seed):
    x, classes = problem(seed)
    loss = Triplet(margin=margin, distance=distance)
    rows = F.normalize(x) if loss.normalize else x
    slow = batch_hard(rows, classes, rows, classes, True, margin, distance)
    fast = loss(rows, classes)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-9)
    (fast_grad,) = torch.autograd.grad(fast, x, retain_graph=True)
    (slow_grad,) = torch.autograd.grad(slow, x)
    assert torch.allclose(fast_grad, slow_grad, atol=1e-8)


def test_memory_columns_equal_the_slow_loop():
    x, classes = problem(1)
    refs, ref_classes = problem(2, size=20)
    zeros = torch.zeros_like(ref_classes)
    pairs = Pairs.within(Rows.of(x, classes), Rows(refs.detach(), ref_classes, zeros, zeros))
    slow = batch_hard(x, classes, torch.cat([x, refs]), torch.cat([classes, ref_classes]), True, 0.3, "euclidean")
    assert Triplet()(pairs).item() == pytest.approx(slow.item(), rel=1e-9)


def test_value_equals_pytorch_metric_learning():
    x, classes = problem(3)
    miner = miners.BatchHardMiner(distance=distances.LpDistance(normalize_embeddings=False))
    peer = losses.TripletMarginLoss(
        margin=0.3, distance=distances.LpDistance(normalize_embeddings=False), reducer=reducers.MeanReducer()
    )
    expected = peer(x, classes, miner(x, classes))
    assert Triplet(margin=0.3)(x, classes).item() == pytest.approx(expected.item(), rel=1e-6)


def every_triplet(case, margin, distance, semi_hard):
    terms = []
    for i in range(12):
        for p in case.positives[i]:
            for n in case.negatives[i]:
                near, far = (case.d[i][j] if distance == "euclidean" else -case.s[i][j] for j in (p, n))
                if near - far + margin > 0 and (far > near or not semi_hard):
                    terms.append(near - far + margin)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["euclidean", "cosine", "score"])
@pytest.mark.parametrize("mining", ["all", "semi_hard"])
@pytest.mark.parametrize("margin", [0.05, 0.4, 3.0])
def test_every_triplet_equals_the_slow_loop(kind, distance, mining, margin):
    case = Case(kind, unit=distance != "euclidean")
    case.check(Triplet(margin, distance, mining), every_triplet(case, margin, distance, mining == "semi_hard"))


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_far_references_are_left_out_and_change_nothing(mining, distance, monkeypatch):
    same_without_the_far(Triplet(0.1, distance, mining), monkeypatch)


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
def test_every_triplet_equals_pytorch_metric_learning(mining):
    case = Case("batch", 1)
    mined = miners.TripletMarginMiner(0.2, "semihard")(case.x, case.classes) if mining == "semi_hard" else None
    case.check(Triplet(0.2, mining=mining), losses.TripletMarginLoss(0.2)(case.x, case.classes, mined))


@pytest.mark.parametrize("mining", ["hard", "all", "semi_hard"])
@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_a_triplet_gives_zero_with_gradient_zero(classes, mining):
    assert gives_zero(Triplet(mining=mining), classes)


def test_soft_margin_is_for_the_hardest_alone():
    with pytest.raises(ValueError, match=r"MARGIN is 0.0: the soft margin is for MINING hard; all needs one above 0"):
        Triplet(0.0, mining="all")


def test_collapsed_embeddings_give_the_margin_and_a_finite_gradient():
    x = torch.ones(4, 3, requires_grad=True)
    loss = Triplet(margin=0.3)(x, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3)
    assert x.grad.isfinite().all()


def test_soft_margin_is_log_one_plus_exp():
    x = torch.tensor([[0.0], [1.0], [3.0]])
    loss = Triplet(margin=0.0)(x, torch.tensor([0, 0, 1]))
    expected = (math.log1p(math.exp(1 - 3)) + math.log1p(math.exp(1 - 2))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def best_place(anchors, refs):
    """(B, n) of rows that are read as maps of three channels: the highest product of any two places."""
    one, other = (rows.unflatten(1, (3, 4)) for rows in (anchors, refs))
    return torch.einsum("bci,ncj->bnij", one, other).amax(dim=(2, 3))


@pytest.mark.parametrize("mining", ["hard", "semi_hard", "all"])
@pytest.mark.parametrize(("distance", "score"), [("score", inner), ("score", best_place), ("cosine", best_place)])
def test_any_score_is_mined_and_compared_against_all_of_a_large_memory(mining, distance, score):
    """None is left out as far: how far it is says nothing of the score."""
    generator = torch.Generator().manual_seed(0)
    x, memory = (2 + torch.randn(n, 12, generator=generator, dtype=torch.float64) for n in (6, 1100))
    x.requires_grad_(True)
    classes, ref_classes = torch.arange(6) // 2, torch.arange(1100) % 50
    pairs = Pairs.between(Rows.of(x, classes), Rows.of(memory, ref_classes), score=score)
    fast = Triplet(0.3, distance, mining)(pairs)
    terms = []
    for i, scores in enumerate(score(x, memory)):
        near, far = (scores[mask] for mask in (ref_classes == classes[i], ref_classes != classes[i]))
        gaps = far - near[:, None] + 0.3
        if mining == "hard":
            terms.append((far.max() - near.min() + 0.3)[None])
        else:
            terms.append(gaps[(gaps > 0) & ((far < near[:, None]) | (mining == "all"))])
    slow = torch.cat(terms).mean()
    assert fast.item() == pytest.approx(slow.item(), rel=1e-9)
    assert torch.allclose(torch.autograd.grad(fast, x, retain_graph=True)[0], torch.autograd.grad(slow, x)[0])


def test_unknown_distance_is_refused():
    with pytest.raises(ValueError, match="no manhattan; there are euclidean, cosine, score"):
        Triplet(distance="manhattan")
