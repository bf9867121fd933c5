"""Divide and conquer: K learners, each a part of the embedding, each taught by the pictures of one cluster."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid import processes, runtime
from reid.data.loader import Batch
from reid.losses import PairLoss, Term
from reid.losses.margin import Margin
from reid.memory import CrossBatch
from reid.methods import Phase
from reid.methods._divide import Labels, by_lot, divide, halve, rematch, usable_classes, without_lone
from reid.methods._learners import after_pooling, split_encoder
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.pairs import Rows
from reid.plan import Plan

LEARNERS = ("slices", "masks", "fixed_masks")
CLUSTERS = ("k_means", "random")
REMATCH = ("corrected", "published")


class DivideAndConquer(Baseline):
    """The baseline with K learners in one embedding; a batch is of one cluster and teaches the learner of its number.

    Every `every` epochs the training set is divided anew by k-means on its pooled features, as scored; clusters keep the
    number of the one before that they share most pictures with. `slices`: learner k is slice k of the embedding, brought
    to length 1; scored is the cosine of all unit slices in a row. `masks`: the embedding times a learned mask, itself
    brought to length 1; there is one learner at first, and whenever the set is divided anew each cluster is halved and
    its learner copied, up to K. `fixed_masks`: the same with the halves of the parent's numbers as masks. With masks the
    whole embedding is scored, without any.

    Class losses are refused. A memory shows a learner what it holds of the learner's own cluster.

    Args:
        losses: pair losses, taken over the learner's rows; none: margin loss with the boundary kept at 1.2.
        num_learners: K. learners: one of the three. every: epochs between two divisions.
        full_from: the epoch from which the whole embedding learns, still from one cluster a batch; 0: never.
        joint_from: the epoch from which all pictures are one cluster besides; 0: never.
        rematch: `published` numbers clusters as the released codes do, see `reid.methods._divide.rematch`.
        clusters: `random` deals classes to learners by lot, once: what is left without clustering.
        iterations, redo: of k-means. freeze: in the epoch after a division only what follows pooling learns.
        mask_diversity, mask_lr_factor: weight of the mean cosine between masks, and their factor on the rate.
    Raises ValueError for numbers that do not divide, unknown words, fewer classes than K, no losses of pairs; before an
    epoch where k-means leaves a cluster without two classes of two pictures.
    Source: Sanakoyeu et al. 2019 (slices, with redo 5, full_from 79, joint_from 190) and 2021 (masks, with redo 1,
        full_from 80, freeze), as their codes have it. Deviations: K may be anything that divides, not rounded up; the linear
        map has no bias; masks begin with one learner until the first division after epoch 0; clusters are matched with
        all pictures, lone ones too; a frozen backbone's moments stand still.
    """

    gives = frozenset({"parts"})
    only_training = (*Baseline.only_training, "clusters", "masks")
    sampler = "one_part"
    features = ("parts",)
    clusters: Tensor

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        num_classes: int,
        num_samples: int,
        memory: CrossBatch | None = None,
        classes: np.ndarray | None = None,
        num_learners: int = 8,
        learners: str = "slices",
        every: int = 2,
        full_from: int = 0,
        joint_from: int = 0,
        rematch: str = "corrected",
        clusters: str = "k_means",
        iterations: int = 100,
        redo: int = 5,
        freeze: bool = False,
        mask_diversity: float = 0.01,
        mask_lr_factor: float = 100.0,
    ):
        for key, word, known in (
            ("LEARNERS", learners, LEARNERS),
            ("REMATCH", rematch, REMATCH),
            ("CLUSTERS", clusters, CLUSTERS),
        ):
            if word not in known:
                raise ValueError(f"{key}: no {word}; there are {', '.join(known)}")
        if num_learners < 1 or encoder.dim % num_learners:
            raise ValueError(
                f"NUM_LEARNERS is {num_learners} and embeddings have {encoder.dim} numbers; expected a divisor of it"
            )
        if learners != "slices" and num_learners & (num_learners - 1):
            raise ValueError(f"NUM_LEARNERS is {num_learners}; expected 1, 2, 4, 8, ..., as masks are halved")
        if every < 1 or min(full_from, joint_from) < 0:
            raise ValueError(
                f"EVERY is {every}, FULL_FROM {full_from}, JOINT_FROM {joint_from}; expected epochs: 1 or more, 0 or more"
            )
        if classes is not None and num_classes < num_learners:
            raise ValueError(f"NUM_LEARNERS is {num_learners} and there are {num_classes} classes; expected no more")
        if wrong := [term.name for term in losses if not isinstance(term.loss, PairLoss)]:
            raise ValueError(f"LOSSES: found {', '.join(wrong)}; expected losses of pairs, such as margin or triplet")
        super().__init__(encoder, list(losses) or [Term("margin", _margin(num_classes))], memory, classes=classes)
        if freeze and not after_pooling(encoder):
            raise ValueError("FREEZE is True and nothing follows pooling; expected MODEL.DIM above 0, or FREEZE False")
        self.num_learners, self.learners, self.every = num_learners, learners, every
        self.full_from, self.joint_from = full_from or math.inf, joint_from or math.inf
        self.published, self.random = rematch == "published", clusters == "random"
        self.settings = {"iterations": iterations, "redo": redo}
        self.freeze, self.mask_diversity, self.mask_lr_factor = freeze, mask_diversity, mask_lr_factor
        self.register_buffer("clusters", torch.zeros(num_samples, dtype=torch.int64))  # of the last division
        # One parameter a learner, so that those to come have no moments yet.
        self.masks = nn.ParameterList(
            nn.Parameter(torch.ones(encoder.dim)) for _ in range(num_learners if learners == "masks" else 0)
        )
        if learners == "slices" and isinstance(encoder.reduce, nn.Linear):
            for rows in encoder.reduce.weight.data.chunk(num_learners):
                nn.init.xavier_normal_(rows)

    def __repr__(self) -> str:
        plan = f"{self.num_learners} {self.learners}, divided every {self.every} epochs"
        return f"<divide_and_conquer {self.encoder!r}, {plan}, losses {', '.join(self.losses)}, memory {self.memory}>"

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One."""
        phase = self.phase_of(self.encoder(batch.images, batch.domains, batch.camids), batch)
        num = self._num_active(batch.epoch)
        if self.masks and num > 1 and batch.epoch < min(self.full_from, self.joint_from):
            phase.losses["mask_diversity"] = self.mask_diversity * mean_cosine(self._masks(num))
        if self.freeze and self._divides(batch.epoch):
            phase = dataclasses.replace(
                phase, learns=[g["name"] for g in self.param_groups() if g["name"] != "encoder"]
            )
        yield phase

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """The clusters as parts, in the epochs of a division, with -1 for who is alone; one part from JOINT_FROM on."""
        if epoch == self.joint_from:
            return Plan(parts=torch.zeros_like(self.clusters, device="cpu"))
        if not self._divides(epoch):
            return None
        if self.classes is None:
            raise ValueError(
                "divide_and_conquer: found no classes of the training samples; expected the argument `classes`"
            )
        rows = None if self.random else F.normalize(embed("parts").flatten(1))
        labels = torch.from_numpy(processes.from_first(lambda: self._divided(rows, epoch)))
        before, num = self._num_active(epoch - self.every), self._num_active(epoch)
        if num > before:
            with torch.no_grad():
                for child in reversed(range(num if self.masks else 0)):
                    self.masks[child].copy_(self.masks[child // 2])
        self.clusters.copy_(labels)
        return Plan(parts=torch.from_numpy(without_lone(labels.numpy(), self.classes)))

    def encode_query(self, images: Tensor) -> Tensor:
        return self._learner(self.encoder(images)["after"], None)

    def param_groups(self) -> list[dict[str, Any]]:
        groups = split_encoder(super().param_groups(), self.encoder)
        groups.append({"name": "masks", "params": list(self.masks), "lr_factor": self.mask_lr_factor})
        return [group for group in groups if group["params"]]

    def _divides(self, epoch: int) -> bool:
        return epoch % self.every == 0 and epoch < self.joint_from

    def _num_active(self, epoch: int) -> int:
        """Learners in an epoch: K slices; masks, as they come of divisions, the first after epoch 0."""
        if self.learners == "slices":
            return self.num_learners
        return min(self.num_learners, 2 ** max(0, epoch // self.every))

    def _divided(self, rows: Tensor | None, epoch: int) -> Labels:
        """(N,) the clusters of an epoch, and a line of the log about them."""
        assert self.classes is not None
        before, num = self._num_active(max(0, epoch - self.every)), self._num_active(epoch)
        stayed = 1.0
        if rows is None:
            labels = by_lot(self.classes, num)
            if (short := usable_classes(labels, self.classes, num).min()) < 2:
                raise ValueError(
                    f"divide_and_conquer: found a part of {short} classes of two pictures; expected 2: set NUM_LEARNERS lower"
                )
        else:
            labels = divide(rows, self.classes, before, seed=epoch, **self.settings)
            if epoch:
                kept = self.clusters.cpu().numpy()
                labels = rematch(labels, kept, before, published=self.published)
                stayed = (labels == kept).mean()
            if num > before:
                labels = halve(rows, self.classes, labels, before, seed=epoch, **self.settings)
        sizes = np.bincount(labels)
        runtime.log.info(
            "epoch %d: %d clusters of %d to %d pictures, %.0f%% of them where they were",
            *(epoch + 1, num, sizes.min(), sizes.max(), 100 * stayed),
        )
        return labels

    def _learner(self, embeddings: Tensor, number: int | None, num: int = 0) -> Tensor:
        """Embeddings (B, D) as learner `number` of `num` has them, (B, d) of length 1; None: as they are scored, (B, D)."""
        if self.learners == "slices":
            units = F.normalize(embeddings.unflatten(1, (self.num_learners, -1)), dim=2)
            return units.flatten(1) / math.sqrt(self.num_learners) if number is None else units[:, number]
        return F.normalize(embeddings if number is None else embeddings * self._masks(num)[number])

    def _masks(self, num: int) -> Tensor:
        """(num, D), 0 or more."""
        if self.masks:
            return F.relu(torch.stack([*self.masks[:num]]))
        return torch.eye(num, device=self.clusters.device).repeat_interleave(self.encoder.dim // num, dim=1)

    def _taught(self, batch: Batch) -> int | None:
        """The learner that a batch teaches; None: all together."""
        return None if batch.epoch >= min(self.full_from, self.joint_from) else int(batch.part[0])

    def _compared(self, rows: Rows, loss: PairLoss, batch: Batch) -> Rows:
        embeddings = self._learner(rows.embeddings, self._taught(batch), self._num_active(batch.epoch))
        return dataclasses.replace(rows, embeddings=embeddings, unit=True)

    def _remembered(self, feature: str, loss: PairLoss, batch: Batch) -> Rows | None:
        rows, learner = super()._remembered(feature, loss, batch), self._taught(batch)
        if rows is None or learner is None:
            return rows
        own = rows.select(self.clusters[rows.indices] == learner)
        return own if len(own) else None


def mean_cosine(masks: Tensor) -> Tensor:
    """The mean cosine of two different rows of (K, D), K above 1."""
    units = F.normalize(masks)
    # The squared length of the sum is the sum of all cosines, those of a row with itself among them.
    return (units.sum(dim=0).square().sum() - units.square().sum()) / (len(units) * (len(units) - 1))


def _margin(num_classes: int) -> Margin:
    loss = Margin(num_classes)
    loss.beta.requires_grad_(False)
    return loss
