"""Proxy-NCA, the paper's and the usual form, against loops over distances, and against an independent library."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.proxy_nca import ProxyNCA


@pytest.mark.parametrize("usual", [False, True])
@pytest.mark.parametrize("scale", [1.0, 9.0])
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(usual, scale, seed):
    def loop(x, classes, weight):
        total = 0.0
        for row, label in zip(x, classes, strict=True):
            near = [(-scale * (row / row.norm() - w / w.norm()).square().sum()).exp() for w in weight]
            against = sum(value for c, value in enumerate(near) if usual or c != label)
            total -= (near[label] / against).log()
        return total / len(x)

    same_as_loop(ProxyNCA(NUM_CLASSES, DIM, positive_in_denominator=usual, scale=scale), loop, seed)


def test_usual_form_equals_pytorch_metric_learning():
    peer = losses.ProxyNCALoss(NUM_CLASSES, DIM, softmax_scale=9)
    same_as_peer(ProxyNCA(NUM_CLASSES, DIM, positive_in_denominator=True, scale=9.0), peer, "proxies")


def test_the_papers_form_has_no_lower_bound():
    proxies = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for usual, sign in ((False, -1), (True, 1)):
        loss = ProxyNCA(2, 2, positive_in_denominator=usual, scale=3.0)
        loss.weight.data = proxies
        assert loss(proxies, torch.tensor([0, 1])).item() * sign > 0


def test_a_single_class_is_refused():
    with pytest.raises(ValueError, match="found 1 class; expected 2 or more"):
        ProxyNCA(1, 2)
