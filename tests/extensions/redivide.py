"""A toy: every second epoch k-means divides the training set anew, and each batch is dealt from one part."""

from __future__ import annotations

import numpy as np
import torch

from reid.data.samplers import Sampler
from reid.methods.baseline import Baseline
from reid.plan import Plan


class OnePart(Sampler):
    """Batches of one part each. A part gives as many as its share of the samples, by lot, and begins again at its end."""

    needs = frozenset({"parts"})

    def __init__(self, classes: np.ndarray, domains: np.ndarray, camids: np.ndarray, batch_size: int, seed: int):
        self.num_samples, self.batch_size, self.seed = len(classes), batch_size, seed

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch))
        parts = np.zeros(self.num_samples, np.int64)
        if plan is not None and plan.parts is not None:
            parts = plan.parts.numpy()
        decks = {part: rng.permutation(np.flatnonzero(parts == part)) for part in np.unique(parts)}
        batches = []
        for part in rng.choice(parts, len(self)):
            batches.append(np.resize(decks[part], self.batch_size))
            decks[part] = np.roll(decks[part], -self.batch_size)
        return batches


class Redivide(Baseline):
    """The baseline, whose plan is a division of the training set in `num_parts` by k-means."""

    gives = frozenset({"parts"})

    def __init__(self, encoder, losses, num_parts: int = 2):
        super().__init__(encoder, losses)
        self.num_parts = num_parts

    def start_epoch(self, epoch, embed) -> Plan | None:
        if epoch % 2:
            return None  # the division before goes on
        rows = embed("before")
        centres = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(epoch))[: self.num_parts]]
        for _ in range(10):
            parts = torch.cdist(rows, centres).argmin(dim=1)
            own = torch.nn.functional.one_hot(parts, self.num_parts).T.float()  # (P, N)
            centres = torch.where(own.any(1)[:, None], own @ rows / own.sum(1, keepdim=True).clamp_min(1), centres)
        return Plan(parts=parts)
