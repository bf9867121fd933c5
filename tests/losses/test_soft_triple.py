"""SoftTriple with its regulariser against a loop over the paper's equations, and against an independent library."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, cross_entropy, problem, same_as_loop, same_as_peer
from pytorch_metric_learning import losses, regularizers

from reid.losses.soft_triple import SoftTriple


def loop(x, classes, weight, k=3, scale=20, gamma=0.1, tau=0.2, margin=0.01):
    total, spread = 0.0, 0.0
    for row, label in zip(x, classes, strict=True):
        logits = []
        for c in range(NUM_CLASSES):
            s = [cosine(row, w) for w in weight[c * k : (c + 1) * k]]
            shares = [(v / gamma).exp() for v in s]
            relaxed = sum(share * v for share, v in zip(shares, s, strict=True)) / sum(shares)
            logits.append(scale * (relaxed - (margin if c == label else 0)))
        total += cross_entropy(logits, label)
    for c in range(NUM_CLASSES):
        for i in range(c * k, (c + 1) * k):
            for j in range(i + 1, (c + 1) * k):
                spread += (2 + 1e-5 - 2 * cosine(weight[i], weight[j])).sqrt()
    return total / len(x) + tau * spread / (NUM_CLASSES * k * (k - 1))


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(seed):
    same_as_loop(SoftTriple(NUM_CLASSES, DIM, num_centers=3), loop, seed)


def test_equals_pytorch_metric_learning():
    peer = losses.SoftTripleLoss(
        NUM_CLASSES,
        DIM,
        centers_per_class=3,
        weight_regularizer=regularizers.SparseCentersRegularizer(NUM_CLASSES, 3),
        weight_reg_weight=0.2,
    )
    # The 1e-5 below the root is the authors'; the peer's is smaller.
    loss = SoftTriple(NUM_CLASSES, DIM, num_centers=3).double()
    loss.weight.data = torch.randn_like(loss.weight)
    peer.double().fc.data = loss.weight.data.T.clone()
    x, classes = problem()
    assert loss(x, classes).item() == pytest.approx(peer(x, classes).item(), rel=1e-4)


def test_without_the_regulariser_equals_pytorch_metric_learning():
    peer = losses.SoftTripleLoss(NUM_CLASSES, DIM, centers_per_class=3)
    same_as_peer(SoftTriple(NUM_CLASSES, DIM, num_centers=3, tau=0.0), peer, "fc")


def test_one_centre_a_class_has_nothing_to_draw_together():
    x, classes = problem()
    torch.manual_seed(0)
    one = SoftTriple(NUM_CLASSES, DIM, num_centers=1).double()
    assert one(x, classes).isfinite()
    assert one._spread().item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradient_is_finite_where_centres_have_merged(dtype):
    loss = SoftTriple(2, 8, num_centers=4)
    loss.weight.data = torch.randn(2, 1, 8).expand(2, 4, 8).reshape(8, 8).clone()
    with torch.autocast("cpu", dtype):
        value = loss(torch.randn(3, 8), torch.tensor([0, 1, 1]))
    value.backward()
    assert value.isfinite()
    assert loss.weight.grad.isfinite().all()
