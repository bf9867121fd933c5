"""FastAP against a loop over the paper's equation, and against an independent library."""

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from pytorch_metric_learning import losses
from torch.nn import functional as F

from reid.losses.fast_ap import FastAP


def slow_fast_ap(case, num_bins):
    width = 4 / num_bins
    values = []
    for i in case.complete:
        found = everyone = total = 0.0
        for step in range(num_bins + 1):
            pulse = F.relu(1 - ((2 - 2 * torch.stack(case.s[i])) - step * width).abs() / width)
            positive = pulse[case.positives[i]].sum()
            found = found + positive
            everyone = everyone + positive + pulse[case.negatives[i]].sum()
            if everyone.item() > 0:
                total = total + positive * found / everyone
        values.append(1 - total / len(case.positives[i]))
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_bins", [10, 3])
def test_value_and_gradient_equal_the_slow_loop(kind, num_bins):
    case = Case(kind)
    case.check(FastAP(num_bins=num_bins), slow_fast_ap(case, num_bins))


def test_value_equals_pytorch_metric_learning():
    case = Case("batch", 1, classes=[0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 3, 2])
    assert FastAP()(case.pairs).item() == pytest.approx(losses.FastAPLoss()(case.rows, case.classes).item(), rel=1e-6)


def test_all_positives_before_all_negatives_is_perfect():
    classes = torch.arange(12) // 6
    assert FastAP()(torch.eye(2, dtype=torch.float64)[classes], classes).item() == pytest.approx(0)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(FastAP(), classes)


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="NUM_BINS is 0"):
        FastAP(num_bins=0)
