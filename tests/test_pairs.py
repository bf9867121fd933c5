"""Which pairs are positive, negative, or neither."""

import pytest
import torch

from reid.pairs import Pairs, Refs

CLASSES = torch.tensor([0, 0, 1, 2])
DOMAINS = torch.tensor([0, 0, 0, 1])
ROWS = torch.eye(4, dtype=torch.float64)


def memory(classes: list[int], domains: list[int]) -> Refs:
    n = len(classes)
    return Refs(torch.zeros(n, 4, dtype=torch.float64), torch.tensor(classes), torch.tensor(domains), torch.arange(n))


def test_self_is_neither_positive_nor_negative():
    pairs = Pairs.within(ROWS, CLASSES)
    assert not pairs.positive.diagonal().any()
    assert not pairs.negative.diagonal().any()
    assert pairs.positive.nonzero().tolist() == [[0, 1], [1, 0]]
    assert int(pairs.negative.sum()) == 10


def test_memory_stands_after_the_batch_and_self_only_on_the_diagonal():
    pairs = Pairs.within(ROWS, CLASSES, memory=memory([0, 2], [0, 0]))
    assert pairs.refs.shape == (6, 4)
    assert pairs.positive[:, 4].tolist() == [True, True, False, False]
    assert pairs.positive[:, 5].tolist() == [False, False, False, True]
    assert pairs.ref_indices.tolist() == [-1] * 4 + [0, 1]


def test_two_sets_lose_nothing():
    pairs = Pairs.between(ROWS, CLASSES, ROWS, CLASSES)
    assert pairs.positive.diagonal().all()
    assert bool((pairs.positive ^ pairs.negative).all())


def test_negatives_of_other_domains_are_left_out_on_request():
    pairs = Pairs.within(ROWS, CLASSES, DOMAINS, memory=memory([1, 1], [0, 1]), negatives_within_domain=True)
    for i in range(4):
        for j in range(6):
            same_domain = DOMAINS[i] == pairs.ref_domains[j]
            different = CLASSES[i] != pairs.ref_classes[j]
            assert pairs.negative[i, j] == (same_domain and different)
    assert int(pairs.positive.sum()) == 4


def test_similarity_and_distances_equal_loops_and_stay_finite_between_duplicates():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    rows[1] = rows[0]
    rows.requires_grad_(True)
    pairs = Pairs.within(rows, torch.arange(5))
    distances = pairs.distances()
    for i in range(5):
        for j in range(5):
            one, other = rows[i].detach(), rows[j].detach()
            assert pairs.similarity()[i, j].item() == pytest.approx((one @ other).item())
            assert distances[i, j].item() == pytest.approx((one - other).norm().item(), abs=2e-6)
    distances.sum().backward()
    assert rows.grad.isfinite().all()


def test_similarity_is_float32_under_autocast():
    rows = torch.randn(3, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pairs = Pairs.within(rows, torch.arange(3))
        similarity, half = pairs.similarity(), rows @ rows.T
    assert (half.dtype, similarity.dtype) == (torch.bfloat16, torch.float32)
    assert torch.allclose(similarity, rows @ rows.T, atol=1e-6)


def test_rows_without_a_class_each_are_refused():
    with pytest.raises(ValueError, match=r"found embeddings \(4, 4\) and 3 classes"):
        Pairs.within(ROWS, CLASSES[:3])


@pytest.mark.parametrize("distance", [0.0, 1.2, torch.tensor([[0.0], [9.0], [0.1], [0.7]], dtype=torch.float64)])
def test_near_keeps_positives_and_what_some_anchor_has_within_reach(distance):
    generator = torch.Generator().manual_seed(0)
    rows, far = torch.randn(4, 4, generator=generator, dtype=torch.float64), torch.full((1500, 4), 50.0)
    remembered = Refs(far.double(), torch.tensor([1, 7, 8, 9, 9, 9] * 250), *torch.zeros(2, 1500, dtype=torch.int64))
    pairs = Pairs.within(rows, CLASSES, memory=remembered)
    near = pairs.near(distance)
    kept = (torch.cdist(rows, pairs.refs) <= distance).any(dim=0) | pairs.positive.any(dim=0)
    assert 0 < int(kept.sum()) < len(kept)
    assert torch.equal(near.refs, pairs.refs[kept])
    for name in ("positive", "negative"):
        assert torch.equal(getattr(near, name), getattr(pairs, name)[:, kept])
    for name in ("ref_classes", "ref_domains", "ref_indices"):
        assert torch.equal(getattr(near, name), getattr(pairs, name)[kept])
    assert torch.allclose(near.similarity(), pairs.similarity()[:, kept])


@pytest.mark.parametrize(("rows", "distance"), [(1500, 9.0), (4, 0.0)])
def test_near_leaves_pairs_alone_where_most_are_near_or_few_are_there(rows, distance):
    pairs = Pairs.within(torch.eye(rows, 4), torch.arange(rows))
    assert pairs.near(distance) is pairs


def test_memory_is_compared_with_in_place():
    remembered = memory([0, 1], [0, 0])
    pairs = Pairs.within(ROWS, CLASSES, memory=remembered)
    assert pairs.blocks[0] is ROWS
    assert pairs.blocks[1] is remembered.embeddings


def test_anchors_are_complete_with_both_kinds_of_pair_and_paired_with_one():
    pairs = Pairs.between(ROWS, CLASSES, ROWS[:1], CLASSES[:1])
    assert pairs.complete.tolist() == [False] * 4
    assert pairs.paired.tolist() == [True] * 4
    within = Pairs.within(ROWS, CLASSES)
    assert within.complete.tolist() == [True, True, False, False]
    assert Pairs.within(ROWS, CLASSES, torch.arange(4), negatives_within_domain=True).paired.tolist() == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("behind", [None, 3, 0])
def test_some_scores_equal_those_of_all_pairs_in_value_and_gradient(behind):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    remembered = None
    if behind is not None:
        embeddings = torch.randn(behind, 4, generator=generator, dtype=torch.float64)
        remembered = Refs(embeddings, *torch.zeros(3, behind, dtype=torch.int64))
    pairs = Pairs.within(rows, CLASSES, memory=remembered)
    anchors, columns = torch.tensor([2, 0]), torch.tensor([5, 1, 4, 0, 1] if behind else [3, 1, 0, 1])
    some, them = pairs.similarity_of(anchors, columns), pairs.similarity()[anchors][:, columns]
    assert torch.allclose(some, them)
    assert torch.equal(pairs.refs_of(columns), pairs.refs[columns])
    gradients = [torch.autograd.grad(scores.square().sum(), rows)[0] for scores in (some, them)]
    assert torch.allclose(*gradients)


def test_some_scores_do_not_join_a_memory():
    pairs = Pairs.within(ROWS, CLASSES, memory=memory([0, 2], [0, 0]))
    pairs.similarity_of(torch.tensor([1, 0]), torch.tensor([5, 0]))
    assert "refs" not in vars(pairs)
