"""P identities with K pictures each, as triplet losses need."""

from __future__ import annotations

import numpy as np

from reid.data.samplers._grouped import PK, Grouped


class Identity(PK):
    """Batches of batch_size / num_instances identities, whichever domain they come from.

    Every picture of every identity is seen each epoch; an identity whose pictures do not divide by num_instances is
    filled by repeating its own, and cameras take turns within the K.
    Length: ceil(groups / P), where an identity has ceil(pictures / K) groups, or one by EPOCH identities; never less than the
    largest identity's.

    Args:
        num_instances: K, pictures per identity in a batch.
        epoch: `pictures`: every one is seen in each; `identities`: each gives K pictures, of others in the next.
    Raises ValueError where batch_size is no multiple of K, where there are fewer than P identities, or fewer pictures
    than a batch holds.
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
        super().__init__(
            Grouped("identity", classes, np.zeros_like(domains), camids, batch_size, num_instances, epoch), seed
        )
