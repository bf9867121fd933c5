"""A training step of DIMN on the CPU at the size of its paper: 18,530 identities, MobileNetV2 1.4 (1792-d), 256x128.

Ours is DIMN's step with softmax, triplet, the three losses of the mapping and the update of its bank; the peer is the baseline's
with the first two, the same encoder, pictures and classes. Both are made at their first call, so their memory is all they hold and all a step adds: the
difference is what DIMN costs. `ratio` is peer / ours: 0.80 is a step of 1.25 times the baseline's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import _bench
import torch

from reid import optim
from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.methods import Method
from reid.methods.baseline import Baseline
from reid.methods.dimn import DIMN
from reid.models.encoder import Encoder


def pairs(num_classes: int, num_ids: int, size: tuple[int, int]) -> Batch:
    """Two pictures each of `num_ids` identities, coarse squares with a little noise, as the loader lays them out."""
    coarse = torch.randint(0, 180, (2 * num_ids, 3, size[0] // 16, size[1] // 16), dtype=torch.uint8)
    images = coarse.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    images += torch.randint_like(images, 0, 76)
    classes = torch.randperm(num_classes)[:num_ids].repeat_interleave(2)
    zeros = torch.zeros_like(classes)
    images = images.contiguous(memory_format=torch.channels_last)
    return Batch(images, classes, zeros, zeros, zeros, zeros, zeros, [""] * len(classes))


def trained(make: Callable[[], Method], batch: Batch) -> Callable[[], None]:
    """A step as the trainer takes it, a function without arguments; the first call makes the method and takes one more."""

    @cache
    def made() -> tuple[Method, torch.optim.Optimizer]:
        torch.manual_seed(0)
        method = make().train().to(memory_format=torch.channels_last)
        optimizer = optim.optimizer(method.param_groups(), name="sgd", lr=0.01, weight_decay=5e-4)
        step(method, optimizer)  # it leaves the optimiser's own memory behind, which every later step finds
        return method, optimizer

    def step(method: Method, optimizer: torch.optim.Optimizer) -> None:
        (phase,) = method.phases(batch)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(phase.losses.values())).sum().backward()
        optimizer.step()
        method.remember(phase.keep)

    return lambda: step(*made())


def prepare(
    backbone: str, num_classes: int, num_ids: int, size: tuple[int, int]
) -> tuple[Callable[[], None], Callable[[], None]]:
    torch.manual_seed(0)
    batch = pairs(num_classes, num_ids, size)

    def baseline() -> Method:
        encoder = Encoder(backbone)
        return Baseline(encoder, losses(encoder))

    def dimn() -> Method:
        encoder = Encoder(backbone)
        return DIMN(encoder, losses(encoder), num_classes)

    def losses(encoder: Encoder) -> list[Term]:
        return [Term("softmax", Softmax(num_classes, encoder.dim)), Term("triplet", Triplet())]

    return trained(dimn, batch), trained(baseline, batch)


CASES = [
    _bench.Case("tiny", "softmax + triplet", partial(prepare, "tiny", 1000, 32, (64, 32)), repeats=25),
    _bench.Case(
        "mobilenetv2_140", "softmax + triplet", partial(prepare, "mobilenetv2_140", 18_530, 32, (256, 128)), repeats=11
    ),
]

if __name__ == "__main__":
    _bench.main(CASES, __doc__ or "")
