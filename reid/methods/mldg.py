"""MLDG: a step on some domains is good if the loss on another falls with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.func import functional_call

from reid.data.loader import Batch
from reid.losses import Term
from reid.memory import CrossBatch
from reid.methods import Phase
from reid.methods._meta import expect_some, inner_step, split, with_meta
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics


class MLDG(Baseline):
    """The baseline on the domains of meta-train, plus its losses on those of meta-test by the weights one inner step further on.

    With F the sum of LOSSES on meta-train and G that on meta-test, F(w) + META_WEIGHT * G(w - INNER_LR * dF/dw) is minimised. The
    inner step moves all that learns, weights of losses too. Where several processes train, each takes it by its own rows.

    Args:
        losses, memory, negatives_within_domain, metric, classes: as in `Baseline`. A memory keeps the rows of meta-train.
        inner_lr: of the inner step; 0: the optimiser's own rate of each parameter.
        meta_weight: of G.
        second_order: the gradient of G also goes through dF/dw; it costs about twice the time and memory.
    Source: Li et al. 2018 (MLDG), with any losses in place of cross-entropy. Deviations: first order by default; BatchNorm sees
        the domains of meta-train together, and those of meta-test leave its running statistics as they are.
    """

    sampler = "meta"

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        memory: CrossBatch | None = None,
        negatives_within_domain: bool = False,
        metric: str = "cosine",
        classes: np.ndarray | None = None,
        inner_lr: float = 0.0,
        meta_weight: float = 1.0,
        second_order: bool = False,
    ):
        super().__init__(encoder, losses, memory, negatives_within_domain, metric, classes)
        expect_some(losses)
        self.inner_lr, self.meta_weight, self.second_order = inner_lr, meta_weight, second_order

    def __repr__(self) -> str:
        step = f"inner step {self.inner_lr or 'of the optimiser'}, {'second' if self.second_order else 'first'} order"
        return f"<mldg {step}, meta weight {self.meta_weight:g}, of {super().__repr__()}>"

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One."""
        train, test = split(batch)
        phase = self(train)
        moved = inner_step(self, phase, self.inner_lr, self.second_order)
        with hold_statistics(self.encoder):
            meta: Phase = functional_call(self, moved, (test,))
        yield with_meta(phase, meta, self.meta_weight)
