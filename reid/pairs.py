"""The one value every pair loss is a function of: anchors, references, and which of their pairs are positive or negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Refs(NamedTuple):
    """Rows to compare anchors with: embeddings (N, D) and, per row, class, domain and sample index (N,) int64."""

    embeddings: Tensor
    classes: Tensor
    domains: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Pairs:
    """Anchors (B, D) against references (N, D).

    positive, negative: (B, N) bool. A pair may be neither (an anchor with itself, a negative of another domain when
    those are excluded); it is never both.
    classes, domains, indices: (B,) int64 of the anchors; ref_*: (N,) int64 of the references.
    """

    anchors: Tensor
    refs: Tensor
    positive: Tensor
    negative: Tensor
    classes: Tensor
    ref_classes: Tensor
    domains: Tensor
    ref_domains: Tensor
    indices: Tensor
    ref_indices: Tensor

    @classmethod
    def within(
        cls,
        embeddings: Tensor,
        classes: Tensor,
        domains: Tensor | None = None,
        indices: Tensor | None = None,
        *,
        memory: Refs | None = None,
        negatives_within_domain: bool = False,
    ) -> Pairs:
        """The batch against itself and then, if given, against a memory: columns 0..B-1 are the batch, the rest memory.

        An anchor and itself (the diagonal of the first B columns) is neither positive nor negative. A memory must have
        been read before the batch was pushed into it, so that the diagonal is the only place where self can stand.
        """
        batch = _refs(embeddings, classes, domains, indices)
        refs = batch
        if memory is not None:
            refs = Refs(*(torch.cat(both) for both in zip(batch, memory, strict=True)))
        self_pairs = torch.zeros(len(classes), len(refs.classes), dtype=torch.bool, device=classes.device)
        self_pairs.fill_diagonal_(True)
        return cls._between(batch, refs, negatives_within_domain, self_pairs)

    @classmethod
    def between(
        cls,
        anchors: Tensor,
        classes: Tensor,
        refs: Tensor,
        ref_classes: Tensor,
        domains: Tensor | None = None,
        ref_domains: Tensor | None = None,
        indices: Tensor | None = None,
        ref_indices: Tensor | None = None,
        *,
        negatives_within_domain: bool = False,
    ) -> Pairs:
        """Two sets with nothing removed: every pair of equal class is positive, every other pair negative."""
        one = _refs(anchors, classes, domains, indices)
        other = _refs(refs, ref_classes, ref_domains, ref_indices)
        return cls._between(one, other, negatives_within_domain, None)

    def similarity(self) -> Tensor:
        """(B, N) inner products, in float32 or wider whatever the autocast: losses scale them by up to 256."""
        with torch.autocast(self.anchors.device.type, enabled=False):
            return _wide(self.anchors) @ _wide(self.refs).T

    def distances(self) -> Tensor:
        """(B, N) Euclidean distances, in float32 or wider; the gradient is 0, not infinite, between duplicates."""
        with torch.autocast(self.anchors.device.type, enabled=False):
            anchors, refs = _wide(self.anchors), _wide(self.refs)
            squared = anchors.square().sum(dim=1)[:, None] + refs.square().sum(dim=1) - 2 * anchors @ refs.T
        return squared.clamp_min(1e-12).sqrt()

    @classmethod
    def _between(cls, batch: Refs, refs: Refs, negatives_within_domain: bool, self_pairs: Tensor | None) -> Pairs:
        same = batch.classes[:, None] == refs.classes  # (B, N)
        negative = ~same
        positive = same if self_pairs is None else same & ~self_pairs
        if negatives_within_domain:
            negative &= batch.domains[:, None] == refs.domains
        return cls(
            batch.embeddings,
            refs.embeddings,
            positive,
            negative,
            batch.classes,
            refs.classes,
            batch.domains,
            refs.domains,
            batch.indices,
            refs.indices,
        )


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _refs(embeddings: Tensor, classes: Tensor, domains: Tensor | None, indices: Tensor | None) -> Refs:
    """Fills in what a caller in a prompt leaves out: one domain, and -1 for unknown sample indices."""
    if embeddings.ndim != 2 or len(embeddings) != len(classes):
        raise ValueError(
            f"pairs: found embeddings {tuple(embeddings.shape)} and {len(classes)} classes; "
            "expected embeddings (B, D) and one class a row"
        )
    if domains is None:
        domains = torch.zeros_like(classes)
    if indices is None:
        indices = torch.full_like(classes, -1)
    return Refs(embeddings, classes, domains, indices)
