"""Losses, one step forward and backward on one thread, 512 dimensions: pair losses against a cross-batch memory and in a
batch of 64, class losses of a batch of 64 and 1,000 classes.

Peer: pytorch-metric-learning with the settings that give the same loss, which the line above each row shows by the value
and by the norm of the gradient with respect to the batch. Its CrossBatchMemory enqueues the batch and compares it with
the whole memory; ours is MODE joint over as many columns, the batch's and then the older ones. The peer's memory passes no
gradient to the batch's own rows, so here that of ours is cut as well. Both normalise the batch and push it each step.

Embeddings as of a trained encoder: 4 images per class in the batch and 5 in the memory, of similarity 0.75 within a class,
0.45 within a group of alike classes (200 groups, 4 for a batch alone), 0 elsewhere. Losses that leave out far negatives
(contrastive, triplets) gain from that; `triplets-near` is triplets where nothing is far.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import _bench
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers
from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss, PairLoss
from reid.losses.a_softmax import ASoftmax
from reid.losses.am_softmax import AMSoftmax
from reid.losses.arcface import ArcFace
from reid.losses.circle import Circle
from reid.losses.contrastive import Contrastive
from reid.losses.fast_ap import FastAP
from reid.losses.infonce import InfoNCE
from reid.losses.lifted import Lifted
from reid.losses.multi_similarity import MultiSimilarity
from reid.losses.normalized_softmax import NormalizedSoftmax
from reid.losses.npair import NPair
from reid.losses.proxy_anchor import ProxyAnchor
from reid.losses.proxy_nca import ProxyNCA
from reid.losses.smooth_ap import SmoothAP
from reid.losses.soft_triple import SoftTriple
from reid.losses.supcon import SupCon
from reid.losses.triplet import Triplet
from reid.memory import EmbeddingQueue
from reid.pairs import Pairs, Rows

DIM = 512
NUM_CLASSES = 1000


class Step(NamedTuple):
    """What a step gave: the loss, and the norm of its gradient with respect to the batch."""

    value: float
    norm: float


def step(loss: Callable[[Tensor], Tensor], batch: Tensor) -> Step:
    batch.grad = None
    value = loss(batch)
    value.backward()
    assert batch.grad is not None
    return Step(value.item(), batch.grad.norm().item())


def embeddings(classes: Tensor, groups: Tensor, centres: Tensor, generator: torch.Generator) -> Tensor:
    """(N, DIM): shares of a group's direction, a class's and a picture's own, which are nearly at right angles."""
    own = F.normalize(torch.randn(len(classes), DIM, generator=generator))
    return 0.45**0.5 * groups[classes % len(groups)] + 0.3**0.5 * centres[classes] + 0.25**0.5 * own


def of_unit_rows(batch: Tensor, classes: Tensor) -> Pairs:
    """As nearly all of the peer's losses take them."""
    return Pairs.within(Rows.of(batch, classes).normalized())


def of_raw_rows(batch: Tensor, classes: Tensor) -> Pairs:
    return Pairs.within(Rows.of(batch, classes))


def with_itself(batch: Tensor, classes: Tensor) -> Pairs:
    """As the peer's Smooth-AP: an image is among its own matches, and there are as many classes as images in each."""
    rows = Rows.of(batch, classes).normalized()
    return Pairs.between(rows, rows)


def prepare(
    ours: Callable[[], PairLoss],
    peer: Callable[[], torch.nn.Module],
    num_anchors: int,
    size: int = 0,
    images: int = 4,
    pairs: Callable[[Tensor, Tensor], Pairs] = of_unit_rows,
) -> tuple[Callable[[], Step], Callable[[], Step]]:
    """size: columns, the batch's included; 0 for the batch alone. images: of each class in the batch. pairs: of the batch."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    num_classes = max(size // 5, num_anchors)
    shapes = ((200 if size else 4, DIM), (num_classes, DIM))
    groups, centres = (F.normalize(torch.randn(shape, generator=generator)) for shape in shapes)
    classes = torch.arange(num_anchors // images).repeat_interleave(images)
    batch = embeddings(classes, groups, centres, generator).requires_grad_(True)
    if not size:
        loss, other = ours(), peer()
        return (
            partial(step, lambda x: loss(pairs(x, classes)), batch),
            partial(step, lambda x: other(x, classes), batch),
        )
    older = torch.randint(num_classes, (size - num_anchors,), generator=generator)
    rows = F.normalize(embeddings(older, groups, centres, generator))
    return (
        partial(step, behind_queue(ours(), classes, rows, older), batch),
        partial(step, behind_peer(peer(), classes, rows, older), batch.detach().clone().requires_grad_(True)),
    )


def behind_queue(loss: PairLoss, classes: Tensor, rows: Tensor, older: Tensor) -> Callable[[Tensor], Tensor]:
    queue = EmbeddingQueue(len(rows) + len(classes), DIM)
    queue.push(Rows.of(rows, older))

    def forward(batch: Tensor) -> Tensor:
        raw = Rows(batch, classes, classes, classes)
        queue.push(raw)
        queue.position = queue.filled = len(rows)  # as before the push: the same step again
        pairs = Pairs.within(raw.normalized(), queue.rows(normalize=True))
        cut = dataclasses.replace(pairs.anchors, embeddings=pairs.anchors.embeddings.detach())
        return loss(dataclasses.replace(pairs, blocks=(cut, pairs.blocks[1])))

    return forward


def behind_peer(loss: torch.nn.Module, classes: Tensor, rows: Tensor, older: Tensor) -> Callable[[Tensor], Tensor]:
    memory = losses.CrossBatchMemory(loss, DIM, memory_size=len(rows) + len(classes))
    memory.add_to_memory(rows, older, len(rows))

    def forward(batch: Tensor) -> Tensor:
        memory.queue_idx = len(rows)  # the same step again
        return memory(batch, classes)

    return forward


def prepare_classes(
    ours: Callable[..., ClassLoss], peer: Callable[..., torch.nn.Module], weight: str
) -> tuple[Callable[[], Step], Callable[[], Step]]:
    """A batch of 64 against NUM_CLASSES classes. weight: the peer's name for its rows, or columns, which are made ours."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loss, other = ours(NUM_CLASSES, DIM), peer(NUM_CLASSES, DIM)
    theirs = getattr(other, weight)
    theirs.data = (loss.weight if theirs.shape == loss.weight.shape else loss.weight.T).detach().clone()
    classes = torch.randint(NUM_CLASSES, (64,))
    batch = (0.5 * loss.weight.detach()[classes] + 0.03 * torch.randn(64, DIM)).requires_grad_(True)

    def forward(loss: torch.nn.Module, batch: Tensor) -> Tensor:
        loss.zero_grad()
        value: Tensor = loss(batch, classes)
        return value

    return partial(step, partial(forward, loss), batch), partial(step, partial(forward, other), batch)


class Mined(torch.nn.Module):
    """The peer's multi-similarity loss behind its miner."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.miner = losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner(0.3)

    def forward(self, batch: Tensor, classes: Tensor) -> Tensor:
        return self.loss(batch, classes, self.miner(batch, classes))


def same(ours: object, peer: object) -> bool:
    """Value and gradient norm equal to 1e-4 of the peer's; shows both."""
    assert isinstance(ours, Step)
    assert isinstance(peer, Step)
    print(f"  value {ours.value:.6f} and {peer.value:.6f}, gradient norm {ours.norm:.6f} and {peer.norm:.6f}")
    return all(abs(a - b) <= 1e-4 * abs(b) for a, b in zip(ours, peer, strict=True))


def same_gradient(ours: object, peer: object) -> bool:
    """XBM's form jumps at the margin and is a mean over anchors; the peer's is neither, and its gradient the same but for that."""
    assert isinstance(ours, Step)
    assert isinstance(peer, Step)
    print(
        f"  gradient norm {ours.norm:.6f} and {peer.norm / 64:.6f}; values that differ by a constant are not compared"
    )
    return abs(ours.norm - peer.norm / 64) <= 1e-4 * ours.norm


CONTRASTIVE = (partial(Contrastive, "mean", 1.0), losses.ContrastiveLoss)
MULTI_SIMILARITY = (partial(MultiSimilarity, mining=False), losses.MultiSimilarityLoss)
MINED = (partial(MultiSimilarity, epsilon=0.3), Mined)
CIRCLE = (partial(Circle, 0.25, 128.0), partial(losses.CircleLoss, m=0.25, gamma=128))
TRIPLETS = (partial(Triplet, 0.3, mining="all"), partial(losses.TripletMarginLoss, 0.3))
NEAR = (partial(Triplet, 0.8, mining="all"), partial(losses.TripletMarginLoss, 0.8))
COSINE = (
    partial(Triplet, 0.3, "cosine", "all"),
    partial(losses.TripletMarginLoss, 0.3, distance=distances.CosineSimilarity()),
)

XBM = (
    Contrastive,
    partial(losses.ContrastiveLoss, 1, 0.5, distance=distances.CosineSimilarity(), reducer=reducers.SumReducer()),
)
LIFTED = (partial(Lifted, normalize=True), losses.LiftedStructureLoss)
GENERALIZED = (partial(Lifted, form="generalized", normalize=True), losses.GeneralizedLiftedStructureLoss)
NPAIR = (NPair, partial(losses.NPairsLoss, distance=distances.DotProductSimilarity(normalize_embeddings=False)))
SMOOTH_AP = (partial(SmoothAP, 0.1), partial(losses.SmoothAPLoss, 0.1))


def soft_triple(num_classes: int, dim: int) -> torch.nn.Module:
    """The peer's with its regulariser, which the paper's loss has."""
    spread = regularizers.SparseCentersRegularizer(num_classes, 10)
    return losses.SoftTripleLoss(num_classes, dim, weight_regularizer=spread, weight_reg_weight=0.2)


CLASS_LOSSES: dict[str, tuple[Callable[..., ClassLoss], Callable[..., torch.nn.Module], str]] = {
    "normalized-softmax": (NormalizedSoftmax, losses.NormalizedSoftmaxLoss, "W"),
    "am-softmax": (partial(AMSoftmax, margin=0.35, scale=64.0), losses.CosFaceLoss, "W"),
    "arcface": (partial(ArcFace, margin=math.radians(28.6)), losses.ArcFaceLoss, "W"),
    "a-softmax": (partial(ASoftmax, lambda_start=0.0, lambda_min=0.0), losses.SphereFaceLoss, "W"),
    "proxy-nca": (partial(ProxyNCA, positive_in_denominator=True), losses.ProxyNCALoss, "proxies"),
    "proxy-anchor": (ProxyAnchor, losses.ProxyAnchorLoss, "proxies"),
    "soft-triple": (SoftTriple, soft_triple, "fc"),
}


CASES = [
    _bench.Case("contrastive-64x8192", "PML + CrossBatchMemory", partial(prepare, *CONTRASTIVE, 64, 8192), same, 15),
    _bench.Case("contrastive-128x60000", "PML + CrossBatchMemory", partial(prepare, *CONTRASTIVE, 128, 60000), same),
    _bench.Case("xbm-64x8192", "PML + CrossBatchMemory", partial(prepare, *XBM, 64, 8192), same_gradient, 15),
    _bench.Case("multisim-128x60000", "PML + CrossBatchMemory", partial(prepare, *MULTI_SIMILARITY, 128, 60000), same),
    _bench.Case("circle-64x60000", "PML + CrossBatchMemory", partial(prepare, *CIRCLE, 64, 60000), same),
    _bench.Case("triplets-64x8192", "PML + CrossBatchMemory", partial(prepare, *TRIPLETS, 64, 8192), same),
    _bench.Case("triplets-64x60000", "PML + CrossBatchMemory", partial(prepare, *TRIPLETS, 64, 60000), same, 1),
    _bench.Case("triplets-near-64x8192", "PML + CrossBatchMemory", partial(prepare, *NEAR, 64, 8192), same),
    _bench.Case("contrastive-64", "PML", partial(prepare, *CONTRASTIVE, 64), same, 101),
    _bench.Case("multisim-64", "PML", partial(prepare, *MULTI_SIMILARITY, 64), same, 101),
    _bench.Case("multisim-mined-64", "PML", partial(prepare, *MINED, 64), same, 101),
    _bench.Case("circle-64", "PML", partial(prepare, *CIRCLE, 64), same, 101),
    _bench.Case("triplets-64", "PML", partial(prepare, *TRIPLETS, 64), same, 101),
    _bench.Case("triplets-cosine-64", "PML", partial(prepare, *COSINE, 64), same, 101),
    _bench.Case("lifted-64", "PML", partial(prepare, *LIFTED, 64), same, 101),
    _bench.Case("lifted-generalized-64", "PML", partial(prepare, *GENERALIZED, 64), same, 101),
    _bench.Case("infonce-64", "PML", partial(prepare, InfoNCE, losses.NTXentLoss, 64), same, 101),
    _bench.Case("supcon-64", "PML", partial(prepare, SupCon, losses.SupConLoss, 64), same, 101),
    _bench.Case("npair-64", "PML", partial(prepare, *NPAIR, 64, 0, 2, of_raw_rows), same, 101),
    _bench.Case("fast-ap-64", "PML", partial(prepare, FastAP, losses.FastAPLoss, 64), same, 101),
    _bench.Case("smooth-ap-64", "PML", partial(prepare, *SMOOTH_AP, 64, 0, 8, with_itself), same, 101),
    *[_bench.Case(name, "PML", partial(prepare_classes, *losses), same, 31) for name, losses in CLASS_LOSSES.items()],
]

if __name__ == "__main__":
    _bench.main(CASES, __doc__ or "")
