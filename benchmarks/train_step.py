"""A training step on the CPU: forward, loss, backward, optimiser. uint8 pictures in, as the loader gives them.

Ours is what the trainer runs: weights and pictures channels_last, normalisation inside the encoder. The peer is what
FastReID and torchreid run: the same network with the same weights in PyTorch's default layout, fed with float pictures
that were normalised before the clock started. The losses compared are those of the first step. They differ by a few 1e-5:
with channels_last PyTorch sums BatchNorm's statistics in one run of float32, 6e-6 off for the 131,072 values of a channel
in the first layers. Gradients of MobileNetV2 with ImageNet weights keep a cosine of 0.9994 to those in float64, where
bf16 autocast leaves 0.75.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import _bench
import torch
from torch import Tensor, nn

from reid.models.encoder import Encoder
from reid.models.norms.input import Input

NUM_CLASSES = 751  # Market-1501's training identities


def step(forward: Callable[[], Tensor], head: nn.Linear, classes: Tensor, optimiser: torch.optim.Optimizer) -> float:
    """One step on the same batch; the loss before the update."""
    loss = nn.functional.cross_entropy(head(forward()), classes)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def trained_by(encoder: Encoder, head: nn.Linear, classes: Tensor, forward: Callable[[], Tensor]) -> partial[float]:
    """The step as a function without arguments."""
    parameters = [p for module in (encoder, head) for p in module.parameters() if p.requires_grad]
    return partial(step, forward, head, classes, torch.optim.SGD(parameters, lr=0.01, momentum=0.9))


def pictures(num: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(num, 3, *size) uint8 and their classes (num,).

    Coarse squares and a little noise: pictures of pure noise all pool to one vector, whose differences are rounding.
    """
    coarse = torch.randint(0, 180, (num, 3, size[0] // 16, size[1] // 16), dtype=torch.uint8)
    images = coarse.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    images += torch.randint_like(images, 0, 76)
    return images, torch.randint(0, NUM_CLASSES, (num,))


def prepare(
    backbone: str, size: tuple[int, int], num_images: int, **options: object
) -> tuple[Callable[[], float], Callable[[], float]]:
    torch.manual_seed(0)
    ours = Encoder(backbone, size=size, **options).train()
    head = nn.Linear(ours.dim, NUM_CLASSES)
    peer, peer_head = copy.deepcopy(ours), copy.deepcopy(head)
    for module in peer.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True  # as timm and the peers have it
    ours = ours.to(memory_format=torch.channels_last)
    images, classes = pictures(num_images, size)
    as_loaded = images.contiguous(memory_format=torch.channels_last)
    normalised = peer.normalise(images)

    def peer_forward() -> Tensor:
        return peer.neck(peer.pool(peer.backbone(normalised)))

    return (
        trained_by(ours, head, classes, lambda: ours(as_loaded)["after"]),
        trained_by(peer, peer_head, classes, peer_forward),
    )


def same(ours: object, peer: object) -> bool:
    """Equal to 1e-4 of the loss."""
    assert isinstance(ours, float)
    assert isinstance(peer, float)
    return abs(ours - peer) <= 1e-4 * abs(peer)


CASES = [
    _bench.Case(
        "mobilenetv2_140", "eager NCHW", partial(prepare, "mobilenetv2_140", (256, 128), 16), same=same, repeats=9
    ),
    _bench.Case("resnet50", "eager NCHW", partial(prepare, "resnet50", (256, 128), 16), same=same, repeats=3),
    _bench.Case(
        "vit_small_patch16_224",
        "timm's own, NCHW",
        partial(prepare, "vit_small_patch16_224", (256, 128), 16, pooling="cls"),
        same=same,
        repeats=3,
        share=1.05,
    ),
    _bench.Case(
        "tiny",
        "eager NCHW",
        partial(prepare, "tiny", (64, 32), 64, pooling="strips4", norms=[Input()]),
        same=same,
        repeats=25,
    ),
]

if __name__ == "__main__":
    _bench.main(CASES, __doc__ or "")
