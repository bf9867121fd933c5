"""The one value every pair loss is a function of: anchors, references, and which of their pairs are positive or negative."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 1024  # references compared at once where the scores are not kept: they stay in a CPU's cache

Score = Callable[[Tensor, Tensor], Tensor]  # anchors (B, *shape), references (n, *shape) -> (B, n)


@dataclass(frozen=True, eq=False)
class Rows:
    """Embeddings (N, *shape) and, per row, class, domain and sample index (N,) int64.

    unit: the embeddings are known to have length 1. False says nothing.
    """

    embeddings: Tensor
    classes: Tensor
    domains: Tensor
    indices: Tensor
    unit: bool = False

    @classmethod
    def of(
        cls,
        embeddings: Tensor,
        classes: Tensor,
        domains: Tensor | None = None,
        indices: Tensor | None = None,
        *,
        unit: bool = False,
    ) -> Rows:
        """Fills in what is left out: one domain, and -1 for unknown sample indices. Raises ValueError for other shapes."""
        if embeddings.ndim < 2 or classes.shape != embeddings.shape[:1]:
            raise ValueError(
                f"rows: found embeddings {_shown(embeddings)} and classes {_shown(classes)}; "
                "expected embeddings (N, D) and classes (N,), one a row"
            )
        domains = torch.zeros_like(classes) if domains is None else domains
        indices = torch.full_like(classes, -1) if indices is None else indices
        return cls(embeddings, classes, domains, indices, unit)

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, which: Tensor) -> Rows:
        """The rows `which`, int64 indices or a bool mask; a copy."""
        return Rows(
            self.embeddings[which], self.classes[which], self.domains[which], self.indices[which], unit=self.unit
        )

    def normalized(self) -> Rows:
        """The same with embeddings of length 1. Raises ValueError where a row is no vector, as a feature map is none."""
        if self.unit:
            return self
        if self.embeddings.ndim != 2:
            raise ValueError(
                f"rows: found embeddings {_shown(self.embeddings)}; expected vectors (N, D) to bring to length 1: "
                f"{LOSSES_OF_ANY_SCORE} take their scores as they are"
            )
        return dataclasses.replace(self, embeddings=F.normalize(self.embeddings), unit=True)

    def expect_unit(self) -> None:
        """Raises ValueError for a length other than 1, or 0 as that of a row of zeros; free where it is known to be 1."""
        if self.unit:
            return
        lengths = torch.linalg.vector_norm(wide(self.embeddings.detach()), dim=1)
        wrong = lengths[((lengths - 1).abs() > 0.01) & (lengths > 0)]  # half precision is off by half of this
        if len(wrong):
            raise ValueError(
                f"rows: found one of length {wrong[0]:.3g}; expected length 1: call loss(embeddings, labels), "
                "or take Rows.of(...).normalized()"
            )


def inner(anchors: Tensor, refs: Tensor) -> Tensor:
    """(B, n) inner products of vectors (B, D) and (n, D): the score, unless another is given."""
    return anchors @ refs.T


@dataclass(frozen=True, eq=False)
class Pairs:
    """Anchors (B rows) against references (N rows); made by `within` and `between`.

    blocks: the references, in the order of the columns: the batch, then the memory, which is never copied.
    positive, negative: (B, N) bool. A pair may be neither (an anchor with itself, a negative of another domain when
    those are excluded); it is never both.
    score: a function that says how alike rows are, or the scores themselves, (B, N), with their gradient if any.
    products: the given scores are the inner products of the rows.
    """

    anchors: Rows
    blocks: tuple[Rows, ...]
    positive: Tensor
    negative: Tensor
    score: Score | Tensor = inner
    products: bool = False

    @classmethod
    def within(
        cls,
        rows: Rows,
        memory: Rows | None = None,
        *,
        negatives_within_domain: bool = False,
        score: Score | Tensor = inner,
    ) -> Pairs:
        """The batch against itself and then, if given, against a memory: columns 0..B-1 are the batch, the rest memory.

        An anchor and itself (the diagonal of the first B columns) is neither positive nor negative. A memory must have
        been read before the batch was pushed into it, so that the diagonal is the only place where self can stand.
        """
        pairs = cls._made(rows, (rows,) if memory is None else (rows, memory), negatives_within_domain, score)
        pairs.positive[:, : len(rows)].fill_diagonal_(False)
        return pairs

    @classmethod
    def between(
        cls, anchors: Rows, refs: Rows, *, negatives_within_domain: bool = False, score: Score | Tensor = inner
    ) -> Pairs:
        """Two sets with nothing removed: every pair of equal class is positive, every other pair negative."""
        return cls._made(anchors, (refs,), negatives_within_domain, score)

    @property
    def itself(self) -> bool:
        """The references are the anchors alone."""
        return len(self.blocks) == 1 and self.blocks[0] is self.anchors

    @property
    def euclidean(self) -> bool:
        """The scores are inner products of the rows, so that distances follow from them."""
        return self.products or self.score is inner

    @cached_property
    def ref_classes(self) -> Tensor:
        """(N,) int64."""
        return _joined([rows.classes for rows in self.blocks], dim=0)

    @cached_property
    def same_domain(self) -> Tensor:
        """(B, N) bool: the pairs within a domain."""
        return self.anchors.domains[:, None] == _joined([rows.domains for rows in self.blocks], dim=0)

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
        """(B, N) scores, inner products or others, in float32 or wider whatever the autocast: losses scale them by up to 256."""
        if isinstance(self.score, Tensor):
            return wide(self.score)
        with torch.autocast(self.positive.device.type, enabled=False):
            anchors = wide(self.anchors.embeddings)
            return _joined([wide(self.score(anchors, wide(rows.embeddings))) for rows in self.blocks], dim=1)

    def similarity_of(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(R, C) the same of the anchors `rows` (R,) int64 with the references `columns` (C,) int64 alone."""
        if isinstance(self.score, Tensor):
            return wide(self.score.index_select(0, rows).index_select(1, columns))
        with torch.autocast(self.positive.device.type, enabled=False):
            anchors = wide(self.anchors.embeddings.index_select(0, rows))
            return wide(self.score(anchors, wide(self.refs_of(columns))))

    def distances(self) -> Tensor:
        """(B, N) Euclidean distances, in float32 or wider; the gradient is 0, not infinite, between duplicates.

        Raises ValueError where the score is no inner product.
        """
        self.expect_products("distances")
        given: Sequence[Tensor | None] = [None] * len(self.blocks)
        if isinstance(self.score, Tensor):
            given = self.score.split(self._sizes, dim=1)
        with torch.autocast(self.positive.device.type, enabled=False):
            anchors = wide(self.anchors.embeddings)
            parts = zip(self.blocks, given, strict=True)
            squared = [_squared_distances(anchors, wide(rows.embeddings), products) for rows, products in parts]
        return _joined(squared, dim=1).clamp_min(1e-12).sqrt()

    def refs_of(self, columns: Tensor) -> Tensor:
        """(C, *shape) embeddings of the references `columns` (C,) int64 alone; no memory is copied for them."""
        if len(self.blocks) == 1:
            return self.blocks[0].embeddings.index_select(0, columns)
        start, parts, places = 0, [], []
        for rows in self.blocks:
            place = ((columns >= start) & (columns < start + len(rows))).nonzero().squeeze(1)
            parts.append(rows.embeddings.index_select(0, columns[place] - start))
            places.append(place)
            start += len(rows)
        return _joined(parts, dim=0)[torch.cat(places).argsort()]

    def columns(self, kept: Tensor) -> Pairs:
        """The same with the references in `kept` (N,) bool alone."""
        parts = [part.nonzero().squeeze(1) for part in kept.split(self._sizes)]
        return dataclasses.replace(
            self,
            blocks=tuple(rows.select(part) for rows, part in zip(self.blocks, parts, strict=True)),
            positive=self.positive[:, kept],
            negative=self.negative[:, kept],
            score=self.score[:, kept] if isinstance(self.score, Tensor) else self.score,
        )

    def near(self, distance: float | Tensor) -> Pairs:
        """The same without the references that are no anchor's positive and farther than `distance` from every anchor.

        distance: one, or each anchor's own, (B, 1). For losses to which farther negatives are worth nothing, in value and
        gradient: of a large memory a few columns are left, and the scores of all are never held at once. Few references
        are left alone, and so are all where more than half are near: copying them would cost more than it saves.
        Raises ValueError where the score is no inner product.
        """
        self.expect_products("near references")
        if self.positive.shape[1] <= ROWS:
            return self
        kept = ~self._beyond(distance) | self.positive.amax(dim=0)  # (N,); what is NaN stays, to be seen
        return self if 2 * int(kept.sum()) > len(kept) else self.columns(kept)

    @torch.no_grad()
    def _beyond(self, distance: float | Tensor) -> Tensor:
        """(N,) bool: the references farther than that from every anchor."""
        anchors = wide(self.anchors.embeddings)
        limit = torch.as_tensor(distance, dtype=anchors.dtype, device=anchors.device).square()
        with torch.autocast(anchors.device.type, enabled=False):
            parts = (wide(part) for rows in self.blocks for part in rows.embeddings.split(ROWS))
            return torch.cat([_squared_distances(anchors, part).sub_(limit).amin(dim=0) > 0 for part in parts])

    @property
    def _sizes(self) -> list[int]:
        return [len(rows) for rows in self.blocks]

    @classmethod
    def _made(
        cls, anchors: Rows, blocks: tuple[Rows, ...], negatives_within_domain: bool, score: Score | Tensor
    ) -> Pairs:
        positive = anchors.classes[:, None] == _joined([rows.classes for rows in blocks], dim=0)  # (B, N)
        negative = ~positive
        if negatives_within_domain:
            negative &= anchors.domains[:, None] == _joined([rows.domains for rows in blocks], dim=0)
        if score is inner and anchors.embeddings.ndim != 2:
            raise ValueError(
                f"pairs: found embeddings {_shown(anchors.embeddings)}; expected vectors (B, D), or a `score` of their own"
            )
        if isinstance(score, Tensor) and score.shape != positive.shape:
            raise ValueError(f"pairs: found scores {_shown(score)}; expected {_shown(positive)}, anchors x references")
        return cls(anchors, blocks, positive, negative, score)

    def expect_products(self, what: str) -> None:
        """Raises ValueError where the score is no inner product, from which `what` follows."""
        if not self.euclidean:
            found = (
                "given"
                if isinstance(self.score, Tensor)
                else getattr(self.score, "__name__", type(self.score).__name__)
            )
            raise ValueError(
                f"pairs: {what} follow from inner products, and the score is {found}; take a loss of any score, "
                f"such as {LOSSES_OF_ANY_SCORE}"
            )


LOSSES_OF_ANY_SCORE = "binomial, circle, infonce, multi_similarity, supcon, or triplet with DISTANCE score"


def wide(x: Tensor) -> Tensor:
    """float32, or float64 where it is so already: half precision is too coarse for what losses do to scores."""
    return x if x.dtype == torch.float64 else x.float()


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=dim)


def _squared_distances(anchors: Tensor, refs: Tensor, products: Tensor | None = None) -> Tensor:
    """(B, n). By norms, which need no copy of a memory as the squares of its rows do: a tenth of the time.

    products: (B, n) inner products, where they are given.
    """
    ours, theirs = (torch.linalg.vector_norm(rows, dim=1).square() for rows in (anchors, refs))
    products = anchors @ refs.T if products is None else wide(products).clone()
    return products.mul_(-2.0).add_(theirs).add_(ours[:, None])


def _shown(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)
