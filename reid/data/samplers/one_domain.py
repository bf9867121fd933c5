"""P x K batches of one domain each."""

from __future__ import annotations

import numpy as np

from reid.data.samplers import Sampler
from reid.data.samplers._grouped import by_domain
from reid.plan import Plan


class OneDomain(Sampler):
    """The batches of `Identity` of each domain by itself, in random order.

    So BatchNorm sees one domain at a time, and negatives are of the anchor's own. Every picture is seen each epoch; a larger
    domain has more batches. Length: the sum of the domains' own.

    Args:
        num_instances: K, pictures per identity in a batch.
    Raises ValueError as `Identity` does, for the domain that it concerns.
    """

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 4,
    ) -> None:
        self.seed = seed
        self.parts = by_domain("one_domain", classes, domains, camids, batch_size, num_instances)

    def __len__(self) -> int:
        return sum(grouped.num_batches for _, grouped in self.parts)

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64, the K pictures of an identity side by side."""
        rng = np.random.default_rng((self.seed, epoch))
        batches: list[np.ndarray] = [own[batch] for own, grouped in self.parts for batch in grouped.batches(rng)]
        return [batches[b] for b in rng.permutation(len(batches))]
