"""How many wrong pictures lie above each match: the one hot loop of all scoring.

The rank of a match is 1 + the matches above it + the wrong pictures above it. So no list is ever sorted by picture and
no (Q, G) matrix exists: tiles of scores go through one reused buffer, and only counts are kept of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation import counters
from reid.evaluation.blocks import share, slices, threads
from reid.evaluation.relevance import Relevance
from reid.similarity import Similarity

TIE = 1e-6  # of the scores' scale: this close they are ties; above 1 of their own size, because float32 resolves no better
UNIT = 0.99  # of a scale: unit vectors, whose lengths are rounded, and all that is longer keep to 1
TILE = (2048, 2048)  # queries of all threads, gallery: 16 MB of scores; no shape was faster on two cores
GPU_ROWS, GPU_CELLS = 4096, 1 << 28  # 1 GB of scores keeps any GPU busy
FEWEST_ROWS = 128  # queries a thread has at least: below that the product slows down
MAX_CELLS = 1 << 22  # (queries at once) x (largest class): bounds the tables where one class is enormous

Kept = TypeVar("Kept")


class Ranks(NamedTuple):
    """What some queries found.

    ranks: (B, M) int64, the 1-based ranks of each query's matches, rising; 0 where there is no more.
    tied: (B,) bool, a wrong picture ties with the best match.
    """

    ranks: NDArray[np.int64]
    tied: NDArray[np.bool_]


def match_ranks(similarity: Similarity, relevance: Relevance, keep: Callable[[Ranks], Kept]) -> list[Kept]:
    """Ranks every query's matches; a wrong picture that ties with a match is above it.

    Args:
        similarity: the scores; where it is symmetric, only half of them are computed.
        keep: what to keep of some queries' ranks; called for all queries, some at a time.
    Returns:
        What was kept, in the order of the queries.
    """
    device, (num_query, num_gallery) = similarity.device, similarity.shape
    with threads(device) as num_threads:
        tile = tile_for(device)
        size = _rows_at_once(tile[0], relevance, num_threads)
        # A tile is counted along both sides with the own classes hidden once: both sides must be of the same ones.
        if similarity.symmetric and relevance.same_classes and num_query * relevance.largest <= MAX_CELLS:
            ranks = _among_themselves(similarity, relevance, (size, tile[1]), num_threads)
            return [keep(ranks)]

        scale = similarity.scale

        def work(blocks: Iterator[slice]) -> list[tuple[int, Kept]]:
            buffer = torch.empty(size, min(tile[1], num_gallery), device=device, dtype=torch.float32)
            return [(rows.start, keep(_against(similarity, rows, relevance, buffer, scale))) for rows in blocks]

        done = share(work, slices(num_query, size), num_threads)
    return [kept for _, kept in sorted((pair for part in done for pair in part), key=lambda pair: pair[0])]


# ---- queries against a gallery


def _against(similarity: Similarity, rows: slice, relevance: Relevance, buffer: Tensor, scale: float) -> Ranks:
    own = OwnClasses(relevance, rows, similarity.device)
    thresholds = _thresholds(own.match_scores(similarity), scale)
    counts = torch.zeros_like(thresholds, dtype=torch.int32)
    counter = counters.choose(similarity.device, thresholds.shape[1])
    for columns in slices(similarity.shape[1], buffer.shape[1]):
        scores = similarity.tile(rows, columns, buffer)
        own.hide(scores, columns)
        counter(scores, thresholds, counts)
    return _ranks(thresholds, counts)


# ---- pictures among themselves


def _among_themselves(similarity: Similarity, relevance: Relevance, tile: tuple[int, int], num_threads: int) -> Ranks:
    """Scores are symmetric: only tiles on and above the diagonal are computed, and counted along both of their sides."""
    device, num = similarity.device, similarity.shape[0]
    size, width = tile[0], min(max(tile), num)
    blocks, scale = slices(num, size), similarity.scale
    thresholds = torch.full((num, 1 + max(relevance.largest, 1)), torch.inf, device=device, dtype=torch.float32)

    def set_thresholds(todo: Iterator[slice]) -> None:
        for rows in todo:
            found = _thresholds(OwnClasses(relevance, rows, device).match_scores(similarity), scale)
            thresholds[rows, : found.shape[1]] = found

    def count(todo: Iterator[slice]) -> Tensor:
        counts = torch.zeros_like(thresholds, dtype=torch.int32)
        buffer = torch.empty(size, width, device=device, dtype=torch.float32)
        for rows in todo:
            _count_from_diagonal(similarity, rows, relevance, thresholds, counts, buffer)
        return counts

    share(set_thresholds, blocks, num_threads)
    counts = sum(share(count, blocks, num_threads), start=torch.zeros((), dtype=torch.int32, device=device))
    return _ranks(thresholds, counts)


def _count_from_diagonal(
    similarity: Similarity, rows: slice, relevance: Relevance, thresholds: Tensor, counts: Tensor, buffer: Tensor
) -> None:
    """One row of tiles: the one on the diagonal, which holds both sides already, then those to its right."""
    own = OwnClasses(relevance, rows, similarity.device)
    counter = counters.choose(similarity.device, thresholds.shape[1])
    scores = similarity.tile(rows, rows, buffer)
    own.hide(scores, rows)
    counter(scores, thresholds[rows], counts[rows])
    for columns in slices(similarity.shape[1], buffer.shape[1], start=rows.stop):
        scores = similarity.tile(rows, columns, buffer)
        own.hide(scores, columns)
        counter(scores, thresholds[rows], counts[rows])
        counter(scores.T, thresholds[columns], counts[columns])


# ---- what both have in common


class OwnClasses:
    """Where the pictures of some queries' own classes lie in the gallery, and what the matches among them score."""

    def __init__(self, relevance: Relevance, rows: slice, device: torch.device) -> None:
        columns, filled, match = relevance.own_class(rows)
        self.first, self.shape = rows.start, columns.shape
        row, slot = filled.nonzero()
        column = columns[row, slot]
        order = np.argsort(column, kind="stable")
        self.sorted_columns = column[order]  # (P,) stays on the CPU: it says where a tile's pairs begin and end
        self.rows, self.slots, self.columns, self.match = (
            torch.from_numpy(array[order]).to(device) for array in (row, slot, column, match[row, slot])
        )

    def match_scores(self, similarity: Similarity) -> Tensor:
        """(B, M) scores of each query's matches, falling; -inf where there is no more."""
        scores = torch.full(self.shape, -torch.inf, device=similarity.device, dtype=torch.float32)
        rows, slots, columns = self.rows[self.match], self.slots[self.match], self.columns[self.match]
        scores[rows, slots] = similarity.pairs(self.first + rows, columns)
        return scores.sort(dim=1, descending=True).values

    def hide(self, scores: Tensor, columns: slice) -> None:
        """Takes the own classes out of a tile of the gallery's `columns`, so that it holds wrong pictures alone."""
        first, last = np.searchsorted(self.sorted_columns, (columns.start, columns.stop))
        scores[self.rows[first:last], self.columns[first:last] - columns.start] = -torch.inf


def tie_width(scores: Tensor, scale: float) -> Tensor:
    """How far from a score others are tied with it; scale: `Similarity.scale`."""
    return TIE * scores.abs().clamp_min(scale if scale < UNIT else 1)


def _thresholds(scores: Tensor, scale: float) -> Tensor:
    """(B, 1 + M) falling: just above the best match's ties, then each match's lower edge; +inf where there is none.

    The first column is there to tell ties: what is counted between it and the second ties with the best match.
    """
    width = tie_width(scores, scale)
    edges = torch.cat([(scores + width)[:, :1], scores - width], dim=1)
    return torch.where(edges.isfinite(), edges, torch.inf)


def _ranks(thresholds: Tensor, counts: Tensor) -> Ranks:
    ranks = counts[:, 1:] + torch.arange(1, counts.shape[1], device=counts.device)
    ranks[thresholds[:, 1:].isinf()] = 0
    return Ranks(ranks.cpu().numpy(), (counts[:, 1] > counts[:, 0]).cpu().numpy())


def tile_for(device: torch.device) -> tuple[int, int]:
    """Queries and gallery pictures of a tile: on a GPU as large as its free memory allows, with room to compare."""
    if device.type != "cuda":
        return TILE
    free, _ = torch.cuda.mem_get_info(device)
    return GPU_ROWS, max(1, min(free // 16, GPU_CELLS) // GPU_ROWS)


def _rows_at_once(most: int, relevance: Relevance, num_threads: int) -> int:
    """Queries of a block: as many as tile and tables allow, and as many blocks for each thread."""
    rows = max(most // num_threads, min(FEWEST_ROWS, most))
    rows = max(1, min(rows, MAX_CELLS // max(relevance.largest, 1)))
    rounds = -(-relevance.num_query // (rows * num_threads))
    return -(-relevance.num_query // (rounds * num_threads))
