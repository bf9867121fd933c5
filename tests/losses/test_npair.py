"""N-pair loss against a loop over the paper's equation, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero, one_anchor
from pytorch_metric_learning import distances, losses

from reid.losses.npair import NPair
from reid.pairs import Pairs, Rows


def slow_npair(case, l2):
    """An identity's first row is its anchor; its column is its first positive, or its first row where it has no anchor."""
    labels, refs = case.classes.tolist(), case.ref_classes.tolist()
    anchors = [i for i in range(len(labels)) if labels.index(labels[i]) == i and case.positives[i]]
    columns = [case.positives[i][0] for i in anchors]
    columns += [j for j in range(len(refs)) if refs.index(refs[j]) == j and refs[j] not in labels]
    values = []
    for i in anchors:
        own = case.positives[i][0]
        others = [j for j in columns if j in case.negatives[i]]
        if others:
            value = torch.log1p(sum((case.s[i][j] - case.s[i][own]).exp() for j in others))
            values.append(value + l2 / 2 * (case.rows[i] @ case.rows[i] + case.refs[own] @ case.refs[own]))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("l2", [0.0, 0.003])
def test_value_and_gradient_equal_the_slow_loop(kind, l2):
    case = Case(kind, unit=False)
    case.check(NPair(l2=l2), slow_npair(case, l2))


def test_equals_cross_entropy_of_anchors_with_positives():
    case = Case("batch", unit=False, classes=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    slow = torch.nn.functional.cross_entropy(case.x[::2] @ case.x[1::2].T, torch.arange(6))
    case.check(NPair(), slow)


def test_value_equals_pytorch_metric_learning():
    case = Case("batch", unit=False)
    peer = losses.NPairsLoss(distance=distances.DotProductSimilarity(normalize_embeddings=False))
    assert NPair()(case.pairs).item() == pytest.approx(peer(case.x, case.classes).item(), rel=1e-6)


def test_a_third_image_changes_nothing():
    x = torch.randn(6, 4)
    pairs = Pairs.within(Rows.of(x, torch.tensor([0, 1, 0, 1, 1, 0])))
    assert torch.equal(NPair()(pairs), NPair()(x[:4], torch.tensor([0, 1, 0, 1])))


def test_negatives_of_other_domains_are_left_out_on_request():
    x, classes, domains = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 0, 1, 1])
    limited = NPair()(Pairs.within(Rows.of(x, classes, domains), negatives_within_domain=True))
    assert limited.item() == pytest.approx(NPair()(x[:4], classes[:4]).item())


def test_the_worked_example_of_one_anchor():
    assert NPair()(one_anchor()).item() == pytest.approx(1.080349, abs=1e-6)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(NPair(l2=0.1), classes)
