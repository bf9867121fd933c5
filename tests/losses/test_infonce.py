"""InfoNCE against a loop over the definition, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from pytorch_metric_learning import losses
from torch.nn import functional as F

from reid.losses.infonce import InfoNCE


def slow_infonce(case, temperature):
    values = []
    for i in case.complete:
        negatives = sum((case.s[i][k] / temperature).exp() for k in case.negatives[i])
        for j in case.positives[i]:
            positive = (case.s[i][j] / temperature).exp()
            values.append(-torch.log(positive / (positive + negatives)))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_value_and_gradient_equal_the_slow_loop(kind, temperature):
    case = Case(kind)
    case.check(InfoNCE(temperature=temperature), slow_infonce(case, temperature))


@pytest.mark.parametrize("kind", ["batch", "memory"])
def test_value_equals_pytorch_metric_learning(kind):
    case = Case(kind, 1)
    reference = {} if kind == "batch" else {"ref_emb": case.refs, "ref_labels": case.ref_classes}
    expected = losses.NTXentLoss(temperature=0.07)(case.rows, case.classes, **reference)
    assert InfoNCE()(case.pairs).item() == pytest.approx(expected.item(), rel=1e-6)


def test_two_views_of_each_image_give_nt_xent():
    """SimCLR: cross-entropy of each view's partner among all 2N - 1 other views."""
    views = F.normalize(torch.randn(8, 5, dtype=torch.float64))
    logits = (views @ views.T / 0.5).fill_diagonal_(-torch.inf)
    partner = torch.arange(8) ^ 1
    expected = F.cross_entropy(logits, partner)
    actual = InfoNCE(temperature=0.5)(views, torch.arange(8) // 2)
    assert actual.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(InfoNCE(), classes)
