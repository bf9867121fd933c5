"""Distillation: the baseline, which also learns to give what a trained teacher gives for the same pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses import ClassLoss, Term
from reid.memory import CrossBatch
from reid.methods import Method, Phase
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder


class Distil(Baseline):
    """The losses of the baseline, and two by a teacher, which sees the same augmented pictures and does not learn.

    `teacher_features`: the mean squared distance between the unit embeddings of both. `teacher_scores`: temperature^2 times the
    Kullback-Leibler divergence of the student's class shares from the teacher's, both at that temperature. Neither asks
    for a label.

    Args:
        teacher: a checkpoint; its average of weights where its run scored that. It is read when a run begins or goes on, no
            checkpoint carries it, and scoring needs none.
        features, scores: the weights of the two; 0 leaves one out. features needs embeddings of one size; scores the
            same classes, and on both sides a class loss with scores, the first of which counts.
        temperature: above 1 softens the shares.
        The others as in `Baseline`.
    Source:  Hinton et al. 2015, with T^2; features as in Romero et al. 2015, here at the end and of unit length. Teacher and
             student see one picture, as Beyer et al. 2022 found best.
    """

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        teacher: str,
        memory: CrossBatch | None = None,
        features: float = 1.0,
        scores: float = 1.0,
        temperature: float = 4.0,
        negatives_within_domain: bool = False,
        metric: str = "cosine",
        classes: np.ndarray | None = None,
        taught_by: Method | None = None,
    ):
        super().__init__(encoder, losses, memory, negatives_within_domain, metric, classes)
        if not features and not scores:
            raise ValueError("FEATURES and SCORES are 0; expected one of them above 0")
        self.features_weight, self.scores_weight, self.temperature = features, scores, temperature
        if taught_by is not None:
            self._check(taught_by, teacher)
        self._teacher = (taught_by,)  # in a tuple, so that it is no part of this module

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One."""
        features = self.encoder(batch.images, batch.domains, batch.camids)
        phase = self.phase_of(features, batch)
        phase.losses.update(self.taught(features["after"], batch.images))
        yield phase

    def taught(self, embeddings: Tensor, images: Tensor) -> dict[str, Tensor]:
        """The two losses of embeddings (B, D), by any pictures (B, 3, H, W) that they are of; weighted."""
        (teacher,) = self._teacher
        if teacher is None:
            raise ValueError("distil: found no teacher; expected the argument `taught_by`")
        with torch.no_grad():
            theirs = teacher.to(images.device).encoder(images)["after"]
        found = {}
        if self.features_weight:
            gaps = F.normalize(embeddings) - F.normalize(theirs)
            found["teacher_features"] = self.features_weight * gaps.square().sum(dim=1).mean()
        if self.scores_weight:
            with torch.no_grad():
                wanted = _scores(teacher, theirs) / self.temperature
            given = _scores(self, embeddings) / self.temperature
            divergence = F.kl_div(given.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True)
            found["teacher_scores"] = self.scores_weight * self.temperature**2 * divergence
        return found

    def _check(self, teacher: Method, path: str) -> None:
        other: Any = teacher.encoder
        ours, theirs = self.encoder.dim, int(other.dim)
        if self.features_weight and ours != theirs:
            raise ValueError(
                f"TEACHER {path} gives embeddings of {theirs}, this run's encoder of {ours}; expected one size: set MODEL.DIM "
                f"{theirs}, or FEATURES 0"
            )
        if not self.scores_weight:
            return
        shapes = [_scores(each, torch.zeros(1, dim)).shape[1] for each, dim in ((self, ours), (teacher, theirs))]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"TEACHER {path} tells {shapes[1]} classes apart, this run has {shapes[0]}; expected the same: give it the "
                "teacher's SOURCES, or SCORES 0"
            )


def _scores(method: Method, embeddings: Tensor) -> Tensor:
    """(B, C) of the method's first class loss that has scores."""
    for loss in getattr(method, "losses", {}).values():
        if isinstance(loss, ClassLoss) and (scores := loss.logits(embeddings)) is not None:
            return scores
    raise ValueError(
        f"SCORES needs a class loss with scores, such as softmax; found {', '.join(getattr(method, 'losses', {})) or 'no loss'} "
        f"in {method!r}: set SCORES 0"
    )
