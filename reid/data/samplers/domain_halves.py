"""P x K batches of two domains, a half each."""

from __future__ import annotations

import numpy as np

from reid.data.samplers import Sampler
from reid.data.samplers._grouped import Grouped, by_domain
from reid.plan import Plan


class DomainHalves(Sampler):
    """P / 2 identities of one domain, then P / 2 of another, as MixStyle's `crossdomain` was made for.

    The halves of a domain are made as the batches of `Identity` are, and every half is seen each epoch; where one domain has
    more than all others together, theirs come again until each of its halves has one to go with.
    Length: half the number of halves, rounded up, or that of the largest domain if it is more.

    Args:
        num_instances: K, pictures per identity in a batch.
    Raises ValueError for a single domain, for an odd batch_size, and as `Identity` does, for the domain that it concerns.
    Source: Zhou et al. 2021 (MixStyle), whose sampler takes random pictures of two random domains. Ours: P x K, and all seen.
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
        if batch_size % 2 or domains.max() < 1:
            raise ValueError(
                f"sampler domain_halves: found batches of {batch_size} and {domains.max() + 1} source(s); expected an even "
                "number, and two sources or more"
            )
        self.parts = by_domain("domain_halves", classes, domains, camids, batch_size // 2, num_instances)
        self.counts = [grouped.num_batches for _, grouped in self.parts]
        self.num_batches = max(*self.counts, -(-sum(self.counts) // 2))
        while sum(self.counts) < 2 * self.num_batches:
            self.counts[int(np.argmin(self.counts))] += 1

    def __len__(self) -> int:
        return self.num_batches

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64, the K pictures of an identity side by side, a half of each domain."""
        rng = np.random.default_rng((self.seed, epoch))
        halves: list[np.ndarray] = []
        for domain in rng.permutation(len(self.parts)):
            own, grouped = self.parts[domain]
            halves += [own[half] for half in _enough(grouped, self.counts[domain], rng)]
        # No domain has more than half of them, so those so many places apart are of two.
        pairs = [(halves[i], halves[i + len(self)]) for i in rng.permutation(len(self))]
        return [np.concatenate(pair[:: rng.choice((1, -1))]) for pair in pairs]


def _enough(grouped: Grouped, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    halves: list[np.ndarray] = []
    while len(halves) < count:
        halves += grouped.batches(rng)
    return halves[:count]
