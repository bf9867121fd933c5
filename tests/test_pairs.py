"""Which pairs are positive, negative, or neither, and what their scores are."""

import dataclasses

import pytest
import torch

from reid.pairs import Pairs, Rows

CLASSES = torch.tensor([0, 0, 1, 2])
DOMAINS = torch.tensor([0, 0, 0, 1])
ROWS = torch.eye(4, dtype=torch.float64)


def memory(classes: list[int], domains: list[int]) -> Rows:
    n = len(classes)
    return Rows(torch.zeros(n, 4, dtype=torch.float64), torch.tensor(classes), torch.tensor(domains), torch.arange(n))


def refs(pairs: Pairs) -> torch.Tensor:
    return torch.cat([rows.embeddings for rows in pairs.blocks])


def test_self_is_neither_positive_nor_negative():
    pairs = Pairs.within(Rows.of(ROWS, CLASSES))
    assert not pairs.positive.diagonal().any()
    assert not pairs.negative.diagonal().any()
    assert pairs.positive.nonzero().tolist() == [[0, 1], [1, 0]]
    assert int(pairs.negative.sum()) == 10


def test_memory_stands_after_the_batch_and_self_only_on_the_diagonal():
    pairs = Pairs.within(Rows.of(ROWS, CLASSES), memory([0, 2], [0, 0]))
    assert pairs.positive[:, 4].tolist() == [True, True, False, False]
    assert pairs.positive[:, 5].tolist() == [False, False, False, True]
    assert pairs.ref_classes.tolist() == [0, 0, 1, 2, 0, 2]
    assert [rows.indices.tolist() for rows in pairs.blocks] == [[-1] * 4, [0, 1]]


def test_two_sets_lose_nothing():
    pairs = Pairs.between(Rows.of(ROWS, CLASSES), Rows.of(ROWS, CLASSES))
    assert pairs.positive.diagonal().all()
    assert bool((pairs.positive ^ pairs.negative).all())


def test_negatives_of_other_domains_are_left_out_on_request():
    pairs = Pairs.within(Rows.of(ROWS, CLASSES, DOMAINS), memory([1, 1], [0, 1]), negatives_within_domain=True)
    ref_domains = [0, 0, 0, 1, 0, 1]
    for i in range(4):
        for j in range(6):
            same_domain = DOMAINS[i] == ref_domains[j]
            different = CLASSES[i] != pairs.ref_classes[j]
            assert pairs.negative[i, j] == (same_domain and different)
    assert int(pairs.positive.sum()) == 4


def test_similarity_and_distances_equal_loops_and_stay_finite_between_duplicates():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    rows[1] = rows[0]
    rows.requires_grad_(True)
    pairs = Pairs.within(Rows.of(rows, torch.arange(5)))
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
        pairs = Pairs.within(Rows.of(rows, torch.arange(3)))
        similarity, half = pairs.similarity(), rows @ rows.T
    assert (half.dtype, similarity.dtype) == (torch.bfloat16, torch.float32)
    assert torch.allclose(similarity, rows @ rows.T, atol=1e-6)


@pytest.mark.parametrize(
    ("embeddings", "classes", "found"),
    [
        (ROWS, CLASSES[:3], r"\(4, 4\) and classes \(3,\)"),
        (ROWS, CLASSES[:, None], r"\(4, 4\) and classes \(4, 1\)"),
        (ROWS[0], CLASSES, r"\(4,\) and classes \(4,\)"),
    ],
)
def test_rows_without_a_class_each_are_refused(embeddings, classes, found):
    with pytest.raises(ValueError, match=f"found embeddings {found}"):
        Rows.of(embeddings, classes)


@pytest.mark.parametrize("distance", [0.0, 1.2, torch.tensor([[0.0], [9.0], [0.1], [0.7]], dtype=torch.float64)])
def test_near_keeps_positives_and_what_some_anchor_has_within_reach(distance):
    generator = torch.Generator().manual_seed(0)
    rows, far = torch.randn(4, 4, generator=generator, dtype=torch.float64), torch.full((1500, 4), 50.0)
    remembered = Rows(far.double(), torch.tensor([1, 7, 8, 9, 9, 9] * 250), *torch.zeros(2, 1500, dtype=torch.int64))
    pairs = Pairs.within(Rows.of(rows, CLASSES), remembered)
    near = pairs.near(distance)
    kept = (torch.cdist(rows, refs(pairs)) <= distance).any(dim=0) | pairs.positive.any(dim=0)
    assert 0 < int(kept.sum()) < len(kept)
    assert torch.equal(refs(near), refs(pairs)[kept])
    assert torch.equal(near.ref_classes, pairs.ref_classes[kept])
    assert [rows.indices.tolist() for rows in near.blocks] == [
        rows.indices[part].tolist() for rows, part in zip(pairs.blocks, kept.split([4, 1500]), strict=True)
    ]
    for name in ("positive", "negative"):
        assert torch.equal(getattr(near, name), getattr(pairs, name)[:, kept])
    assert torch.allclose(near.similarity(), pairs.similarity()[:, kept])


@pytest.mark.parametrize(("rows", "distance"), [(1500, 9.0), (4, 0.0)])
def test_near_leaves_pairs_alone_where_most_are_near_or_few_are_there(rows, distance):
    pairs = Pairs.within(Rows.of(torch.eye(rows, 4), torch.arange(rows)))
    assert pairs.near(distance) is pairs


def test_memory_is_compared_with_in_place():
    rows, remembered, seen = Rows.of(ROWS, CLASSES), memory([0, 1], [0, 0]), []

    def score(anchors, refs):
        seen.append(refs.data_ptr())
        return anchors @ refs.T

    Pairs.within(rows, remembered, score=score).similarity()
    assert seen == [ROWS.data_ptr(), remembered.embeddings.data_ptr()]


def test_anchors_are_complete_with_both_kinds_of_pair_and_paired_with_one():
    pairs = Pairs.between(Rows.of(ROWS, CLASSES), Rows.of(ROWS[:1], CLASSES[:1]))
    assert pairs.complete.tolist() == [False] * 4
    assert pairs.paired.tolist() == [True] * 4
    within = Pairs.within(Rows.of(ROWS, CLASSES))
    assert within.complete.tolist() == [True, True, False, False]
    assert Pairs.within(Rows.of(ROWS, CLASSES, torch.arange(4)), negatives_within_domain=True).paired.tolist() == [
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
        remembered = Rows(embeddings, *torch.zeros(3, behind, dtype=torch.int64))
    pairs = Pairs.within(Rows.of(rows, CLASSES), remembered)
    anchors, columns = torch.tensor([2, 0]), torch.tensor([5, 1, 4, 0, 1] if behind else [3, 1, 0, 1])
    some, them = pairs.similarity_of(anchors, columns), pairs.similarity()[anchors][:, columns]
    assert torch.allclose(some, them)
    assert torch.equal(pairs.refs_of(columns), refs(pairs)[columns])
    gradients = [torch.autograd.grad(scores.square().sum(), rows)[0] for scores in (some, them)]
    assert torch.allclose(*gradients)


def test_some_scores_do_not_join_a_memory():
    seen = []

    def score(anchors, refs):
        seen.append((len(anchors), len(refs)))
        return anchors @ refs.T

    pairs = Pairs.within(Rows.of(ROWS, CLASSES), memory([0, 2], [0, 0]), score=score)
    pairs.similarity_of(torch.tensor([1, 0]), torch.tensor([5, 0, 2]))
    assert seen == [(2, 3)]


def test_references_are_the_anchors_alone_within_a_batch_without_a_memory():
    rows = Rows.of(ROWS, CLASSES)
    assert Pairs.within(rows).itself
    assert not Pairs.within(rows, memory([0, 2], [0, 0])).itself
    assert not Pairs.between(rows, Rows.of(ROWS, CLASSES)).itself
    assert not Pairs.within(rows).columns(CLASSES > 0).itself


def best_place(anchors, refs):
    """(B, n) of maps (B, C, h, w): the highest product of any two places, as matchers of maps compare them."""
    return torch.einsum("bci,ncj->bnij", anchors.flatten(2), refs.flatten(2)).amax(dim=(2, 3))


def maps(count: int, seed: int, **options) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 2, 2, generator=generator, dtype=torch.float64, **options)


def test_scores_of_a_function_equal_a_loop_over_rows_of_any_shape():
    own, remembered = maps(4, 0, requires_grad=True), maps(3, 1)
    pairs = Pairs.within(Rows.of(own, CLASSES), Rows.of(remembered, CLASSES[:3]), score=best_place)
    rows, anchors = [*own, *remembered], torch.tensor([3, 1])
    columns = torch.tensor([6, 0, 5])
    slow = torch.stack([torch.stack([(a.flatten(1).T @ b.flatten(1)).max() for b in rows]) for a in own])
    for found, expected in (
        (pairs.similarity(), slow),
        (pairs.similarity_of(anchors, columns), slow[anchors][:, columns]),
        (pairs.columns(torch.arange(7) % 2 == 0).similarity(), slow[:, ::2]),
    ):
        assert torch.allclose(found, expected)
        gradients = [torch.autograd.grad(x.square().sum(), own, retain_graph=True)[0] for x in (found, expected)]
        assert torch.allclose(*gradients)


def test_given_scores_are_taken_as_they_are_with_their_gradient():
    scores = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    pairs = Pairs.within(Rows.of(ROWS, CLASSES), memory([0, 2], [0, 0]), score=scores)
    anchors, columns = torch.tensor([3, 1]), torch.tensor([5, 0])
    assert pairs.similarity() is scores
    assert torch.equal(pairs.similarity_of(anchors, columns), scores[anchors][:, columns])
    assert torch.equal(pairs.columns(torch.arange(6) % 2 == 0).similarity(), scores[:, ::2])
    assert pairs.similarity_of(anchors, columns).requires_grad
    with pytest.raises(ValueError, match=r"found scores \(4, 4\); expected \(4, 6\)"):
        Pairs.within(Rows.of(ROWS, CLASSES), memory([0, 2], [0, 0]), score=scores[:, :4])


def test_scores_of_half_precision_are_float32():
    rows = Rows.of(torch.randn(4, 8, dtype=torch.bfloat16), CLASSES)
    given = Pairs.within(rows, score=torch.randn(4, 4, dtype=torch.bfloat16))
    own = Pairs.within(rows, score=lambda anchors, refs: (anchors @ refs.T).bfloat16())
    assert given.similarity().dtype == own.similarity().dtype == torch.float32


def test_distances_of_given_products_equal_those_of_the_rows():
    generator = torch.Generator().manual_seed(0)
    rows, remembered = (
        Rows.of(torch.randn(n, 5, generator=generator, dtype=torch.float64), torch.arange(n)) for n in (4, 3)
    )
    pairs = Pairs.within(rows, remembered)
    given = dataclasses.replace(pairs, score=pairs.similarity().clone(), products=True)
    assert torch.allclose(given.distances(), pairs.distances(), atol=1e-6)


@pytest.mark.parametrize(
    ("score", "found"),
    [(best_place, "best_place"), (torch.zeros(4, 4), "given"), (torch.nn.Bilinear(1, 1, 1), "Bilinear")],
)
@pytest.mark.parametrize("ask", [lambda pairs: pairs.distances(), lambda pairs: pairs.near(1.0)])
def test_what_follows_from_inner_products_alone_is_refused_of_another_score(score, found, ask):
    pairs = Pairs.within(Rows.of(ROWS, CLASSES), score=score)
    with pytest.raises(ValueError, match=f"the score is {found}; take a loss of any score, such as binomial"):
        ask(pairs)


def test_maps_have_no_inner_product_and_no_length():
    rows = Rows.of(maps(4, 0), CLASSES)
    with pytest.raises(ValueError, match=r"found embeddings \(4, 3, 2, 2\); expected vectors \(B, D\), or a `score`"):
        Pairs.within(rows)
    with pytest.raises(
        ValueError, match=r"found embeddings \(4, 3, 2, 2\); expected vectors \(N, D\).*triplet with DIST"
    ):
        rows.normalized()


def test_unit_rows_are_known_to_be_so():
    rows = Rows.of(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    unit = rows.normalized()
    assert unit.embeddings.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    assert unit.normalized() is unit
    assert unit.select(torch.tensor([1])).unit
    unit.expect_unit()
    Rows.of(unit.embeddings.bfloat16(), rows.classes).expect_unit()
    with pytest.raises(ValueError, match=r"found one of length 5; expected length 1: call loss\(embeddings, labels\)"):
        rows.expect_unit()
