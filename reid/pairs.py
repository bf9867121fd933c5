"""The one value every pair loss is a function of: anchors, references, and which of their pairs are positive or negative."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

ROWS = 1024  # references compared at once where the scores are not kept: they stay in a CPU's cache


class Refs(NamedTuple):
    """Rows to compare anchors with: embeddings (N, D) and, per row, class, domain and sample index (N,) int64."""

    embeddings: Tensor
    classes: Tensor
    domains: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Pairs:
    """Anchors (B, D) against references (N, D).

    blocks: the references' rows, in the order of the columns: the batch's, then the memory's, which is never copied.
    positive, negative: (B, N) bool. A pair may be neither (an anchor with itself, a negative of another domain when
    those are excluded); it is never both.
    classes, domains, indices: (B,) int64 of the anchors; ref_*: (N,) int64 of the references.
    """

    anchors: Tensor
    blocks: tuple[Tensor, ...]
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
        sides = [batch] if memory is None else [batch, memory]
        pairs = cls._between(batch, sides, negatives_within_domain)
        pairs.positive[:, : len(classes)].fill_diagonal_(False)
        return pairs

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
        return cls._between(one, [other], negatives_within_domain)

    @cached_property
    def refs(self) -> Tensor:
        """(N, D) the references in one piece. With a memory behind the batch this copies it; nothing else here does."""
        return _joined(self.blocks, dim=0)

    def refs_of(self, columns: Tensor) -> Tensor:
        """(C, D) the references `columns` (C,) int64 alone; no memory is copied for them."""
        if len(self.blocks) == 1:
            return self.blocks[0].index_select(0, columns)
        start, parts, places = 0, [], []
        for rows in self.blocks:
            place = ((columns >= start) & (columns < start + len(rows))).nonzero().squeeze(1)
            parts.append(rows.index_select(0, columns[place] - start))
            places.append(place)
            start += len(rows)
        return _joined(parts, dim=0)[torch.cat(places).argsort()]

    # amax, not any: on the CPU it takes less than half the time over a mask of this shape.

    @cached_property
    def complete(self) -> Tensor:
        """(B,) bool: the anchors that have a positive and a negative."""
        return self.positive.amax(dim=1) & self.negative.amax(dim=1)

    @cached_property
    def paired(self) -> Tensor:
        """(B,) bool: the anchors that have a positive or a negative."""
        return self.positive.amax(dim=1) | self.negative.amax(dim=1)

    def similarity(self) -> Tensor:
        """(B, N) inner products, in float32 or wider whatever the autocast: losses scale them by up to 256."""
        with torch.autocast(self.anchors.device.type, enabled=False):
            anchors = wide(self.anchors)
            return _joined([anchors @ wide(rows).T for rows in self.blocks], dim=1)

    def similarity_of(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(R, C) the same of the anchors `rows` (R,) int64 with the references `columns` (C,) int64 alone."""
        with torch.autocast(self.anchors.device.type, enabled=False):
            return wide(self.anchors.index_select(0, rows)) @ wide(self.refs_of(columns)).T

    def distances(self) -> Tensor:
        """(B, N) Euclidean distances, in float32 or wider; the gradient is 0, not infinite, between duplicates."""
        with torch.autocast(self.anchors.device.type, enabled=False):
            anchors = wide(self.anchors)
            squared = _joined([_squared_distances(anchors, wide(rows)) for rows in self.blocks], dim=1)
        return squared.clamp_min(1e-12).sqrt()

    def columns(self, kept: Tensor) -> Pairs:
        """The same with the references in `kept` (N,) bool alone."""
        sizes = [len(rows) for rows in self.blocks]
        return dataclasses.replace(
            self,
            blocks=tuple(rows[part] for rows, part in zip(self.blocks, kept.split(sizes), strict=True)),
            positive=self.positive[:, kept],
            negative=self.negative[:, kept],
            ref_classes=self.ref_classes[kept],
            ref_domains=self.ref_domains[kept],
            ref_indices=self.ref_indices[kept],
        )

    def near(self, distance: float | Tensor) -> Pairs:
        """The same without the references that are no anchor's positive and farther than `distance` from every anchor.

        distance: one, or each anchor's own, (B, 1). For losses to which farther negatives are worth nothing, in value and
        gradient: of a large memory a few columns are left, and the scores of all are never held at once. Few references
        are left alone, and so are all where more than half are near: copying them would cost more than it saves.
        """
        if len(self.ref_classes) <= ROWS:
            return self
        kept = ~self._beyond(distance) | self.positive.amax(dim=0)  # (N,); what is NaN stays, to be seen
        return self if 2 * int(kept.sum()) > len(kept) else self.columns(kept)

    @torch.no_grad()
    def _beyond(self, distance: float | Tensor) -> Tensor:
        """(N,) bool: the references farther than that from every anchor."""
        anchors = wide(self.anchors)
        limit = torch.as_tensor(distance, dtype=anchors.dtype, device=anchors.device).square()
        with torch.autocast(anchors.device.type, enabled=False):
            parts = (wide(part) for rows in self.blocks for part in rows.split(ROWS))
            return torch.cat([_squared_distances(anchors, part).sub_(limit).amin(dim=0) > 0 for part in parts])

    @classmethod
    def _between(cls, batch: Refs, sides: list[Refs], negatives_within_domain: bool) -> Pairs:
        classes, domains, indices = (_joined(labels, dim=0) for labels in list(zip(*sides, strict=True))[1:])
        positive = batch.classes[:, None] == classes  # (B, N)
        negative = ~positive
        if negatives_within_domain:
            negative &= batch.domains[:, None] == domains
        return cls(
            batch.embeddings,
            tuple(side.embeddings for side in sides),
            positive,
            negative,
            batch.classes,
            classes,
            batch.domains,
            domains,
            batch.indices,
            indices,
        )


def wide(x: Tensor) -> Tensor:
    """float32, or float64 where it is so already: half precision is too coarse for what losses do to scores."""
    return x if x.dtype == torch.float64 else x.float()


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _squared_distances(anchors: Tensor, refs: Tensor) -> Tensor:
    """(B, n). By norms, which need no copy of a memory as the squares of its rows do: a tenth of the time."""
    ours, theirs = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (anchors, refs))
    return (anchors @ refs.T).mul_(-2.0).add_(theirs).add_(ours[:, None])


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
