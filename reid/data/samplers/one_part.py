"""P x K batches of one part of the training set each, as a method's plan divides it."""

from __future__ import annotations

import numpy as np

from reid.data.samplers import Sampler
from reid.plan import Plan


class OnePart(Sampler):
    """Batches of P = batch_size / num_instances classes of one part, the parts in turn; no sample of part -1.

    The classes of a part take turns in a random order of the epoch, and so do the pictures of each; whoever has had all
    of its own begins again. A part of fewer than P classes gives some of them twice, with further pictures; a class of
    fewer than K pictures in its part repeats its own. Before there is a plan all samples are one part.
    Length: ceil(pictures / batch_size), whatever the plan: small parts are seen more often, large ones not to the end.

    Args:
        num_instances: K, pictures per class in a batch.
    Raises ValueError where batch_size is no multiple of K.
    Source: Sanakoyeu et al. 2019, Divide and Conquer the Embedding Space. Deviation: there an epoch is as long as its
        largest cluster needs, so that its length follows the division; here the learning rate goes by the step.
    """

    needs = frozenset({"parts"})

    def __init__(
        self,
        classes: np.ndarray,
        domains: np.ndarray,
        camids: np.ndarray,
        batch_size: int,
        seed: int,
        num_instances: int = 4,
    ) -> None:
        if num_instances < 1 or batch_size % num_instances:
            raise ValueError(
                f"sampler one_part: found batches of {batch_size} with {num_instances} images per identity; "
                "expected a multiple: change the batch size or NUM_INSTANCES"
            )
        self.classes, self.seed = classes, seed
        self.num_classes, self.num_instances = batch_size // num_instances, num_instances
        self.length = -(-len(classes) // batch_size)

    def __len__(self) -> int:
        return self.length

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray]:
        """Arrays (batch_size,) int64, the K pictures of a class side by side."""
        rng = np.random.default_rng((self.seed, epoch))
        parts = np.zeros_like(self.classes)
        if plan is not None and plan.parts is not None:
            parts = plan.parts.numpy()
        classes = [self._by_class(np.flatnonzero(parts == part), rng) for part in np.unique(parts[parts >= 0])]
        return [self._batch(classes[number % len(classes)], number // len(classes)) for number in range(len(self))]

    def _by_class(self, samples: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """The samples of each class of a part, classes and samples in random order."""
        samples = rng.permutation(samples)
        samples = samples[np.argsort(self.classes[samples], kind="stable")]
        _, starts = np.unique(self.classes[samples], return_index=True)
        pictures = np.split(samples, starts[1:])
        return [pictures[i] for i in rng.permutation(len(pictures))]

    def _batch(self, classes: list[np.ndarray], number: int) -> np.ndarray:
        """The part's batch of that number: the classes whose turn it is, each with its next pictures."""
        turns = np.arange(number * self.num_classes, (number + 1) * self.num_classes)
        rows = []
        for rounds, one in zip(*np.divmod(turns, len(classes)), strict=True):
            pictures = rounds * self.num_instances + np.arange(self.num_instances)
            rows.append(classes[one][pictures % len(classes[one])])
        return np.concatenate(rows)
