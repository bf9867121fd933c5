"""Smooth-AP against a loop over the paper's equation, against exact AP, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from pytorch_metric_learning import losses
from torch.nn import functional as F

from reid.losses.smooth_ap import SmoothAP
from reid.pairs import Pairs, Rows


def slow_smooth_ap(case, temperature):
    values = []
    for i in case.complete:
        precisions = []
        for j in case.positives[i]:
            above = {k: torch.sigmoid((case.s[i][k] - case.s[i][j]) / temperature) for k in range(len(case.refs))}
            rank = 1 + sum(above[k] for k in case.positives[i] if k != j)
            precisions.append(rank / (rank + sum(above[k] for k in case.negatives[i])))
        values.append(1 - sum(precisions) / len(precisions))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [0.01, 0.2])
def test_value_and_gradient_equal_the_slow_loop(kind, temperature):
    case = Case(kind)
    case.check(SmoothAP(temperature=temperature), slow_smooth_ap(case, temperature))


def test_a_low_temperature_gives_average_precision():
    """Positives at ranks 1 and 4: AP = (1/1 + 2/4) / 2."""
    s = torch.tensor([0.9, 0.2, 0.5, 0.3, 0.1], dtype=torch.float64)
    refs = torch.stack([s, (1 - s**2).sqrt()], dim=1)
    anchor = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    pairs = Pairs.between(Rows.of(anchor, torch.tensor([0])), Rows.of(refs, torch.tensor([0, 0, 1, 1, 1])))
    assert SmoothAP(temperature=1e-3)(pairs).item() == pytest.approx(1 - (1 + 2 / 4) / 2)


def test_value_equals_pytorch_metric_learning_which_counts_an_image_among_its_own_matches():
    """It mixes up the number of classes and that of images in each, so both are 4 here."""
    rows, classes = F.normalize(torch.randn(16, 5, dtype=torch.float64)), torch.arange(16) // 4
    expected = losses.SmoothAPLoss(temperature=0.1)(rows, classes)
    actual = SmoothAP(temperature=0.1)(Pairs.between(Rows.of(rows, classes), Rows.of(rows, classes)))
    assert actual.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(SmoothAP(), classes)
