"""Supervised contrastive loss against a loop over the paper's equation, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from pytorch_metric_learning import losses

from reid.losses.supcon import SupCon


def slow_supcon(case, temperature):
    values = []
    for i in case.complete:
        everyone = sum((case.s[i][k] / temperature).exp() for k in case.positives[i] + case.negatives[i])
        terms = [-torch.log((case.s[i][j] / temperature).exp() / everyone) for j in case.positives[i]]
        values.append(sum(terms) / len(terms))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_value_and_gradient_equal_the_slow_loop(kind, temperature):
    case = Case(kind)
    case.check(SupCon(temperature=temperature), slow_supcon(case, temperature))


@pytest.mark.parametrize("kind", ["batch", "memory"])
def test_value_equals_pytorch_metric_learning(kind):
    case = Case(kind, 1)
    reference = {} if kind == "batch" else {"ref_emb": case.refs, "ref_labels": case.ref_classes}
    expected = losses.SupConLoss(temperature=0.1)(case.rows, case.classes, **reference)
    assert SupCon()(case.pairs).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(SupCon(), classes)
