"""What the tests of class losses share: a problem in float64, and the loss against a loop over it."""

import pytest
import torch

NUM_CLASSES, DIM = 5, 4


def problem(seed: int = 0, size: int = 9, num_classes: int = NUM_CLASSES - 1):
    """Embeddings (size, DIM) of all lengths and their classes; the last of NUM_CLASSES is never seen."""
    generator = torch.Generator().manual_seed(1000 + seed)  # not the numbers of the weights
    x = torch.randn(size, DIM, generator=generator, dtype=torch.float64).requires_grad_(True)
    return x, torch.randint(num_classes, (size,), generator=generator)


def same_as_loop(loss, loop, seed: int = 0):
    """`loss` against `loop(embeddings, classes, weight) -> scalar`: value, gradient of embeddings and of weights."""
    torch.manual_seed(seed)
    loss = loss.double()
    # Lengths other than 1: a loss that forgets to normalise its rows would be seen.
    loss.weight.data = torch.randn_like(loss.weight)
    x, classes = problem(seed)
    fast, slow = loss(x, classes), loop(x, classes.tolist(), loss.weight)
    assert fast.item() == pytest.approx(slow.item(), rel=1e-6)
    for a, b in zip(
        torch.autograd.grad(fast, [x, loss.weight]), torch.autograd.grad(slow, [x, loss.weight]), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-7)


def same_as_peer(loss, peer, weight: str):
    """`loss` against a loss of pytorch-metric-learning whose parameter `weight` is (C, D) or (D, C)."""
    torch.manual_seed(0)
    loss, peer = loss.double(), peer.double()
    rows = torch.randn_like(loss.weight)
    loss.weight.data = rows
    theirs = getattr(peer, weight)
    theirs.data = rows.clone() if theirs.shape == rows.shape else rows.T.clone()
    x, classes = problem(7)
    ours, others = loss(x, classes), peer(x, classes)
    assert ours.item() == pytest.approx(others.item(), rel=1e-6)
    for a, b in zip(torch.autograd.grad(ours, x), torch.autograd.grad(others, x), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def cosine(a, b):
    return a @ b / (a.norm() * b.norm())


def cross_entropy(logits, label: int):
    """logits: a list of scalars."""
    return torch.stack(logits).exp().sum().log() - logits[label]
