"""What building blocks cost on the CPU: norms in a training step, OSNet beside a plain restatement, each augmentation.

The first cases are a training step of MobileNetV2 on 256x128 pictures with a conversion of its norms (ours) and without one
(peer): a ratio of 0.95 says that it takes 1.05 of the plain step, which is the most that is allowed. Answers differ, as the
networks do. Then a step of OSNet x0.25 beside the same network written as functions, with the same weights and in PyTorch's
default layout; then what augment.py measures, which changes torch's number of threads and so comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import _bench
import augment
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from train_step import NUM_CLASSES, pictures, same, trained_by

from reid.models.encoder import Encoder
from reid.models.norms import Conversion
from reid.models.norms.ibn_a import IbnA
from reid.models.norms.input import Input
from reid.models.norms.mixstyle import Mixstyle

Step = Callable[[], float]
NUM_PICTURES, SIZE = 16, (256, 128)


def with_and_without(norms: Sequence[Conversion]) -> tuple[Step, Step]:
    torch.manual_seed(0)
    images, classes = pictures(NUM_PICTURES, SIZE)
    images = images.contiguous(memory_format=torch.channels_last)
    steps = []
    for chosen in (norms, ()):
        encoder = Encoder("mobilenetv2_100", norms=chosen).train().to(memory_format=torch.channels_last)
        forward = partial(lambda encoder: encoder(images)["after"], encoder)
        steps.append(trained_by(encoder, nn.Linear(encoder.dim, NUM_CLASSES), classes, forward))
    return steps[0], steps[1]


def osnet() -> tuple[Step, Step]:
    torch.manual_seed(0)
    images, classes = pictures(NUM_PICTURES, SIZE)
    as_loaded = images.contiguous(memory_format=torch.channels_last)
    ours, head = Encoder("osnet_x0_25", neck=False).train(), nn.Linear(512, NUM_CLASSES)
    plain = Encoder("osnet_x0_25", neck=False).train()
    plain_head = nn.Linear(512, NUM_CLASSES)
    plain.load_state_dict(ours.state_dict())
    plain_head.load_state_dict(head.state_dict())
    ours = ours.to(memory_format=torch.channels_last)
    weights = dict(plain.backbone.named_parameters())
    normalised = plain.normalise(images)
    return (
        trained_by(ours, head, classes, lambda: ours(as_loaded)["after"]),
        trained_by(plain, plain_head, classes, lambda: plain_osnet(weights, normalised)),
    )


def plain_osnet(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """(B, 512), BatchNorm by the batch: OSNet as a list of operations, nothing shared, nothing kept."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, None, None, weights[f"{name}.weight"], weights[f"{name}.bias"], training=True)

    def conv(x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **options)

    def unit(x: Tensor, name: str, **options: int) -> Tensor:
        return norm(conv(x, f"{name}.conv", **options), f"{name}.bn")

    def light(x: Tensor, name: str) -> Tensor:
        spread = conv(conv(x, f"{name}.conv1"), f"{name}.conv2", padding=1, groups=x.shape[1])
        return norm(spread, f"{name}.bn").relu()

    def block(x: Tensor, name: str) -> Tensor:
        first = unit(x, f"{name}.conv1").relu()
        total = torch.zeros_like(first)
        for letter, depth in zip("abcd", (1, 2, 3, 4), strict=True):
            stream = first
            for layer in range(depth):
                stream = light(stream, f"{name}.conv2{letter}" + (f".{layer}" if depth > 1 else ""))
            hidden = conv(stream.mean(dim=(2, 3), keepdim=True), f"{name}.gate.fc1").relu()
            total = total + stream * conv(hidden, f"{name}.gate.fc2").sigmoid()
        shortcut = unit(x, f"{name}.downsample") if f"{name}.downsample.conv.weight" in weights else x
        return (unit(total, f"{name}.conv3") + shortcut).relu()

    x = F.max_pool2d(unit(images, "conv1", stride=2, padding=3).relu(), 3, stride=2, padding=1)
    for stage in ("conv2", "conv3", "conv4"):
        x = block(block(x, f"{stage}.0"), f"{stage}.1")
        if stage != "conv4":
            x = F.avg_pool2d(unit(x, f"{stage}.2.0").relu(), 2)
    pooled = unit(x, "conv5").relu().mean(dim=(2, 3))
    return norm(F.linear(pooled, weights["fc.0.weight"], weights["fc.0.bias"]), "fc.1").relu()


CASES = [
    _bench.Case(name, "without", partial(with_and_without, norms), repeats=9, share=1.05)
    for name, norms in {"input": [Input()], "ibn_a": [IbnA()], "mixstyle": [Mixstyle(prob=1.0)]}.items()
]
CASES.append(_bench.Case("osnet_x0_25", "plain functions", osnet, same=same, repeats=9))
CASES += augment.CASES

if __name__ == "__main__":
    _bench.main(CASES, __doc__ or "")
