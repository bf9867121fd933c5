"""Identity softmax against the definition."""

import math

import pytest
import torch

from reid.losses.softmax import Softmax


def test_label_smoothing_equals_the_definition():
    torch.manual_seed(0)
    loss = Softmax(num_classes=5, dim=3, label_smoothing=0.1).double()
    loss.weight.data = torch.randn(5, 3, dtype=torch.float64)
    x, classes = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 4, 2, 2])
    total = 0.0
    for row, label in zip(x, classes.tolist(), strict=True):
        logits = [float(w @ row) for w in loss.weight.detach()]
        log_z = math.log(sum(math.exp(v) for v in logits))
        target = [0.1 / 5 + (0.9 if c == label else 0.0) for c in range(5)]
        total -= sum(t * (v - log_z) for t, v in zip(target, logits, strict=True))
    assert loss(x, classes).item() == pytest.approx(total / 4, rel=1e-6)


def test_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match=r"LABEL_SMOOTHING is 1\.0"):
        Softmax(2, 2, label_smoothing=1.0)
