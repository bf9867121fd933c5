"""MetaBIN: gates between batch and instance normalisation, which learn to be such that a step of theirs helps on other domains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.data.samplers.meta import BASE
from reid.losses import Term
from reid.losses.domain_triplet import DomainTriplet
from reid.losses.triplet import Triplet
from reid.memory import CrossBatch
from reid.methods import Phase
from reid.methods._meta import expect_some, split
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics
from reid.models.norms.bin import Gated
from reid.pairs import Pairs, Rows


class MetaBIN(Baseline):
    """The baseline on the share BASE of each batch, which moves all but the gates; then a step of the gates g alone.

    That step, on features before the neck of the encoder that has just learned: with T the sum of `shuffle`, `scatter` and batch-hard
    triplets on the domains of meta-train, and S the batch-hard triplets on those of meta-test,

        g' = g - a * rate * dT/dg, within 0..1;  S(g') is minimised;  g is brought back into 0..1.

    `shuffle` draws a picture to the farthest of other domains and away from the nearest other identity of its own; `scatter` is
    the mean cosine of pictures with their domain's mean. The rate is the gates' own, and a goes up and down between CYCLE_LOW and
    CYCLE_HIGH. BatchNorm's running statistics see the share BASE alone.

    Args:
        losses, memory, negatives_within_domain, metric, classes: as in `Baseline`, of the share BASE.
        margin: of the triplets of both parts of the meta step.
        cycle_low, cycle_high: of a, which begins low. cycle_epochs: from low to high and back again.
        gate_lr_factor: of the gates' rate; they have no weight decay. gate_momentum: of sgd, None: the optimiser's own.
        start_step: the step that first moves the gates. They also stay while SOLVER.FREEZE holds them.
        second_order: the gradient of S also goes through dT/dg.
    Raises ValueError where the encoder has no gates: they come with MODEL.NORM [bin].
    Source: Choi et al. 2021 (MetaBIN) and their code, which is of first order, and takes ten base steps before the first of the gates:
        start_step 9. Deviations: BASE, meta-train and meta-test of one batch; with one domain of meta-train there is no shuffle,
        which is counted.
    """

    sampler = "base_and_meta"
    several_steps = True

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        memory: CrossBatch | None = None,
        negatives_within_domain: bool = False,
        metric: str = "cosine",
        classes: np.ndarray | None = None,
        margin: float = 0.3,
        cycle_low: float = 0.001,
        cycle_high: float = 0.1,
        cycle_epochs: int = 5,
        gate_lr_factor: float = 10.0,
        gate_momentum: float | None = None,
        start_step: int = 0,
        second_order: bool = False,
    ):
        super().__init__(encoder, losses, memory, negatives_within_domain, metric, classes)
        expect_some(losses)
        if not self._gates():
            raise ValueError("found no gates in the encoder; expected some: add bin to MODEL.NORM")
        self.triplet, self.shuffle = Triplet(margin), DomainTriplet()
        self.cycle_low, self.cycle_high, self.cycle_epochs = cycle_low, cycle_high, cycle_epochs
        self.gate_group = {"lr_factor": gate_lr_factor, "weight_decay": 0.0}
        if gate_momentum is not None:
            self.gate_group["momentum"] = gate_momentum
        self.start_step, self.second_order = start_step, second_order

    def __repr__(self) -> str:
        number = sum(gate.numel() for gate in self._gates().values())
        return f"<metabin {number:,} gates, cycle {self.cycle_low:g} to {self.cycle_high:g}, of {super().__repr__()}>"

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """Two, or the first alone while the gates stay."""
        others = [group["name"] for group in self.param_groups() if group["name"] != "gates"]
        yield dataclasses.replace(self(batch.select(batch.roles == BASE)), learns=others)
        gates = self._gates()
        if batch.step < self.start_step or not gates:
            return
        train, test = split(batch)
        with hold_statistics(self.encoder):
            before = self.encoder(train.images, train.domains, train.camids)["before"]
            pairs = _pairs(before, train)
            loss = self.triplet(pairs) + self.shuffle(pairs) + scatter(before, train.domains)
            gradients = self.inner_grad(loss, list(gates.values()), self.second_order)
            rate = self.cycle(batch.step) * self.rate("gates")
            # The layer itself takes what is beyond 0..1 as 0 or 1.
            moved = {name: gate - rate * g for (name, gate), g in zip(gates.items(), gradients, strict=True)}
            tested = functional_call(self.encoder, moved, (test.images, test.domains, test.camids))["before"]
        unusable = ~self.shuffle.usable(pairs).any()
        meta = {"meta_triplet": self.triplet(_pairs(tested, test))}
        yield Phase(meta, learns=["gates"], counts={"unusable_shuffle": unusable})
        with torch.no_grad():
            for gate in gates.values():
                gate.clamp_(0, 1)

    def cycle(self, step: int) -> float:
        """a at a step: from low up to high and down again, a whole number of epochs long."""
        share = step / max(1, self.place.steps_per_epoch * self.cycle_epochs) % 1
        return self.cycle_low + (self.cycle_high - self.cycle_low) * (1 - abs(1 - 2 * share))

    def param_groups(self) -> list[dict[str, Any]]:
        gates = list(self._gates().values())
        known = {id(gate) for gate in gates}
        groups = [
            {**group, "params": [p for p in group["params"] if id(p) not in known]} for group in super().param_groups()
        ]
        groups.append({"name": "gates", "params": gates, **self.gate_group})
        return [group for group in groups if group["params"]]

    def _gates(self) -> dict[str, nn.Parameter]:
        """The gates that learn, by their names in the encoder."""
        layers = {name: layer for name, layer in self.encoder.named_modules() if isinstance(layer, Gated)}
        return {f"{name}.gate": layer.gate for name, layer in layers.items() if layer.gate.requires_grad}


def scatter(embeddings: Tensor, domains: Tensor) -> Tensor:
    """The mean over domains of the mean cosine of unit rows (B, D) with their domain's mean; smaller is wider spread."""
    units = F.normalize(embeddings)
    own = [units[domains == domain] for domain in domains.unique()]
    return torch.stack([F.cosine_similarity(rows, rows.mean(dim=0, keepdim=True)).mean() for rows in own]).mean()


def _pairs(embeddings: Tensor, batch: Batch) -> Pairs:
    return Pairs.within(Rows(embeddings, batch.classes, batch.domains, batch.indices))
