"""P x K batches of classes that lie near each other, so that negatives are hard."""

from __future__ import annotations

from collections import deque

import numpy as np

from reid.data.samplers._grouped import PK, Grouped
from reid.plan import Plan


class HardClass(PK):
    """The batches of `Identity`, filled with neighbours: some anchor classes and, in turn, the nearest class to each.

    Neighbours are taken from the classes that have pictures left to show, so every picture is seen each epoch and no
    source starves; the epoch's last classes find fewer near ones. Where none of an anchor's known neighbours is left, the
    next class of the epoch's random order stands in: only where classes are so many that not all others are known (see
    `reid.methods._distances`). Before there are neighbours the batches are those of `Identity`. Neighbours are mostly of
    the anchor's own source. Length: that of `Identity`.

    Args:
        num_instances: K, pictures per identity in a batch.
        num_anchors: how many of a batch's P identities are drawn; each other one is the nearest left to one of these.
        epoch: `pictures`: every one is seen in each; `identities`: each gives K pictures, of others in the next.
    Raises ValueError as `Identity` does, and where num_anchors is not 1 to P.
    Source: Ge et al. 2018 (HTL), anchor-neighbour sampling, as recalled: 5 anchors. Deviation: there neighbours are
        the nearest of all classes, seen before or not; here of those left.
    """

    needs = frozenset({"neighbours"})

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 4,
        num_anchors: int = 1,
        epoch: str = "pictures",
    ) -> None:
        super().__init__(
            Grouped("hard_class", classes, np.zeros_like(domains), camids, batch_size, num_instances, epoch), seed
        )
        self.num_anchors = num_anchors
        if not 1 <= num_anchors <= self.grouped.num_identities:
            raise ValueError(
                f"sampler hard_class: found {num_anchors} anchors and {self.grouped.num_identities} identities per batch; "
                "expected 1 to as many as identities: change NUM_ANCHORS or the batch size"
            )

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64, the K pictures of an identity side by side."""
        if plan is None or plan.neighbours is None:
            return super().batches(epoch)
        rng = np.random.default_rng((self.seed, epoch))
        groups = {identity: deque(rows) for identity, rows in self.grouped.cut(0, rng)}
        left = np.array([len(groups[identity]) for identity in range(len(plan.neighbours))])
        order = rng.permutation(len(left))
        batches = []
        for remaining in range(len(self), 0, -1):
            chosen = self._choose(plan.neighbours.numpy(), left, remaining, order)
            batches.append(np.concatenate([groups[identity][0] for identity in chosen]))
            for identity in chosen:
                groups[identity].rotate(-1)
                left[identity] = max(0, left[identity] - 1)
        return [batches[b] for b in rng.permutation(len(batches))]

    def _choose(self, neighbours: np.ndarray, left: np.ndarray, remaining: int, order: np.ndarray) -> list[int]:
        """The P identities of the next of `remaining` batches, anchors first; left (C,): groups that no batch has yet."""
        num = self.grouped.num_identities
        free = left > 0
        if free.sum() > num:
            chosen = np.flatnonzero(left == remaining).tolist()  # they have to be in every batch that is to come
        else:
            chosen, free = np.flatnonzero(free).tolist(), np.ones_like(free)  # some come again
        free[chosen] = False
        anchors = chosen + order[free[order]][: max(0, self.num_anchors - len(chosen))].tolist()
        chosen = list(anchors)
        free[anchors] = False
        for place in range(num - len(anchors)):
            near = neighbours[anchors[place % len(anchors)]]
            near = near[free[near]]
            chosen.append(int(near[0] if len(near) else order[free[order]][0]))
            free[chosen[-1]] = False
        return chosen
