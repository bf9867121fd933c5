"""P x K batches: each identity's pictures are cut into groups of K, and each batch gets groups of P identities.

No batch holds an identity twice, every group of every identity comes once, and the number of batches is known beforehand.

Example: K = 2 and P = 2. Identity 0 has pictures a b c, identity 1 has d e, identity 2 has f. The groups are ab and ca of 0 (the
last group is filled with the first pictures), de of 1, ff of 2. They fill two batches, such as [ab, de] and [ff, ca]; [ab, ca]
cannot be one, as it would hold identity 0 twice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from reid.data.samplers import Sampler
from reid.plan import Plan

Groups = tuple[int, np.ndarray]  # an identity, and the sample indices of its groups, (G, K)
Batch = dict[int, np.ndarray]  # a batch that is being filled: identity -> its group (K,)
EPOCHS = ("pictures", "identities")


class Grouped:
    """Batches of `batch_size // num_instances` identities, split over `domains` as evenly as possible.

    classes, domains, camids: (N,) int64. An epoch is as long as the domain with most groups needs; the groups of the other
    domains come again, reshuffled, until the batches are full.
    epoch: `pictures`: every picture comes; or `identities`: each gives one group, of other pictures every epoch.
    notes: what the log should say of an epoch's length.
    Raises ValueError for sizes that cannot be met; `name` is the sampler the message speaks of.
    """

    def __init__(
        self,
        name: str,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        num_instances: int,
        epoch: str = "pictures",
    ) -> None:
        self.classes, self.domains, self.camids, self.num_instances = classes, domains, camids, num_instances
        if epoch not in EPOCHS:
            raise ValueError(f"sampler {name}: no EPOCH {epoch}; there are {', '.join(EPOCHS)}")
        if num_instances < 1 or batch_size < 1 or batch_size % num_instances:
            raise ValueError(
                f"sampler {name}: found batches of {batch_size} with {num_instances} images per identity; "
                "expected a multiple: change the batch size or NUM_INSTANCES"
            )
        if batch_size > len(classes):
            raise ValueError(
                f"sampler {name}: found batches of {batch_size} and {len(classes)} training images; "
                "expected at least as many images as a batch has: set a smaller batch"
            )
        self.num_identities = batch_size // num_instances
        self.num_domains = int(domains.max()) + 1
        most = -(-self.num_identities // self.num_domains)
        for domain in range(self.num_domains):
            ids = len(np.unique(classes[domains == domain]))
            if ids < most:
                where = f" in domain {domain}" if self.num_domains > 1 else ""
                raise ValueError(
                    f"sampler {name}: found {ids} identities{where}; expected at least {most}, as a batch of "
                    f"{batch_size} with {num_instances} images per identity needs: set a smaller batch"
                )
        sizes = np.bincount(classes)
        self.groups = np.minimum(sizes, 1) if epoch == "identities" else self._num_groups(sizes)
        self.num_batches = self._num_batches(self.groups)
        self.notes = self._notes()

    def _num_batches(self, groups: np.ndarray) -> int:
        """The fewest batches in which every domain has room for all its groups, and every identity for all of its."""
        domain_of = np.zeros(len(groups), np.int64)
        domain_of[self.classes] = self.domains
        needed, largest = np.zeros((2, self.num_domains), np.int64)
        np.add.at(needed, domain_of, groups)
        np.maximum.at(largest, domain_of, groups)
        # With L batches a domain gets less than L * P / M + 1 places; start there and go on to the first that fits.
        num = max(int(largest.max()), (int(needed.max()) - 1) * self.num_domains // self.num_identities, 1)
        while True:
            quotas = self._quotas(num)
            if (quotas.sum(0) >= needed).all() and ((quotas > 0).sum(0) >= largest).all():
                return num
            num += 1

    def _num_groups(self, sizes: np.ndarray) -> np.ndarray:
        """(C,): how many groups hold all `sizes` (C,) pictures of each identity."""
        return -(-sizes // self.num_instances)

    def _notes(self) -> tuple[str, ...]:
        """A line where one identity makes an epoch more than twice as long as all groups together need."""
        places = self.num_batches * self.num_identities
        if self.groups.max() < self.num_batches or places <= 2 * self.groups.sum():
            return ()
        return (
            f"one identity makes an epoch {self.num_batches:,} batches, as it has {self.groups.max():,} groups of pictures: "
            f"{places:,} places for {self.groups.sum():,} groups; with SAMPLER.EPOCH identities it would be "
            f"{self._num_batches(np.minimum(self.groups, 1)):,} batches",
        )

    def _quotas(self, num_batches: int) -> np.ndarray:
        """(L, M): identities of each domain in each batch; what does not divide goes round from batch to batch."""
        base, rest = divmod(self.num_identities, self.num_domains)
        turn = (np.arange(num_batches)[:, None] * rest + np.arange(rest)) % self.num_domains  # (L, rest)
        quotas = np.full((num_batches, self.num_domains), base)
        quotas[np.arange(num_batches)[:, None], turn] += 1
        return quotas

    def batches(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The epoch's batches in random order: arrays (batch_size,) int64, the K of an identity side by side."""
        quotas = self._quotas(self.num_batches)
        batches: list[Batch] = [{} for _ in quotas]
        for domain in range(self.num_domains):
            _fill(batches, quotas[:, domain], partial(self.cut, domain, rng), rng)
        order = rng.permutation(self.num_batches)
        return [np.concatenate([batches[b][i] for i in rng.permutation(list(batches[b]))]) for b in order]

    def cut(self, domain: int, rng: np.random.Generator, without: Sequence[int] = ()) -> list[Groups]:
        """The groups of an epoch of a domain, but for the identities `without`: identities in random order.

        Each one's pictures are shuffled, cameras taking turns; the last group is filled with the first pictures.
        """
        samples = self._shuffled(domain, rng, without)
        classes, camids = self.classes[samples], self.camids[samples]
        # A picture's turn among those of its identity and camera; sorting by turn lets the cameras alternate.
        by_camera = np.lexsort((camids, classes))
        starts = np.flatnonzero(np.diff(classes[by_camera], prepend=-1) | np.diff(camids[by_camera], prepend=-2))
        turns = np.empty(len(samples), np.int64)
        turns[by_camera] = np.arange(len(samples)) - np.repeat(starts, np.diff(starts, append=len(samples)))
        order = np.lexsort((turns, classes))
        ids, starts = np.unique(classes[order], return_index=True)
        pictures = np.split(samples[order], starts[1:])
        groups = self.groups[ids]
        return [
            (int(ids[i]), np.resize(pictures[i], (groups[i], self.num_instances))) for i in rng.permutation(len(ids))
        ]

    def _shuffled(self, domain: int, rng: np.random.Generator, without: Sequence[int]) -> np.ndarray:
        """The pictures of a domain in random order."""
        own = self.domains == domain
        return rng.permutation(np.flatnonzero(own & ~np.isin(self.classes, without) if without else own))


class PK(Sampler):
    """A sampler whose batches are those of one `Grouped`; the constructors of `Identity` and its like say which."""

    def __init__(self, grouped: Grouped, seed: int) -> None:
        self.grouped, self.seed = grouped, seed
        self.notes = grouped.notes

    def __len__(self) -> int:
        return self.grouped.num_batches

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64, the K pictures of an identity side by side."""
        return self.grouped.batches(np.random.default_rng((self.seed, epoch)))


def by_domain(
    name: str, classes: np.ndarray, domains: np.ndarray, camids: np.ndarray, batch_size: int, num_instances: int
) -> list[tuple[np.ndarray, Grouped]]:
    """For each domain its sample indices (n,), and the batches of these alone, whose numbers are places among them.

    Raises ValueError as `Grouped` does, naming the domain.
    """
    parts = []
    for domain in range(int(domains.max()) + 1):
        own = np.flatnonzero(domains == domain)
        _, numbers = np.unique(classes[own], return_inverse=True)
        where = f"{name}, domain {domain}"
        parts.append((own, Grouped(where, numbers, np.zeros_like(own), camids[own], batch_size, num_instances)))
    return parts


def _fill(batches: list[Batch], quota: np.ndarray, cut: Callable[..., list[Groups]], rng: np.random.Generator) -> None:
    """Puts the groups of one domain into `batches`, `quota[b]` of them into batch b, none twice of one identity.

    The free places stand in a queue, round after round: a round has every batch that still takes a group once, shuffled. So
    an identity's groups, which take the next places, come into different batches; only where they go on into the next
    round are the batches passed over that have the identity already. Rounds of all batches come last: there are then
    enough others.

    Example: three batches with quotas 1, 2, 2 have the places [2 1] [0 2 1]. Identity 5 with two groups takes 2 and 1,
    identity 7 with two takes 0 and 2, and identity 9 takes 1.
    """
    short = np.flatnonzero(quota > quota.min())
    rounds = [rng.permutation(short)] if len(short) else []
    rounds += [rng.permutation(len(batches)) for _ in range(int(quota.min()))]
    places = deque(int(b) for one in rounds for b in one)
    used: Counter[int] = Counter()  # batches of each identity, and groups that wait for one
    for identity, groups in cut():
        _put(batches, places, identity, groups)
        used[identity] = len(groups)
    # A domain with fewer groups than places is cut again, without the identities that stand in every batch by now.
    waiting: deque[tuple[int, deque[np.ndarray]]] = deque()
    for b in places:
        while all(identity in batches[b] for identity, _ in waiting):
            for identity, groups in cut([identity for identity, number in used.items() if number >= len(batches)]):
                waiting.append((identity, deque(groups)))
                used[identity] += len(groups)
        while waiting[0][0] in batches[b]:
            waiting.rotate(-1)
        identity, left = waiting[0]
        batches[b][identity] = left.popleft()
        if not left:
            waiting.popleft()


def _put(batches: list[Batch], places: deque[int], identity: int, groups: np.ndarray) -> None:
    """Puts an identity's groups, one after the other, into the first places whose batches do not have this identity yet."""
    passed = []
    for group in groups:
        while identity in batches[places[0]]:
            passed.append(places.popleft())
        batches[places.popleft()][identity] = group
    places.extendleft(reversed(passed))
