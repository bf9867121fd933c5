"""DIMN: a picture's embedding is mapped to the classifier weights of its identity; a memory keeps those of all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses.softmax import Softmax
from reid.memory import IdentityBank
from reid.methods import Method
from reid.models.encoder import Encoder
from reid.models.mapping import Mapping

CHOICES = {
    "bank_init": ("zeros", "classifier", "class_means"),
    "unseen": ("zero", "skip"),
    "reference": ("bank", "classifier"),
    "scoring": ("cosine", "dot"),
    "gallery": ("mapped", "encoder"),
}


class DIMN(Method):
    """Domain-Invariant Mapping Network: query vectors from the encoder, gallery vectors from the mapping behind it.

    Each identity of an episode brings two pictures. Either is probe once and gallery once, so P identities give 2P pairs,
    over which every loss is averaged. A probe is scored against all C rows of the bank, the P of the batch replaced by
    the freshly mapped ones; a score is an inner product. Gradients flow through both pictures, never into the bank.

    Args:
        identity, matching, bank, triplet: weights of the four losses, 0 leaves one out. Softmax over identities on the
            encoder; cross-entropy of a probe over the C scores; squared distance of a fresh row to the stored one, of
            those stored; triplet on softmax-normalised scores, the own row against the hardest other of the C.
        margin: of the triplet, in probability.
        label_smoothing: of the identity loss.
        normalize_mapped: mapped rows are brought to unit length, as the bank's are.
        temperature: scores are divided by it before any softmax.
        stop_gradient: the gallery picture teaches the mapping, not the encoder.
        mapping_*: see `Mapping`; mapping_lr_factor multiplies its learning rate.
        momentum: of the bank: the weight of the old row.
        bank_init: rows start as `zeros`, as the identity loss's own first rows (`classifier`), or as the means of the
            mapped training pictures (`class_means`).
        unseen: what a row of zeros, not yet visited, is: a score of 0 (`zero`), or no candidate at all (`skip`).
        reference: what stands in for the identities that are not in the batch: the `bank`, or the identity loss's own
            `classifier`, learned by gradient from these losses as well; then nothing is remembered.
        scoring: `cosine`, or `dot`, the inner product of raw vectors, normalize_mapped or not. gallery: `mapped`, or
            `encoder` on both sides. Neither is trained: a checkpoint can be scored with either.
    Source: Song et al. 2019 (DIMN), as others relate it. Weights, margin, momentum and batches are published. Bias and
    start of the mapping, normalize_mapped, temperature, stop_gradient, bank_init, unseen, reference and the cosine are
    ours, and so is leaving rows not yet stored out of the bank loss.
    """

    encoder: Encoder
    sampler = "episode"

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        classes: np.ndarray | None = None,
        identity: float = 1.0,
        matching: float = 1.0,
        bank: float = 0.01,
        triplet: float = 1.0,
        margin: float = 0.8,
        label_smoothing: float = 0.0,
        normalize_mapped: bool = False,
        temperature: float = 1.0,
        stop_gradient: bool = False,
        mapping_depth: int = 1,
        mapping_bias: bool = False,
        mapping_activation: str = "relu",
        mapping_start: str = "identity",
        mapping_lr_factor: float = 1.0,
        momentum: float = 0.5,
        bank_init: str = "zeros",
        unseen: str = "zero",
        reference: str = "bank",
        scoring: str = "cosine",
        gallery: str = "mapped",
    ):
        super().__init__()
        chosen = {"bank_init": bank_init, "unseen": unseen, "reference": reference}
        chosen |= {"scoring": scoring, "gallery": gallery}
        for name, value in chosen.items():
            if value not in CHOICES[name]:
                raise ValueError(f"{name.upper()}: no {value}; there are {', '.join(CHOICES[name])}")
        self.weights = {"identity": identity, "matching": matching, "bank": bank, "triplet": triplet}
        self._check_weights(bank_init, reference)
        if temperature <= 0:
            raise ValueError(f"TEMPERATURE is {temperature}; expected more than 0")
        self.margin, self.temperature, self.stop_gradient = margin, temperature, stop_gradient
        self.normalize_mapped, self.unseen, self.bank_init = normalize_mapped, unseen, bank_init
        self.scoring, self.asymmetric = scoring, gallery == "mapped"
        self.encoder = encoder
        self.mapping = Mapping(encoder.dim, mapping_depth, mapping_bias, mapping_activation, mapping_start)
        self.mapping_lr_factor = mapping_lr_factor
        self.classes = classes
        self.classifier = Softmax(num_classes, encoder.dim, label_smoothing) if identity else None
        self.bank = IdentityBank(num_classes, encoder.dim, momentum) if reference == "bank" else None
        if self.bank and self.classifier and bank_init == "classifier":
            self.bank.fill(self.classifier.weight)

    def _check_weights(self, bank_init: str, reference: str) -> None:
        for name, weight in self.weights.items():
            if weight < 0:
                raise ValueError(f"{name.upper()} is {weight}; expected 0 (off) or more")
        if not any(weight for name, weight in self.weights.items() if name != "identity"):
            raise ValueError(
                "MATCHING, BANK and TRIPLET are 0 and nothing would teach the mapping; use METHOD baseline"
            )
        if not self.weights["identity"] and "classifier" in (bank_init, reference):
            raise ValueError("IDENTITY is 0; expected more, as BANK_INIT or REFERENCE is that loss's classifier")

    def __repr__(self) -> str:
        kept = (
            f"bank {tuple(self.bank.rows.shape)}, momentum {self.bank.momentum}" if self.bank else "classifier, no bank"
        )
        on = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items() if weight)
        return f"<dimn {self.encoder!r}, {kept}, losses {on}>"

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> None:
        """Fills the bank before the first step where it starts from class means."""
        if epoch > 0 or self.bank is None or self.bank_init != "class_means":
            return
        assert self.classes is not None, "class means need the training set's classes"
        training = self.training
        self.eval()
        with torch.no_grad():
            before = embed("before").to(self.bank.rows.device)
            rows = self._mapped(self.encoder.neck(before))  # (N, D)
            sums = torch.zeros_like(self.bank.rows)
            self.bank.fill(sums.index_add_(0, torch.from_numpy(self.classes).to(rows.device), rows))
        self.train(training)

    def training_losses(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        if not torch.equal(batch.classes[0::2], batch.classes[1::2]):
            raise ValueError(
                "dimn: found a batch that is not of pairs; expected those of SAMPLER episode, side by side"
            )
        embeddings = self.encoder(batch.images)["after"]  # (2P, D)
        losses = {"identity": self.classifier(embeddings, batch.classes)} if self.classifier else {}
        with torch.autocast(embeddings.device.type, enabled=False):  # the bank's own precision
            mapped = self._mapped(embeddings.detach() if self.stop_gradient else embeddings)
            losses |= self.matching_losses(embeddings, mapped, batch.classes)
        keep = {"rows": mapped.detach(), "classes": batch.classes} if self.bank else {}
        return {name: self.weights[name] * loss for name, loss in losses.items()}, keep

    def matching_losses(self, embeddings: Tensor, mapped: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """The losses that go through the mapping, those of them that are on, without their weights.

        embeddings, mapped: (2P, D), rows 2i and 2i + 1 of one identity. classes: (2P,), distinct but for that.
        """
        own = classes[0::2]  # (P,)
        probes = embeddings.unflatten(0, (-1, 2)).transpose(0, 1)  # (2, P, D): each picture's turn
        rows = mapped.unflatten(0, (-1, 2)).transpose(0, 1).flip(0)  # (2, P, D): of the other picture
        losses = {}
        if self.weights["matching"] or self.weights["triplet"]:
            log_scores = self._log_scores(probes, rows, own)
            log_own = log_scores.gather(2, own.expand(2, -1)[..., None])[..., 0]  # (2, P)
            if self.weights["matching"]:
                losses["matching"] = -log_own.mean()
            if self.weights["triplet"]:
                best = log_scores.detach().topk(2).indices  # (2, P, 2)
                hardest = torch.where(best[..., 0] == own, best[..., 1], best[..., 0])
                log_other = log_scores.gather(2, hardest[..., None])[..., 0]
                losses["triplet"] = F.relu(self.margin + log_other.exp() - log_own.exp()).mean()
        if self.weights["bank"]:
            reference, stored = self._reference()
            distances = (rows - reference[own]).square().sum(dim=2)  # (2, P)
            losses["bank"] = (distances * stored[own]).sum() / (2 * stored[own].sum()).clamp_min(1)
        return losses

    def _log_scores(self, probes: Tensor, rows: Tensor, own: Tensor) -> Tensor:
        """(2, P, C) log-probabilities: probes (2, P, D) against every identity, columns `own` against rows (2, P, D).

        The columns are written over in place: nothing of the size of the bank is ever made, and B x C but a few times.
        """
        reference, stored = self._reference()
        probes = probes / self.temperature
        scores = F.linear(probes, reference)  # (2, P, C)
        if self.unseen == "skip":
            scores = scores.masked_fill_(~stored, -torch.inf)
        return scores.index_copy_(2, own, probes @ rows.mT).log_softmax(dim=2)

    def _reference(self) -> tuple[Tensor, Tensor]:
        """What stands for the identities that are not in the batch: rows (C, D), and which of them are stored (C,)."""
        if self.bank is not None:
            return self.bank.rows, self.bank.seen
        assert self.classifier is not None
        weight = self.classifier.weight
        return weight, weight.new_ones(len(weight), dtype=torch.bool)

    def _mapped(self, embeddings: Tensor) -> Tensor:
        mapped = self.mapping(embeddings)
        return F.normalize(mapped) if self.normalize_mapped else mapped

    def remember(self, keep: dict[str, Tensor]) -> None:
        if self.bank is not None:
            self.bank.update(keep["rows"], keep["classes"])

    def encode_query(self, images: Tensor) -> Tensor:
        return self._scored(self.encoder(images)["after"])

    def encode_gallery(self, images: Tensor) -> Tensor:
        embeddings = self.encoder(images)["after"]
        return self._scored(self.mapping(embeddings).float() if self.asymmetric else embeddings)

    def _scored(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors) if self.scoring == "cosine" else vectors

    def param_groups(self) -> list[dict[str, Any]]:
        parts: list[tuple[str, nn.Module | None, float]] = [
            ("encoder", self.encoder, 1.0),
            ("mapping", self.mapping, self.mapping_lr_factor),
            ("identity", self.classifier, 1.0),
        ]
        return [
            {"name": name, "params": [p for p in part.parameters() if p.requires_grad], "lr_factor": factor}
            for name, part, factor in parts
            if part is not None
        ]
