"""P x K batches along a graph of neighbours: a batch for each identity, with the identities nearest to it."""

from __future__ import annotations

import numpy as np

from reid.data.samplers import Sampler
from reid.plan import Plan


class Graph(Sampler):
    """Each identity once in the middle of a batch, beside the P - 1 nearest others; K random pictures of each, in random order.

    An identity stands in as many batches as it is a neighbour in, each time with other pictures; where it has fewer than K,
    some come twice. Unlike those of `HardClass` an epoch does not show every picture. Before there are neighbours the
    others are random. Length: the number of identities.

    Args:
        num_instances: K, pictures per identity in a batch.
    Raises ValueError where batch_size is no multiple of K, or there are fewer than P identities.
    Source: Liao and Shao 2022 (QAConv-GS), with K = 2. Deviation: identities lie as far apart as their pictures do on
        average; there one random picture of each is compared.
    """

    needs = frozenset({"neighbours"})

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 2,
    ) -> None:
        self.pictures = np.split(np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes))[:-1])
        self.seed, self.num_instances, self.num_identities = seed, num_instances, batch_size // num_instances
        if batch_size % num_instances or not 1 < self.num_identities <= len(self.pictures):
            raise ValueError(
                f"sampler graph: found batches of {batch_size} with {num_instances} images per identity, and "
                f"{len(self.pictures)} identities; expected a multiple, of 2 to as many identities as there are: change the "
                "batch size or NUM_INSTANCES"
            )

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64, the K pictures of an identity side by side, the one in the middle first."""
        rng = np.random.default_rng((self.seed, epoch))
        others = self.num_identities - 1
        neighbours = None if plan is None or plan.neighbours is None else plan.neighbours.numpy()
        if neighbours is not None and neighbours.shape[1] < others:
            raise ValueError(
                f"sampler graph: found {neighbours.shape[1]} known neighbours per identity; expected {others} for batches of "
                f"{self.num_identities} identities: set a smaller batch, or more NUM_INSTANCES"
            )
        batches = []
        for identity in rng.permutation(len(self.pictures)):
            if neighbours is None:
                near = rng.choice(len(self.pictures) - 1, others, replace=False)
                near += near >= identity
            else:
                near = neighbours[identity, :others]
            chosen = [np.resize(rng.permutation(self.pictures[one]), self.num_instances) for one in (identity, *near)]
            batches.append(np.concatenate(chosen))
        return batches
