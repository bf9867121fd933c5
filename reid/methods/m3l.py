"""M3L: a classifier of remembered rows for each domain, and a step on some of them that has to help on another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from reid import processes
from reid.data.loader import Batch
from reid.losses import Term
from reid.memory import IdentityBank
from reid.methods import Phase
from reid.methods._meta import inner_step, split, with_meta
from reid.methods._prototypes import domains_of, fill_by_means
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics
from reid.plan import Plan

EPS = 1e-5  # beside the squared gradient of an inner step
Seen = list[
    tuple[Tensor, Tensor]
]  # of each domain of meta-train, mean and deviation (D,) of its features before the neck


class M3L(Baseline):
    """On each domain of meta-train `bank` and the baseline's losses, their means over domains; the same on meta-test by the weights
    one inner step further on.

    `bank` is the cross-entropy of a unit embedding over the remembered rows of its own domain's identities, by their cosines over a
    temperature. A row begins as the mean of its identity's pictures, as they are scored before training. After the step all pictures
    of the batch pass the network again, and each is blended into its identity's row, one after another. Every domain passes by
    itself, so BatchNorm normalises each by its own.

    The inner step is the first one of Adam: of each parameter p with gradient g, p - lr * d / sqrt(d^2 + 1e-5), d = g +
    INNER_WEIGHT_DECAY * p. The gradient of meta-test goes through it. Where several processes train, each takes it by its own rows.

    MetaBN: in meta-test the features before the neck are mixed with draws from the normal distribution of each domain of
    meta-train, x <- u z + (1 - u) x with u uniform in 0..1, one for a batch; `bank` is the mean over these mixtures.

    Args:
        losses, classes: as in `Baseline`; pair losses see one domain at a time, and no mixture. domains: (N,) int64, while training.
        temperature: of the cosines. momentum: weight of a row's old value.
        meta_bn: whether features are mixed. released: as in their code, whose deviation of the draws is the variance.
        inner_lr: of the inner step; 0: the optimiser's own rate of each parameter. inner_weight_decay: of the inner step.
        second_order: False holds the inner gradient constant.
        meta_weight: of the losses on meta-test.
    Raises ValueError where MetaBN finds no neck.
    Source: Zhao et al. 2021 (M3L) and their code. Deviations: any number of domains, where theirs has two of meta-train. As far as
        we know theirs does not learn through mean and deviation of the draws either; the variance is a batch's own, not a sample's.
    """

    sampler = "meta"
    only_training = (*Baseline.only_training, "bank.")
    class_domains: Tensor

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        num_classes: int,
        classes: np.ndarray | None = None,
        domains: np.ndarray | None = None,
        temperature: float = 0.05,
        momentum: float = 0.2,
        meta_bn: bool = True,
        released: bool = False,
        inner_lr: float = 0.0,
        inner_weight_decay: float = 5e-4,
        second_order: bool = True,
        meta_weight: float = 1.0,
    ):
        super().__init__(encoder, losses, classes=classes)
        if meta_bn and not isinstance(encoder.neck, nn.BatchNorm1d):
            raise ValueError(
                "META_BN mixes before the neck, and there is none; expected MODEL.NECK True, or META_BN False"
            )
        self.temperature, self.meta_bn, self.released = temperature, meta_bn, released
        self.inner_lr, self.inner_weight_decay = inner_lr, inner_weight_decay
        self.second_order, self.meta_weight = second_order, meta_weight
        self.bank = IdentityBank(num_classes, encoder.dim, momentum, first_visit="blend", in_turn=True)
        self.register_buffer("class_domains", domains_of(num_classes, classes, domains), persistent=False)

    def __repr__(self) -> str:
        how = f"{'second' if self.second_order else 'first'} order, {'with' if self.meta_bn else 'without'} MetaBN"
        return f"<m3l bank {tuple(self.bank.rows.shape)}, {how}{', as released' * self.released}, on top of {super().__repr__()}>"

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """The baseline's plan; before the first step the rows of the bank."""
        if epoch == 0:
            fill_by_means(self.bank, embed("embedding"), self.classes)
        return super().start_epoch(epoch, embed)

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One; after it the bank."""
        train, test = split(batch)
        phase, seen = self(train)
        moved = inner_step(self, phase, self.inner_lr, self.second_order, self._adam)
        with hold_statistics(self.encoder):
            meta, _ = functional_call(self, moved, (test, seen if self.meta_bn else []))
        yield with_meta(phase, meta, self.meta_weight)
        with torch.no_grad(), hold_statistics(self.encoder):
            parts = _by_domain(batch)
            rows = torch.cat(
                [F.normalize(self.encoder(part.images, part.domains, part.camids)["after"]) for part in parts]
            )
        fresh = processes.gather({"rows": rows, "classes": torch.cat([part.classes for part in parts])})
        self.bank.update(**fresh)

    def forward(self, batch: Batch, seen: Seen | None = None) -> tuple[Phase, Seen]:  # type: ignore[override]
        """The losses of a batch, means over its domains, and what each domain's features are like before the neck.

        seen: of other domains, which features are mixed with; None or empty: with none.
        """
        phases, found = [], []
        for part in _by_domain(batch):
            features = self.encoder(part.images, part.domains, part.camids)
            phase = self.phase_of(features, part)
            mixtures = self._mixed(features["before"], seen) if seen else [features["after"]]
            phase.losses["bank"] = torch.stack([self.bank_loss(rows, part) for rows in mixtures]).mean()
            phases.append(phase)
            before = features["before"].detach()
            variance, mean = torch.var_mean(before, dim=0, correction=0)
            found.append((mean, variance if self.released else variance.sqrt()))
        return _mean(phases), found

    def bank_loss(self, embeddings: Tensor, batch: Batch) -> Tensor:
        """The cross-entropy of embeddings (B, D) of one domain over the identities of that domain."""
        with torch.autocast(embeddings.device.type, enabled=False):
            scores = F.normalize(embeddings) @ self.bank.rows.T / self.temperature  # (B, C)
        strange = self.class_domains != batch.domains[0]
        return F.cross_entropy(scores.masked_fill(strange, torch.finfo(scores.dtype).min), batch.classes)

    def _mixed(self, before: Tensor, seen: Seen) -> list[Tensor]:
        """`after` of features (B, D) mixed with draws of each of the domains seen."""
        share = torch.rand((), dtype=before.dtype, device=before.device)
        draws = [mean + deviation * torch.randn_like(before) for mean, deviation in seen]
        return [self.encoder.neck(share * draw + (1 - share) * before) for draw in draws]

    def _adam(self, gradient: Tensor, parameter: Tensor) -> Tensor:
        decayed = gradient + self.inner_weight_decay * parameter
        return decayed / (decayed.square() + EPS).sqrt()


def _by_domain(batch: Batch) -> list[Batch]:
    return [batch.select(batch.domains == domain) for domain in batch.domains.unique()]


def _mean(phases: Sequence[Phase]) -> Phase:
    """Means of the losses, sums of the counts; nothing is kept."""
    losses = {name: torch.stack([phase.losses[name] for phase in phases]).mean() for name in phases[0].losses}
    counts = {name: torch.stack([phase.counts[name] for phase in phases]).sum() for name in phases[0].counts}
    return dataclasses.replace(phases[0], losses=losses, counts=counts)
