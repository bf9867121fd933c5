"""Proxy-Anchor against a loop over the paper's equation, and against an independent library."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.proxy_anchor import ProxyAnchor


def loop(x, classes, weight):
    pull, push, present = 0.0, 0.0, 0
    for c, proxy in enumerate(weight):
        positives = [(-32 * (cosine(row, proxy) - 0.1)).exp() for row, k in zip(x, classes, strict=True) if k == c]
        negatives = [(32 * (cosine(row, proxy) + 0.1)).exp() for row, k in zip(x, classes, strict=True) if k != c]
        present += bool(positives)
        pull += torch.log1p(torch.stack(positives).sum()) if positives else 0
        push += torch.log1p(torch.stack(negatives).sum()) if negatives else 0
    return pull / present + push / len(weight)


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(seed):
    same_as_loop(ProxyAnchor(NUM_CLASSES, DIM), loop, seed)


def test_equals_pytorch_metric_learning():
    peer = losses.ProxyAnchorLoss(NUM_CLASSES, DIM, margin=0.2, alpha=16)
    same_as_peer(ProxyAnchor(NUM_CLASSES, DIM, margin=0.2, alpha=16.0), peer, "proxies")


def test_a_batch_of_one_class_is_no_negative_to_its_proxy():
    loss = ProxyAnchor(3, 2)
    loss.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert loss(x, torch.tensor([0, 0])).item() == pytest.approx(0, abs=1e-9)
    assert loss(x, torch.tensor([1, 1])).item() > 32
