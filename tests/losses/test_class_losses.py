"""Every class loss found in the folder on the rows that break losses, in half precision."""

import pytest
import torch

from reid.builder import registry
from reid.losses import ClassLoss

FOUND = {name: registry.find("losses", name) for name in registry.names("losses")}
CLASS_LOSSES = {name: made for name, made in FOUND.items() if issubclass(made, ClassLoss)}
DIM = 8


def rows(case: str, loss: ClassLoss) -> torch.Tensor:
    """(6, DIM)"""
    ones = torch.ones(6, DIM)
    alternating = torch.tensor([1.0, -1.0] * 3)[:, None]
    return {
        "collapsed": ones,
        "antipodal": ones * alternating,
        "zero": ones * 0,
        "large": ones * 1e4,
        "on their own row and opposite": loss.weight.detach()[[0, 1, 2, 2, 1, 0]] * alternating,
    }[case]


@pytest.mark.parametrize("classes", [[0, 1, 2, 2, 1, 0], [1] * 6], ids=["three classes", "one class"])
@pytest.mark.parametrize("case", ["collapsed", "antipodal", "zero", "large", "on their own row and opposite"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_value_and_gradients_are_finite(name, dtype, case, classes):
    torch.manual_seed(0)
    loss = CLASS_LOSSES[name](num_classes=7, dim=DIM)  # classes 3 to 6 are never seen
    x = rows(case, loss).to(dtype).requires_grad_(True)
    with torch.autocast("cpu", dtype if dtype != torch.float32 else None, enabled=dtype != torch.float32):
        value = loss(x, torch.tensor(classes))
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_autocast_changes_the_value_no_more_than_rounding_does(name):
    torch.manual_seed(0)
    loss = CLASS_LOSSES[name](num_classes=7, dim=DIM)
    x, classes = torch.randn(16, DIM), torch.arange(16) % 7
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(x, classes)
    tolerance = 1e-3 if name == "softmax" else 1e-6  # its linear layer runs in half precision; logits are not scaled
    assert half.item() == pytest.approx(loss(x, classes).item(), rel=tolerance)
