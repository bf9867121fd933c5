"""What a search asks for: the scores of Q queries against G gallery pictures, by tile and by pair.

Counting, ties, verification and re-ranking know scores by these two functions alone. So whatever gives both, an inner product
or a matcher of feature maps, is ranked exactly, and a (Q, G) matrix never has to exist.
"""

from __future__ import annotations

import torch
from torch import Tensor

try:
    from reid.similarity import _dot as kernel
except ImportError:  # nothing was compiled when reid was installed: the same scores but for their last digits, later
    kernel = None  # type: ignore[assignment]

PAIRS_AT_ONCE = 512  # rows gathered at once: 1 MB a side at 512-d stays in the second-level cache


class Similarity:
    """Scores of Q queries against G gallery pictures; higher is more alike.

    shape: (Q, G). device: where scores are made. symmetric: row i and column i are one picture, and both orders of a pair
    score the same, so that half of the tiles are enough. one_scale: scores of different queries may be compared with
    each other. rescoring: what rows of results say of scores that are right for the first few only; else empty.
    """

    shape: tuple[int, int]
    device: torch.device
    symmetric: bool = False
    one_scale: bool = True
    rescoring: str = ""

    @property
    def scale(self) -> float:
        """The largest absolute score, or a bound for it: what is small beside it is rounding."""
        raise NotImplementedError

    def tile(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        """(B, N) float32 scores of some rows and columns, written to the start of `out`, a buffer of B * N or more."""
        raise NotImplementedError

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(P,) float32 scores of single pairs; rows, columns (P,) int64 on `device`. Those of `tile`, up to rounding."""
        raise NotImplementedError

    def times(self, factors: Tensor) -> Similarity:
        """The same with every score of row i multiplied by factors[i], (Q,) float32: each row on a scale of its own."""
        return _Times(self, factors)


class Inner(Similarity):
    """Inner products of query (Q, D) and gallery (G, D), float32 or float16 on one device; one tensor twice is symmetric."""

    def __init__(self, query: Tensor, gallery: Tensor) -> None:
        if query.ndim != 2 or gallery.ndim != 2 or query.shape[1] != gallery.shape[1]:
            raise ValueError(
                f"similarity: found rows {tuple(query.shape)} and {tuple(gallery.shape)}; an inner product needs (Q, D) and "
                "(G, D). Rows of another shape take a matcher"
            )
        self.query, self.gallery = query, gallery
        self.shape, self.device, self.symmetric = (len(query), len(gallery)), query.device, query is gallery

    @property
    def scale(self) -> float:
        longest = [
            torch.linalg.vector_norm(side, dim=1, dtype=torch.float32).max() for side in (self.query, self.gallery)
        ]
        return float(longest[0] * longest[1])

    def tile(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        query, gallery = self.query[rows].float(), self.gallery[columns].float()
        return torch.mm(query, gallery.T, out=room(out, rows, columns))

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        query, gallery = self.query, self.gallery
        out = torch.empty(len(rows), device=self.device, dtype=torch.float32)
        plain = self.device.type == "cpu" and query.dtype == gallery.dtype == torch.float32
        if kernel is not None and plain and query.stride(1) == gallery.stride(1) == 1:
            kernel.dot(*(tensor.numpy() for tensor in (query, gallery, rows, columns, out)))
            return out
        for start in range(0, len(out), PAIRS_AT_ONCE):
            some = slice(start, start + PAIRS_AT_ONCE)
            out[some] = torch.linalg.vecdot(query[rows[some]].float(), gallery[columns[some]].float())
        return out

    def times(self, factors: Tensor) -> Inner:
        scaled = Inner(self.query.float() * factors[:, None], self.gallery)
        scaled.one_scale = False
        return scaled


class _Times(Similarity):
    def __init__(self, base: Similarity, factors: Tensor) -> None:
        self.base, self.factors = base, factors.to(base.device)
        self.shape, self.device, self.one_scale = base.shape, base.device, False

    @property
    def scale(self) -> float:
        return self.base.scale * float(self.factors.abs().max())

    def tile(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        return self.base.tile(rows, columns, out).mul_(self.factors[rows, None])

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.base.pairs(rows, columns) * self.factors[rows]


def room(out: Tensor, rows: slice, columns: slice) -> Tensor:
    """(B, N) at the start of a buffer: a fresh tensor for every tile would cost a quarter of a product."""
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    return out.view(-1)[: shape[0] * shape[1]].view(shape)
