"""Batches of several domains, some to learn from and others to test on what was learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reid.data.samplers import Draw, Sampler
from reid.data.samplers._grouped import Grouped, by_domain
from reid.plan import Plan

BASE, META_TRAIN, META_TEST = 0, 1, 2  # roles


class Meta(Sampler):
    """Equal shares of a few domains, drawn anew for each batch: some with the role META_TRAIN, others with META_TEST.

    A share holds P identities with K pictures each, dealt as the batches of `Identity` are; a domain whose pictures are used up
    begins again. Rows stand in P groups, each with one identity of every share, and a group stays in one process.
    Length: what the largest domain needs to be seen whole, if domains come equally often; or `length`.

    Args:
        num_instances: K, pictures per identity in a batch.
        train_domains: domains of role META_TRAIN in a batch; 0: all but those of META_TEST. test_domains: of META_TEST.
        length: batches per epoch; 0: as above.
    Raises ValueError where there are fewer domains than a batch takes, where batch_size is no multiple of K times the shares, and
    as `Identity` does, for the domain that it concerns.
    Source: Li et al. 2018 (MLDG). Ours: identities in place of random pictures.
    """

    name = "meta"
    num_base = 0  # shares of the role BASE, of any domains

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 4,
        train_domains: int = 0,
        test_domains: int = 1,
        length: int = 0,
    ) -> None:
        num_domains = int(domains.max()) + 1
        num_train = train_domains or num_domains - test_domains
        if test_domains < 1 or num_train < 1 or num_train + test_domains > num_domains:
            raise ValueError(
                f"sampler {self.name}: found {num_domains} source(s); expected {(train_domains or 1) + test_domains} or more, as "
                f"TRAIN_DOMAINS {train_domains} and TEST_DOMAINS {test_domains} ask for: name more in DATASETS.SOURCES"
            )
        roles = [BASE] * self.num_base + [META_TRAIN] * num_train + [META_TEST] * test_domains
        if batch_size % (len(roles) * num_instances):
            raise ValueError(
                f"sampler {self.name}: found batches of {batch_size} with {len(roles)} shares and {num_instances} images per "
                "identity; expected a multiple of both: change the batch size or NUM_INSTANCES"
            )
        share = batch_size // len(roles)
        self.seed, self.num_instances = seed, num_instances
        self.roles, self.num_meta = np.array(roles), num_train + test_domains
        self.parts = by_domain(self.name, classes, domains, camids, share, num_instances)
        self.whole = Grouped(self.name, classes, np.zeros_like(domains), camids, share, num_instances)
        self.length = length or self._epoch()

    def _epoch(self) -> int:
        """Batches of an epoch, where nothing else is asked for."""
        return -(-max(grouped.num_batches for _, grouped in self.parts) * len(self.parts) // self.num_meta)

    def __len__(self) -> int:
        return self.length

    def batches(self, epoch: int, plan: Plan | None = None) -> list[Draw]:
        rng = np.random.default_rng((self.seed, epoch))
        everybody = np.arange(len(self.whole.classes))
        base = _endless(everybody, self.whole, rng)
        of_domain = [_endless(own, grouped, rng) for own, grouped in self.parts]
        draws = []
        for _ in range(len(self)):
            chosen = rng.permutation(len(self.parts))[: self.num_meta]
            shares = [next(base) for _ in range(self.num_base)] + [next(of_domain[domain]) for domain in chosen]
            draws.append(self._woven(np.stack(shares)))
        return draws

    def _woven(self, shares: np.ndarray) -> Draw:
        """A batch of shares (S, P * K): the first identity of each, then the second of each, and so on."""
        by_identity = shares.reshape(len(shares), -1, self.num_instances).transpose(1, 0, 2)  # (P, S, K)
        roles = np.broadcast_to(self.roles[:, None], by_identity.shape)
        groups = np.broadcast_to(np.arange(len(by_identity))[:, None, None], by_identity.shape)
        return Draw(by_identity.ravel(), roles.ravel(), groups.ravel())


def _endless(own: np.ndarray, grouped: Grouped, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield from (own[batch] for batch in grouped.batches(rng))
