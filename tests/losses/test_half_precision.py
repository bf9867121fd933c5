"""Every pair loss found in the folder on the rows that break losses, in half precision."""

import pytest
import torch
from torch.nn import functional as F

from reid.builder import registry
from reid.losses import PairLoss
from reid.pairs import Pairs, Rows

PAIR_LOSSES = [name for name in registry.names("losses") if issubclass(registry.find("losses", name), PairLoss)]
DIM = 8
CLASSES = [0, 0, 0, 1, 1, 2]
CASES = {
    "collapsed": (torch.ones(6, DIM), CLASSES),
    "antipodal": (torch.ones(6, DIM) * torch.tensor([1.0, -1.0] * 3)[:, None], CLASSES),
    "duplicates": (torch.randn(3, DIM, generator=torch.Generator().manual_seed(0)).repeat(2, 1), CLASSES),
    "one class": (torch.randn(6, DIM, generator=torch.Generator().manual_seed(1)), [1] * 6),
    "all different": (torch.randn(6, DIM, generator=torch.Generator().manual_seed(2)), list(range(6))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_value_and_gradients_are_finite(name, dtype, case):
    x, classes = CASES[case]
    loss = registry.make("losses", {"NAME": name}, num_classes=6, dim=DIM)
    x, classes = x.to(dtype, copy=True).requires_grad_(True), torch.tensor(classes)
    with torch.autocast("cpu", dtype if dtype != torch.float32 else None, enabled=dtype != torch.float32):
        rows = Rows.of(F.normalize(x) if loss.normalize else x, classes)
        remembered = Rows.of(rows.embeddings.detach().float(), classes)
        within = loss(x, classes)
        against = loss(Pairs.between(rows, remembered))  # each image against itself, too
    assert within.dtype == against.dtype == torch.float32
    assert within.isfinite()
    assert against.isfinite()
    with torch.autograd.set_detect_anomaly(True):  # no NaN on the way either, though a mask may stop it later
        (within + against).backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())
