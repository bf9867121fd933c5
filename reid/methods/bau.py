"""BAU: two views of a picture are aligned as far as they can be trusted, and embeddings spread out, in each domain too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.alignment import Alignment
from reid.losses.domain_uniformity import DomainUniformity
from reid.losses.uniformity import Uniformity
from reid.memory import CrossBatch, IdentityBank
from reid.methods import Phase
from reid.methods._prototypes import domains_of, fill_by_means
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows
from reid.plan import Plan

SCALE = 2.0  # of the uniformity losses


class BAU(Baseline):
    """The baseline on the images, and three losses on unit embeddings of the images and of their view `strong`.

    `aligned`: the squared distance of every strong picture to every image of its identity, weighed by how far the reciprocal
    neighbourhoods of the two agree among all pictures of both views. `uniform`: log of the mean of exp(-2 d^2) over all pairs of a
    view. `domain_uniform`: the same over each picture and the nearest prototypes of other identities of its own domain. The
    last two are means over the views. Both views pass the network together.

    A prototype a identity begins as the mean of its pictures, as they are scored before training. After the step each image is
    blended into its own, one after another.

    Args:
        losses, memory, negatives_within_domain, classes: as in `Baseline`. domains: (N,) int64, while training.
        alignment, uniformity, domain_uniformity: weights of the three; 0 leaves one out.
        num_neighbours: of the neighbourhoods. num_prototypes: how many of the nearest; 0: as many as the batch has images.
        momentum: weight of a prototype's old value.
        released: `domain_uniform` as their code has it. It leaves out the nearest prototype of the domain, whosever it is, in place
            of the picture's own; what a small domain lacks of prototypes counts as infinitely far, which thins the mean.
    Source: Cho et al. 2024 (BAU) and their code. Its InstanceNorm after stages, which the paper does not tell of, is MODEL.NORM
        [stages]. Deviation: prototypes are written after the step.
    """

    views = frozenset({"strong"})
    only_training = (*Baseline.only_training, "prototypes.")
    class_domains: Tensor

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        num_classes: int,
        memory: CrossBatch | None = None,
        negatives_within_domain: bool = False,
        classes: np.ndarray | None = None,
        domains: np.ndarray | None = None,
        alignment: float = 1.5,
        uniformity: float = 1.0,
        domain_uniformity: float = 1.0,
        num_neighbours: int = 10,
        num_prototypes: int = 0,
        momentum: float = 0.1,
        released: bool = False,
    ):
        super().__init__(encoder, losses, memory, negatives_within_domain, classes=classes)
        self.weights = {"aligned": alignment, "uniform": uniformity, "domain_uniform": domain_uniformity}
        if not losses and not any(self.weights.values()):
            raise ValueError(
                "LOSSES is empty and ALIGNMENT, UNIFORMITY and DOMAIN_UNIFORMITY are 0; expected some loss"
            )
        self.align, self.spread = Alignment(num_neighbours), Uniformity(SCALE)
        self.num_prototypes, self.released = num_prototypes, released
        self.prototypes = IdentityBank(num_classes, encoder.dim, momentum, first_visit="blend", in_turn=True)
        self.register_buffer("class_domains", domains_of(num_classes, classes, domains), persistent=False)

    def __repr__(self) -> str:
        on = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items() if weight)
        return f"<bau {on or 'nothing'}{', as released' * self.released}, on top of {super().__repr__()}>"

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """The baseline's plan; before the first step the prototypes."""
        if epoch == 0:
            fill_by_means(self.prototypes, embed("embedding"), self.classes)
        return super().start_epoch(epoch, embed)

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One."""
        images = torch.cat([batch.images, batch.views["strong"]])
        features = self.encoder(images, batch.domains.repeat(2), batch.camids.repeat(2))
        weak, strong = ({name: values.chunk(2)[half] for name, values in features.items()} for half in (0, 1))
        phase = self.phase_of(weak, batch)
        views = [
            Rows(view["after"], batch.classes, batch.domains, batch.indices).normalized() for view in (weak, strong)
        ]
        phase.losses |= {name: self.weights[name] * loss for name, loss in self.of_views(*views).items()}
        phase.keep |= {"rows": views[0].embeddings.detach(), "classes": batch.classes}
        yield phase

    def of_views(self, weak: Rows, strong: Rows) -> dict[str, Tensor]:
        """The three losses, those that are on, without their weights; of unit rows of the same pictures."""
        losses = {}
        if self.weights["aligned"]:
            losses["aligned"] = self.align(Pairs.between(strong, weak))
        if self.weights["uniform"]:
            losses["uniform"] = (self.spread(Pairs.within(weak)) + self.spread(Pairs.within(strong))) / 2
        if self.weights["domain_uniform"]:
            num, kept = self.num_prototypes or len(weak), self.prototypes.rows
            prototypes = Rows.of(kept, torch.arange(len(kept), device=kept.device), self.class_domains, unit=True)
            loss = _as_released if self.released else lambda pairs, num: DomainUniformity(num, SCALE)(pairs)
            both = [loss(Pairs.between(view, prototypes), num) for view in (weak, strong)]
            losses["domain_uniform"] = (both[0] + both[1]) / 2
        return losses

    def remember(self, keep: dict[str, Tensor]) -> None:
        super().remember(keep)
        self.prototypes.update(keep["rows"], keep["classes"])


def _as_released(pairs: Pairs, num: int) -> Tensor:
    """The log of the mean of exp(-2 d^2) over the `num` nearest of the domain after the very nearest, absent ones as 0."""
    squared = (2 - 2 * pairs.similarity()).masked_fill(~pairs.same_domain, torch.inf)
    near = squared.topk(min(num + 1, squared.shape[1]), dim=1, largest=False).values[:, 1:]
    return (-SCALE * near).exp().mean().log()
