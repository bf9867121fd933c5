"""Samplers: one file each; the config's NAME is the file's name, the constructor's signature its options."""

from __future__ import annotations

import numpy as np


class Sampler:
    """Which samples stand in which batch of an epoch; a pure function of (seed, epoch, class distances).

    Constructors take `classes`, `domains`, `camids` ((N,) int64 arrays of the training set), `batch_size` and `seed`
    injected, and their own options after them.
    wants_distances: True where the sampler goes by the distances between classes, which the method then measures.
    notes: what the log should say of the samples, such as how many are never dealt.
    """

    wants_distances = False
    notes: tuple[str, ...] = ()

    def use_distances(self, distances: np.ndarray | None) -> None:
        """Before each epoch: (C, C) float32 as `reid.methods.Method.start_epoch` gave them, or None before there are any."""

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The epoch's batches in order: arrays (batch_size,) int64 of sample indices."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Batches an epoch: exact, and the same for every epoch."""
        raise NotImplementedError
