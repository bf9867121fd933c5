"""AM-Softmax against a loop over the paper's equation, and against an independent library; what may be added to it."""

import pytest
import torch
from class_cases import DIM, NUM_CLASSES, cosine, cross_entropy, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.am_softmax import AMSoftmax


def loop(x, classes, weight):
    total = 0.0
    for row, label in zip(x, classes, strict=True):
        logits = [30 * (cosine(row, w) - (0.35 if c == label else 0)) for c, w in enumerate(weight)]
        total += cross_entropy(logits, label)
    return total / len(x)


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(seed):
    same_as_loop(AMSoftmax(NUM_CLASSES, DIM), loop, seed)


def test_equals_pytorch_metric_learning_whose_name_for_it_is_cosface():
    peer = losses.CosFaceLoss(NUM_CLASSES, DIM, margin=0.4, scale=64)
    same_as_peer(AMSoftmax(NUM_CLASSES, DIM, margin=0.4, scale=64.0), peer, "W")


def fuller(smoothing, penalty):
    def slow(x, classes, weight):
        total = 0.0
        for row, label in zip(x, classes, strict=True):
            logits = torch.stack([30 * (cosine(row, w) - (0.35 if c == label else 0)) for c, w in enumerate(weight)])
            shares = logits.exp() / logits.exp().sum()
            target = [smoothing / len(weight) + (1 - smoothing if c == label else 0) for c in range(len(weight))]
            value = -sum(t * p.log() for t, p in zip(target, shares, strict=True))
            entropy = -sum(p * p.log() for p in shares)
            total = total + (value - penalty * entropy).clamp_min(0)
        return total / len(x)

    return slow


@pytest.mark.parametrize(("smoothing", "penalty"), [(0.1, 0.0), (0.0, 0.3), (0.1, 0.3), (0.1, 50.0)])
def test_smoothing_and_penalty_equal_the_slow_loop(smoothing, penalty):
    loss = AMSoftmax(NUM_CLASSES, DIM, label_smoothing=smoothing, confidence_penalty=penalty)
    same_as_loop(loss, fuller(smoothing, penalty))


def test_pr_product_keeps_the_value_and_multiplies_each_cosines_gradient_by_its_sine():
    """One row and two classes, margin 0: dL/dx is the sum over classes of (share - target) * scale * sine * dcos/dx."""
    torch.manual_seed(0)
    plain, scaled = (AMSoftmax(3, DIM, margin=0.0, scale=5.0, pr_product=on).double() for on in (False, True))
    plain.weight.data = scaled.weight.data = torch.randn(3, DIM, dtype=torch.float64)
    x = torch.randn(1, DIM, dtype=torch.float64, requires_grad=True)
    label = torch.tensor([1])
    assert scaled(x, label).item() == pytest.approx(plain(x, label).item(), rel=1e-12)
    near = [cosine(x[0], w) for w in plain.weight]
    shares = torch.stack([5 * c for c in near]).softmax(0).detach()
    expected = sum(
        (share - float(c == 1)) * 5 * (1 - own.detach() ** 2).sqrt() * torch.autograd.grad(own, x, retain_graph=True)[0]
        for c, (share, own) in enumerate(zip(shares, near, strict=True))
    )
    assert torch.allclose(torch.autograd.grad(scaled(x, label), x)[0], expected, rtol=1e-9)
    aligned = scaled.weight.data[:1].clone().requires_grad_(True)
    assert not torch.autograd.grad(scaled(aligned, torch.tensor([0])), aligned)[0].isnan().any()


def test_logits_are_those_of_prediction_without_a_margin():
    loss = AMSoftmax(NUM_CLASSES, DIM)
    x = torch.randn(2, DIM)
    expected = [[30 * cosine(row, w).item() for w in loss.weight] for row in x]
    torch.testing.assert_close(loss.logits(x), torch.tensor(expected), rtol=1e-4, atol=1e-4)
