"""DIMN: a picture's embedding is mapped to the classifier weights of its identity; a bank keeps those of all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.softmax import Softmax
from reid.memory import CrossBatch, IdentityBank
from reid.methods import Phase
from reid.methods.baseline import Baseline
from reid.models.calibrate import calibrating
from reid.models.encoder import Encoder
from reid.models.mapping import Mapping
from reid.plan import Plan

CHOICES = {
    "triplet_on": ("probability", "score"),
    "candidates": ("all", "domain"),
    "bank_init": ("zeros", "classifier", "class_means"),
    "unseen": ("zero", "skip"),
    "reference": ("bank", "classifier"),
    "scoring": ("cosine", "dot"),
    "gallery": ("mapped", "encoder", "both"),
}
CALIBRATION = 8192  # training pictures, drawn at random, that BatchNorm is shown before a bank is filled


class DIMN(Baseline):
    """Domain-Invariant Mapping Network: query vectors from the encoder, gallery vectors from the mapping behind it.

    It is the baseline, with its losses and its cross-batch memory, and three losses of the mapping on top. A batch is an
    episode: P identities, K pictures each, side by side. Every ordered pair of an identity's pictures is once probe and
    gallery. A probe is scored against all C rows of the bank, the P of the batch replaced by the mapped gallery pictures.
    Gradients flow through both pictures, never into the bank.

    Args:
        losses, memory, negatives_within_domain, classes: as in `Baseline`. domains: (N,) int64, while training.
        matching, bank, triplet: weights of the three losses; 0 leaves one out. Cross-entropy of a probe over the C scores;
            squared distance of a fresh row to the stored one, of those stored; own row against the hardest other of the C.
        triplet_on: `probability`: of the softmax over the scores, as published; its gradient fades for hard probes.
            `score`: of the scores themselves, before SCALE or TEMPERATURE. margin: of the triplet, in the same unit.
        temperature: scores are inner products divided by this. scale: above 0, scores are cosines times this instead,
            which does not depend on D. Only one of the two may be given.
        candidates: a probe is compared with the rows of `all` identities, or of its own `domain`: those of other domains
            are easy to tell apart.
        normalize_mapped: mapped rows are brought to unit length, as the bank's are; SCALE does so by itself.
        stop_gradient: the gallery picture teaches the mapping, not the encoder.
        mapping: its form, see `Mapping`. mapping_lr_factor multiplies its learning rate; mapping_weight_decay is its own
            (None: SOLVER's); mapping_bound: the largest ||map - 1|| / ||1||, kept after every step (0: none).
        momentum, first_visit: of the bank, see `IdentityBank`.
        bank_init: rows start as `zeros`, as the first weights of the `softmax` among the losses (`classifier`), or as the
            means of the mapped training pictures (`class_means`), made once BatchNorm has the training set's statistics.
        unseen: what a row not stored yet is: a score of 0 (`zero`), or no candidate at all (`skip`).
        reference: what stands in for the identities that are not in the batch: the `bank`, or the `classifier`, the
            weights of that softmax, which these losses then teach as well; nothing is remembered.
        scoring: `cosine`, or `dot`, the inner product of raw vectors. gallery: `mapped`; `encoder` on both sides; or
            `both`, the mean of the two scores. Neither is trained: a checkpoint can be scored with any.
    Raises ValueError for options outside their range or against each other.
    Source: Song et al. 2019 (DIMN), as others relate it. The three losses, their weights 1, 0.01 and 1, margin 0.8,
    momentum 0.5, K = 2 and a linear map are published; there the identity loss is softmax with weight 1. What is ours:
    every other option, leaving rows not stored out of the bank loss, and scoring by cosine.
    """

    sampler = "episode"
    class_domains: Tensor

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        num_classes: int,
        memory: CrossBatch | None = None,
        negatives_within_domain: bool = False,
        classes: np.ndarray | None = None,
        domains: np.ndarray | None = None,
        matching: float = 1.0,
        bank: float = 0.01,
        triplet: float = 1.0,
        triplet_on: str = "probability",
        margin: float = 0.8,
        temperature: float = 1.0,
        scale: float = 0.0,
        candidates: str = "all",
        normalize_mapped: bool = False,
        stop_gradient: bool = False,
        mapping: str = "linear",
        mapping_lr_factor: float = 1.0,
        mapping_weight_decay: float | None = None,
        mapping_bound: float = 0.0,
        momentum: float = 0.5,
        first_visit: str = "replace",
        bank_init: str = "zeros",
        unseen: str = "zero",
        reference: str = "bank",
        scoring: str = "cosine",
        gallery: str = "mapped",
    ):
        super().__init__(encoder, losses, memory, negatives_within_domain, classes=classes)
        chosen = {"triplet_on": triplet_on, "candidates": candidates, "bank_init": bank_init, "unseen": unseen}
        chosen |= {"reference": reference, "scoring": scoring, "gallery": gallery}
        for name, choice in chosen.items():
            if choice not in CHOICES[name]:
                raise ValueError(f"{name.upper()}: no {choice}; there are {', '.join(CHOICES[name])}")
        numbers = {"matching": matching, "bank": bank, "triplet": triplet, "mapping_lr_factor": mapping_lr_factor}
        for name, value in {**numbers, "mapping_bound": mapping_bound}.items():
            if value < 0:
                raise ValueError(f"{name.upper()} is {value}; expected 0 (none) or more")
        # `triplet` may be one of the baseline's losses.
        self.weights = {"matching": matching, "bank": bank, "matching_triplet": triplet}
        if not any(self.weights.values()):
            raise ValueError("MATCHING, BANK and TRIPLET are 0: nothing would teach the mapping; use METHOD baseline")
        if temperature <= 0 or scale < 0:
            raise ValueError(f"TEMPERATURE is {temperature}, SCALE {scale}; expected more than 0, and 0 (off) or more")
        if scale and temperature != 1:
            raise ValueError(
                f"SCALE is {scale} and TEMPERATURE {temperature}; expected one of them: SCALE times the cosine, or the "
                "inner product over TEMPERATURE"
            )
        if self.classifier is None and "classifier" in (bank_init, reference):
            raise ValueError(
                "BANK_INIT or REFERENCE is classifier: found no softmax in LOSSES; expected one, {NAME: softmax}"
            )
        self.factor = scale or 1 / temperature
        self.unit_rows, self.unit_probes = normalize_mapped or scale > 0, scale > 0
        self.triplet_on, self.margin, self.unseen, self.stop_gradient = triplet_on, margin, unseen, stop_gradient
        self.bank_init, self.scoring, self.gallery = bank_init, scoring, gallery
        self.asymmetric = self.maps_gallery = gallery != "encoder"
        self.mapping = Mapping(encoder.dim, mapping)
        self.mapping_group = {"lr_factor": mapping_lr_factor}
        if mapping_weight_decay is not None:
            self.mapping_group["weight_decay"] = mapping_weight_decay
        self.mapping_bound = mapping_bound
        self.bank = IdentityBank(num_classes, encoder.dim, momentum, first_visit) if reference == "bank" else None
        if self.bank and bank_init == "classifier" and self.classifier:
            self.bank.fill(self.classifier.weight)
        of_class = torch.zeros(num_classes, dtype=torch.int64)
        if classes is not None and domains is not None and candidates == "domain":
            of_class[torch.from_numpy(classes)] = torch.from_numpy(domains)
        # All in one domain where every identity is a candidate.
        self.register_buffer("class_domains", of_class, persistent=False)

    @property
    def classifier(self) -> Softmax | None:
        """The softmax among the losses; looked up, as a module held twice would have two names in checkpoints."""
        return next((term.loss for term in self.terms if isinstance(term.loss, Softmax)), None)

    def __repr__(self) -> str:
        kept = (
            f"bank {tuple(self.bank.rows.shape)}, momentum {self.bank.momentum}" if self.bank else "classifier, no bank"
        )
        on = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items() if weight)
        return f"<dimn {self.mapping.form} map, {kept}, losses {on} on top of {super().__repr__()}>"

    # ---- training

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """The baseline's plan; before the first step it fills the bank where that starts from class means."""
        if epoch == 0 and self.bank is not None and self.bank_init == "class_means":
            assert self.classes is not None, "class means need the training set's classes"
            if not self.encoder.freeze_bn:
                some = np.random.default_rng(0).permutation(len(self.classes))[:CALIBRATION]
                with calibrating(self.encoder):
                    embed("after", some)
            with torch.no_grad():
                rows = self._mapped(embed("after").to(self.bank.rows.device))  # (N, D)
            classes = torch.from_numpy(self.classes).to(rows.device)
            self.bank.fill(torch.zeros_like(self.bank.rows).index_add_(0, classes, rows))
        return super().start_epoch(epoch, embed)

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """The baseline's one, with the losses of the mapping on top."""
        features = self.encoder(batch.images, batch.domains, batch.camids)
        phase = self.phase_of(features, batch)
        embeddings = features["after"]  # (B, D)
        with torch.autocast(embeddings.device.type, enabled=False):  # the bank's own precision
            mapped = self._mapped(embeddings.detach() if self.stop_gradient else embeddings)
            losses, outside = self.mapping_losses(embeddings, mapped, batch.classes)
        phase.losses |= {name: self.weights[name] * loss for name, loss in losses.items()}
        if self.bank is not None:
            phase.keep |= {"rows": mapped.detach(), "classes": batch.classes, "outside": outside}
        yield phase

    def mapping_losses(self, embeddings: Tensor, mapped: Tensor, classes: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The losses that go through the mapping, those of them that are on, without their weights; and, per picture, the
        share of its turns as a probe in which the hardest other identity was outside the batch, (B,) float32.

        embeddings, mapped: (B, D), the K rows of an identity side by side. classes: (B,), each K times.
        """
        number = int((classes == classes[0]).sum())  # K
        own = classes[::number]  # (P,)
        if number < 2 or not torch.equal(classes, own.repeat_interleave(number)):
            raise ValueError(
                "dimn: found a batch that is no episode; expected K pictures of each identity side by side, K 2 or more: "
                "take SAMPLER episode"
            )
        probes, rows = (each.unflatten(0, (-1, number)).transpose(0, 1) for each in (embeddings, mapped))  # (K, P, D)
        # Turns (T = K (K - 1)): picture `probe` of every identity against picture `other` of every identity.
        probe, other = torch.tensor(
            [(i, j) for i in range(number) for j in range(number) if i != j], device=classes.device
        ).T
        reference, stored = self._reference()
        probes = self.factor * (F.normalize(probes, dim=2) if self.unit_probes else probes)
        lowest = torch.finfo(probes.dtype).min  # not -inf, whose gradient would be NaN where a row has no candidate
        strange = self.class_domains[own][:, None] != self.class_domains  # (P, C): identities of other domains

        # Against everybody outside the batch. In place: of B x C there are but two copies, of C x D none.
        scores = F.linear(probes, reference)  # (K, P, C)
        scores = scores.masked_fill_(strange if self.unseen == "zero" else strange | ~stored, lowest)
        most, at = scores.index_fill_(2, own, lowest).max(dim=2)  # (K, P)
        total = most - scores.log_softmax(dim=2).gather(2, at[..., None])[..., 0]  # log of the sum of all exponentials

        # Against the batch's own identities.
        within = probes[probe] @ rows[other].mT  # (T, P, P)
        within = within.masked_fill(strange[:, own], lowest)
        right = within.diagonal(dim1=1, dim2=2)  # (T, P)
        wrong = within.masked_fill(torch.eye(len(own), dtype=torch.bool, device=own.device), lowest).amax(dim=2)
        total = torch.logaddexp(total[probe], within.logsumexp(dim=2))  # (T, P)
        hardest = torch.maximum(most[probe], wrong)
        outside = (most[probe] > wrong).float().unflatten(0, (number, -1)).mean(dim=1).T.flatten()

        losses = {}
        if self.weights["matching"]:
            losses["matching"] = (total - right).mean()
        if self.weights["matching_triplet"]:
            if self.triplet_on == "probability":
                gap = (hardest - total).exp() - (right - total).exp()
            else:
                gap = (hardest - right) / self.factor
            losses["matching_triplet"] = F.relu(self.margin + gap).mean()
        if self.weights["bank"]:
            distances = (rows - reference[own]).square().sum(dim=2)  # (K, P)
            losses["bank"] = (distances * stored[own]).sum() / (number * stored[own].sum()).clamp_min(1)
        return losses, outside

    def _reference(self) -> tuple[Tensor, Tensor]:
        """What stands for the identities that are not in the batch: rows (C, D), and which of them are stored (C,)."""
        if self.bank is not None:
            return self.bank.rows, self.bank.stored
        assert self.classifier is not None
        weight = self.classifier.weight
        rows = F.normalize(weight) if self.unit_rows else weight
        return rows, torch.ones(len(weight), dtype=torch.bool, device=weight.device)

    def _mapped(self, embeddings: Tensor) -> Tensor:
        mapped = self.mapping(embeddings)
        return F.normalize(mapped) if self.unit_rows else mapped

    def monitor(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """The baseline's; ||map - 1|| / ||1||; the mean cosine of two rows of the bank; the share of hardest others that
        the batch did not hold.
        """
        seen = super().monitor(kept) | {"mapping_size": self.mapping.size()}
        if self.bank is not None:
            seen |= {"bank_cosine": self.bank.cosine(), "hardest_outside": kept["outside"].mean().item()}
        return seen

    def remember(self, kept: dict[str, Tensor]) -> None:
        super().remember(kept)
        if self.mapping_bound:
            self.mapping.limit(self.mapping_bound)
        if self.bank is not None:
            self.bank.update(kept["rows"], kept["classes"])

    def param_groups(self) -> list[dict[str, Any]]:
        own = {"name": "mapping", "params": list(self.mapping.parameters()), **self.mapping_group}
        return [*super().param_groups(), own]

    # ---- scoring

    def encode_query(self, images: Tensor) -> Tensor:
        return self._scored(self.encoder(images)["after"])

    def encode_gallery(self, images: Tensor) -> Tensor:
        embeddings = self.encoder(images)["after"]
        if self.gallery == "encoder":
            return self._scored(embeddings)
        mapped = self._scored(self.mapping(embeddings).float())
        return mapped if self.gallery == "mapped" else (mapped + self._scored(embeddings)) / 2

    def _scored(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors) if self.scoring == "cosine" else vectors
