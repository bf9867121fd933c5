"""Lifted structure loss, both forms, against loops over the papers' equations, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from pytorch_metric_learning import distances, losses
from torch.nn import functional as F

from reid.losses.lifted import Lifted

RAW = distances.LpDistance(normalize_embeddings=False)


def slow_paper(case, margin):
    """Every ordered positive pair once: the paper's unordered pairs are then counted twice, in sum and number."""
    values = []
    for i in range(12):
        for j in case.positives[i]:
            terms = [(margin - case.d[i][k]).exp() for k in case.negatives[i]]
            if case.kind == "batch":
                terms += [(margin - case.d[j][k]).exp() for k in case.negatives[j]]
            if terms:
                values.append(F.relu(torch.log(sum(terms)) + case.d[i][j]) ** 2 / 2)
    return sum(values) / len(values)


def slow_generalized(case, margin):
    values = []
    for i in case.complete:
        positives = sum(case.d[i][j].exp() for j in case.positives[i])
        negatives = sum((margin - case.d[i][j]).exp() for j in case.negatives[i])
        values.append(F.relu(positives.log() + negatives.log()))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("form", "slow"), [("paper", slow_paper), ("generalized", slow_generalized)])
@pytest.mark.parametrize("margin", [1.0, -3.0])
def test_value_and_gradient_equal_the_slow_loop(kind, form, slow, margin):
    case = Case(kind, unit=False)
    case.check(Lifted(margin=margin, form=form), slow(case, margin))


@pytest.mark.parametrize(
    ("form", "peer"),
    [("paper", losses.LiftedStructureLoss), ("generalized", losses.GeneralizedLiftedStructureLoss)],
)
def test_value_equals_pytorch_metric_learning(form, peer):
    case = Case("batch", unit=False, classes=[0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 2])
    assert Lifted(form=form)(case.pairs).item() == pytest.approx(peer(distance=RAW)(case.x, case.classes).item())


def test_unit_vectors_on_request():
    assert Lifted(normalize=True).normalize
    assert not Lifted().normalize


@pytest.mark.parametrize("form", ["paper", "generalized"])
@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(form, classes):
    assert gives_zero(Lifted(form=form), classes)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="no original; there are paper, generalized"):
        Lifted(form="original")
