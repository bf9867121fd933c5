"""Every sample once an epoch, in random order."""

from __future__ import annotations

import numpy as np

from reid.data.samplers import Sampler
from reid.plan import Plan


class Shuffle(Sampler):
    """A new permutation each epoch; the last batch is filled from the permutation's start, so none is short.

    Length: ceil(N / batch_size). Raises ValueError where a batch is larger than the set.
    """

    def __init__(
        self, classes: np.ndarray, domains: np.ndarray, camids: np.ndarray, batch_size: int, seed: int
    ) -> None:
        self.num_samples, self.batch_size, self.seed = len(classes), batch_size, seed
        if not 0 < batch_size <= self.num_samples:
            raise ValueError(
                f"sampler shuffle: found batches of {batch_size} and {self.num_samples} training images; "
                "expected 1 to as many as there are images: set a smaller batch"
            )

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """ceil(N / batch_size) arrays (batch_size,) int64."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.num_samples)
        return list(np.resize(order, (len(self), self.batch_size)))
