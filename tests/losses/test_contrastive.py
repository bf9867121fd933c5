"""The forms of contrastive loss against loops over their definitions, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero, one_anchor, same_without_the_far
from pytorch_metric_learning import distances, losses, reducers

from reid.losses.contrastive import Contrastive
from reid.pairs import Pairs, Rows

ZERO = torch.tensor(0.0, dtype=torch.float64)


def slow_xbm(case, margin):
    total, anchors = ZERO, 0
    for i in range(12):
        total = total + sum(1 - case.s[i][j] for j in case.positives[i])
        total = total + sum(case.s[i][j] for j in case.negatives[i] if case.s[i][j] > margin)
        anchors += bool(case.positives[i] or case.negatives[i])
    return total / anchors


def slow_hadsell(case, margin):
    terms = [case.d[i][j] ** 2 / 2 for i in range(12) for j in case.positives[i]]
    terms += [(margin - case.d[i][j]).clamp_min(0) ** 2 / 2 for i in range(12) for j in case.negatives[i]]
    return sum(terms) / len(terms)


def slow_mean(case, margin):
    positives = [case.d[i][j] for i in range(12) for j in case.positives[i]]
    negatives = [margin - case.d[i][j] for i in range(12) for j in case.negatives[i] if case.d[i][j] < margin]
    return sum(positives) / len(positives) + sum(negatives) / max(1, len(negatives))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin", [0.9, 0.5, -0.2])
def test_form_of_xbm_equals_the_slow_loop(kind, margin):
    case = Case(kind)
    case.check(Contrastive(margin=margin), slow_xbm(case, margin))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin", [1.0, 2.5])
def test_form_of_hadsell_equals_the_slow_loop_on_raw_vectors(kind, margin):
    case = Case(kind, unit=False)
    loss = Contrastive("hadsell", margin)
    assert not loss.normalize
    case.check(loss, slow_hadsell(case, margin))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("margin", [0.5, 1.0, 1.7])
def test_form_of_means_equals_the_slow_loop(kind, margin):
    case = Case(kind)
    case.check(Contrastive("mean", margin), slow_mean(case, margin))


def test_gradient_of_xbm_equals_pytorch_metric_learning_and_the_value_but_for_the_jump_at_the_margin():
    case = Case("batch")
    peer = losses.ContrastiveLoss(1, 0.5, distance=distances.CosineSimilarity(), reducer=reducers.SumReducer())
    counted = sum(case.s[i][j] > 0.5 for i in range(12) for j in case.negatives[i])
    case.check(Contrastive(), (peer(case.x, case.classes) + 0.5 * counted) / 12)


def test_means_equal_pytorch_metric_learning():
    case = Case("batch")
    case.check(Contrastive("mean", 1.0), losses.ContrastiveLoss()(case.x, case.classes))


@pytest.mark.parametrize("form", ["xbm", "mean"])
def test_far_references_are_left_out_and_change_nothing(form, monkeypatch):
    same_without_the_far(Contrastive(form, 0.6), monkeypatch)


def test_worked_example_of_one_anchor():
    assert Contrastive()(one_anchor()).item() == pytest.approx(1.15)  # 0.2 + 0.4 + 0.55


@pytest.mark.parametrize("form", ["xbm", "hadsell", "mean"])
def test_batch_without_a_pair_gives_zero_with_gradient_zero(form):
    assert gives_zero(Contrastive(form), [0])


def test_anchors_with_one_kind_of_pair_count():
    pairs = Pairs.within(Rows.of(torch.eye(3), torch.tensor([0, 0, 0])))
    assert Contrastive().usable(pairs).all()
    assert Contrastive()(pairs).item() == 2  # two positives an anchor, each 1


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="no cosine; there are xbm, hadsell, mean"):
        Contrastive("cosine")
