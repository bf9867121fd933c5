"""Scores by a matcher of two rows of any shape, such as feature maps: of all pairs, or of each query's first few."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from reid.similarity import Similarity, room
from reid.similarity.sparse import Cells

Matcher = Callable[[Tensor, Tensor], Tensor]  # query rows (B, *shape), gallery rows (N, *shape) -> (B, N) scores

CELLS_AT_ONCE = 1 << 22  # scores that a shortlist is chosen from at once: 16 MB
GAP = 1e-3  # between a shortlist and what comes after it, relative above 1; a tie is a thousand times closer


class Matched(Similarity):
    """Scores that a matcher gives to two rows of any shape, such as feature maps, computed in blocks.

    Args:
        matcher: (B, *shape), (N, *shape) -> (B, N). Called without gradients, from several threads where scores are made
            on the CPU; a pair's score must not depend on what else is in its block.
        query, gallery: (Q, *shape), (G, *shape); they stay on their device, blocks of them go to `device`.
        symmetric: the matcher gives both orders of a pair the same score; it counts where query is gallery.
        scale: a bound of its scores. pairs_at_once: bounds what lies in memory between rows and scores.
        device: where the matcher is; None: where the rows are.
    Its scores raise ValueError where they are not finite, or not (B, N).
    """

    scale: float = 1.0

    def __init__(
        self,
        matcher: Matcher,
        query: Tensor,
        gallery: Tensor,
        *,
        symmetric: bool = False,
        scale: float = 1.0,
        pairs_at_once: int = 4096,
        device: torch.device | str | None = None,
    ) -> None:
        if query.shape[1:] != gallery.shape[1:]:
            raise ValueError(
                f"similarity: found query {tuple(query.shape)} and gallery {tuple(gallery.shape)}; expected rows of one shape"
            )
        if pairs_at_once < 1:
            raise ValueError(f"similarity: found pairs_at_once {pairs_at_once}; expected 1 or more")
        self.matcher, self.query, self.gallery = matcher, query, gallery
        self.shape, self.symmetric, self.scale = (len(query), len(gallery)), symmetric and query is gallery, scale
        self.pairs_at_once = pairs_at_once
        self.device = query.device if device is None else torch.device(device)

    def tile(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        scores = room(out, rows, columns)
        query, gallery = self.query[rows], self.gallery[columns]
        height = max(1, int(self.pairs_at_once**0.5))
        width = self.pairs_at_once // height
        for top in range(0, len(query), height):
            above = query[top : top + height].to(self.device)
            for left in range(0, len(gallery), width):
                scores[top : top + height, left : left + width] = self._match(above, gallery[left : left + width])
        return scores

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        # A matcher takes one row against many: the pairs of a row go together.
        out = torch.empty(len(rows), device=self.device, dtype=torch.float32)
        order = rows.argsort(stable=True)
        numbers, sizes = rows[order].unique_consecutive(return_counts=True)
        for number, places in zip(numbers.tolist(), order.split(sizes.tolist()), strict=True):
            for some in places.split(self.pairs_at_once):
                row, others = self.query[number : number + 1], self.gallery[columns[some].to(self.gallery.device)]
                out[some] = self._match(row.to(self.device), others)[0]
        return out

    def _match(self, query: Tensor, gallery: Tensor) -> Tensor:
        with torch.no_grad():  # a thread of its own starts with gradients
            scores = self.matcher(query, gallery.to(self.device)).float()
        if scores.shape != (len(query), len(gallery)):
            raise ValueError(
                f"similarity: found scores {tuple(scores.shape)} from the matcher; expected {(len(query), len(gallery))}"
            )
        if not scores.isfinite().all():
            raise ValueError(
                "similarity: found NaN or infinite scores from the matcher; look at its weights and its rows"
            )
        return scores


class Rescored(Similarity):
    """The order of `base`, but each query's first few by it in the order of `matched`: a dear matcher on a shortlist.

    The first few score what `matched` gives them. All others come after them in the order of the base: their scores are the
    base's less a number, the query's own, so that scores of different queries cannot be compared. With as many as the
    gallery has, the scores are those of `matched`, all of them.

    Args:
        first: pictures on a query's shortlist (a picture's own entry and junk among them). One that ties with the first that
            is left out is left out too, so that the gallery's order decides nothing.
    """

    def __init__(self, base: Similarity, matched: Similarity, first: int) -> None:
        if base.shape != matched.shape:
            raise ValueError(f"similarity: found a base {base.shape} and a matched {matched.shape}; expected one shape")
        if first < 1:
            raise ValueError(f"similarity: found first {first}; expected 1 or more pictures to score again")
        whole = first >= base.shape[1]  # then there is nothing left for the base
        self.base, self.matched, self.first = matched if whole else base, matched, first
        self.shape, self.device, self.rescoring = base.shape, self.base.device, f"first {first} rescored"
        self.symmetric, self.one_scale = whole and matched.symmetric, whole and matched.one_scale
        self.less = torch.zeros(
            self.shape[0], device=self.device, dtype=torch.float32
        )  # what is taken off a row's scores by the base
        self.cells = Cells(csr_array(self.shape, dtype=np.float32) if whole else self._shortlists(), self.device)

    @property
    def scale(self) -> float:
        return max(self.matched.scale, self.base.scale + float(self.less.abs().max()))

    def tile(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        scores = self.base.tile(rows, columns, out).sub_(self.less[rows, None])
        row, column, values = self.cells.of_tile(rows, columns)
        scores[row, column] = values
        return scores

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        values, listed = self.cells.of_pairs(rows, columns)
        return torch.where(listed, values, self.base.pairs(rows, columns) - self.less[rows])

    def _shortlists(self) -> csr_array:
        """(Q, G) what the listed score; sets what is taken off all others of a row."""
        num_query, num_gallery = self.shape
        size = max(1, CELLS_AT_ONCE // num_gallery)
        buffer = torch.empty(min(size, num_query), num_gallery, device=self.device, dtype=torch.float32)
        places, scores = [], []
        for start in range(0, num_query, size):
            rows = slice(start, min(start + size, num_query))
            best = self.base.tile(rows, slice(0, num_gallery), buffer).topk(self.first + 1)  # falling
            left_out = best.values[:, -1:]
            row, place = (best.values > left_out).nonzero(as_tuple=True)
            column = best.indices[row, place]
            on = self.matched.device
            values = self.matched.pairs((row + start).to(on), column.to(on)).to(self.device)
            lowest = torch.full((len(best.values),), torch.inf, device=self.device, dtype=torch.float32)
            lowest.scatter_reduce_(0, row, values, "amin")
            gap = GAP * lowest.abs().clamp_min(1)
            self.less[rows] = torch.where(lowest.isfinite(), left_out[:, 0] - lowest + gap, 0)
            places.append(torch.stack([row + start, column]).cpu())
            scores.append(values.cpu())
        return csr_array((torch.cat(scores).numpy(), torch.cat(places, dim=1).numpy()), shape=self.shape)
