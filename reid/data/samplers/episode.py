"""Episodes: K pictures per identity, each to be searched with and to be found, as DIMN trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid.data.samplers._grouped import PK, Grouped, Groups
from reid.plan import Plan

SINGLES = ("skip", "augment")


class Episode(PK):
    """Batches of batch_size / K identities, each once, its K pictures side by side.

    Every picture is seen each epoch. With K = 2 a pair is of two cameras where the identity has two: it has as many pairs
    as its pictures fill, or as its largest camera has pictures where that is more than half; then those of the others
    come again. With more, cameras take turns and the last group is filled with the identity's first pictures, so that an
    identity with fewer than K pictures has some twice, drawn anew.

    Args:
        num_instances: K, 2 or more.
        balanced: every domain has an equal share of each batch, as in `Balanced`; else identities come as they are.
        singles: of an identity with one picture: `skip` it, or `augment`: take the picture K times, drawn anew.
        epoch: `pictures`: every one is seen in each; `identities`: each gives K pictures, of others in the next.
    Raises ValueError where K does not divide batch_size or no identity has K pictures, where there are fewer identities
    than a batch (of a domain: than its share) needs, where there are fewer pictures than a batch holds, or where skipping
    leaves nothing of a domain.
    Source: Song et al. 2019 (DIMN), as others relate it: a gallery and a probe picture of each identity. A larger K,
    cameras, balance and singles are ours.
    """

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 2,
        balanced: bool = False,
        singles: str = "skip",
        epoch: str = "pictures",
    ) -> None:
        if singles not in SINGLES:
            raise ValueError(f"SINGLES: no {singles}; there are {', '.join(SINGLES)}")
        counts = np.bincount(classes)
        if not 2 <= num_instances <= max(2, counts.max()):
            raise ValueError(
                f"sampler episode: NUM_INSTANCES is {num_instances}; expected 2 to {counts.max()}, the most pictures that an "
                "identity has"
            )
        single = counts[classes] == 1
        self.kept = np.flatnonzero(~single) if singles == "skip" else np.arange(len(classes))
        for domain in np.setdiff1d(domains, domains[self.kept]):
            raise ValueError(
                f"sampler episode: found one picture per identity in all of domain {domain}; expected two or more of some: "
                "set SINGLES augment, or leave that source out"
            )
        notes: tuple[str, ...] = ()
        if single.any():
            how = "left out" if singles == "skip" else "paired with themselves, augmented anew"
            notes = (f"{single.sum():,} identities have a single picture: {how}",)
        classes, domains, camids = classes[self.kept], domains[self.kept], camids[self.kept]
        grouped = _Pairs if num_instances == 2 else Grouped
        shares = domains if balanced else np.zeros_like(domains)
        super().__init__(grouped("episode", classes, shares, camids, batch_size, num_instances, epoch), seed)
        self.notes = notes + self.notes

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64; the K of an identity stand side by side."""
        return [self.kept[batch] for batch in super().batches(epoch)]


class _Pairs(Grouped):
    """Pairs of two cameras in place of groups of K."""

    def _num_groups(self, sizes: np.ndarray) -> np.ndarray:
        largest = np.zeros_like(sizes)
        np.maximum.at(largest, self.classes, _cameras(self.classes, self.camids)[1])
        return np.maximum(-(-sizes // 2), largest)

    def cut(self, domain: int, rng: np.random.Generator, without: Sequence[int] = ()) -> list[Groups]:
        """The pairs of an epoch of a domain, but for the identities `without`: identities in random order.

        An identity's pictures stand camera after camera, the largest first and the others at random. Of its G pairs, pair
        i is picture i and the one G places further on: no camera is longer than G, so that is another's. Where fewer than
        G are left to be second, they are gone through again, from the end. A single pair is the first and the last.
        """
        samples = self._shuffled(domain, rng, without)
        camera, size = _cameras(self.classes[samples], self.camids[samples])
        lot = rng.random(2 * len(samples))[camera]  # one for all pictures of a camera
        samples = samples[np.lexsort((lot, -size, self.classes[samples]))]
        ids, starts = np.unique(self.classes[samples], return_index=True)
        num_pairs = self.groups[ids]
        pairs: list[Groups] = []
        pictures = np.split(samples, starts[1:])
        for i in rng.permutation(len(ids)):
            own, first = pictures[i], np.arange(num_pairs[i])
            num_second = max(1, len(own) - num_pairs[i])  # a single picture is both
            second = len(own) - 1 - first[::-1] % num_second
            pairs.append((int(ids[i]), np.stack([own[first], own[second]], axis=1)))
        return pairs


def _cameras(classes: np.ndarray, camids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each picture (N,): a number that it shares with its identity's others of that camera, and how many those are.

    Of an identity with a single camera, or none known, every picture counts as a camera of its own.
    """
    _, camera = np.unique(classes * (camids.max() + 2) + camids, return_inverse=True)  # camids begin at -1
    size = np.bincount(camera)[camera]
    alone = size == np.bincount(classes)[classes]
    return np.where(alone, len(classes) + np.arange(len(classes)), camera), np.where(alone, 1, size)
