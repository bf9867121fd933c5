"""P identities with K pictures each, the identities split evenly over the domains."""

from __future__ import annotations

import numpy as np

from reid.data.samplers._grouped import PK, Grouped


class Balanced(PK):
    """Batches in which every domain has P / M identities, or one more where that does not divide.

    Every picture of every identity is seen each epoch, which is as long as the largest domain needs; smaller domains are
    seen several times. Groups, repetition and cameras are as in `Identity`.

    Args:
        num_instances: K, pictures per identity in a batch.
        epoch: `pictures`: every one is seen in each; `identities`: each gives K pictures, of others in the next.
    Raises ValueError where batch_size is no multiple of K, where a domain has fewer identities than its share of P, or
    where there are fewer pictures than a batch holds.
    """

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 4,
        epoch: str = "pictures",
    ) -> None:
        super().__init__(Grouped("balanced", classes, domains, camids, batch_size, num_instances, epoch), seed)
