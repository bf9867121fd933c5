"""How many wrong pictures lie above each match: the one hot loop of all scoring.

The rank of a match is 1 + the matches above it + the wrong pictures above it. So no list is ever sorted by picture and
no (Q, G) matrix exists: tiles of scores go through one reused buffer, and only counts are kept of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation.relevance import Relevance

TIE = 1e-6  # scores this close are ties; relative above 1, because float32 resolves no better
TILE = (1024, 4096)  # queries, gallery: 16 MB of scores; the product is within 3% of its best at this shape
MAX_CELLS = 1 << 22  # (queries of a tile) x (largest class): bounds the tables below where one class is enormous
PAIRS_AT_ONCE = 2048  # rows gathered at once for the matches' own scores: 4 MB a side at 512-d, measured fastest

# counter(scores (B, N), thresholds (B, T), counts (B, T) int32) adds to counts how many scores of the row reach each
# threshold. It may destroy the scores. Thresholds of a row fall, and +inf stands for none.
Counter = Callable[[Tensor, Tensor, Tensor], None]


class Ranks(NamedTuple):
    """What one block of queries found.

    rows: which queries. ranks: (B, M) int64, the 1-based ranks of each query's matches, rising; 0 where there is no more.
    tied: (B,) bool, a wrong picture ties with the best match.
    """

    rows: slice
    ranks: NDArray[np.int64]
    tied: NDArray[np.bool_]


def match_ranks(query: Tensor, gallery: Tensor, relevance: Relevance) -> Iterator[Ranks]:
    """The ranks of every query's matches, block by block in order; a wrong picture that ties with a match is above it.

    query (Q, D), gallery (G, D): float32 or float16 on one device; scores are float32.
    """
    num_rows = max(1, min(TILE[0], relevance.num_query, MAX_CELLS // max(relevance.largest, 1)))
    num_columns = min(TILE[1], relevance.num_gallery)
    buffer = torch.empty(num_rows * num_columns, device=query.device)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        counter = _counter(query.device, pool)
        for start in range(0, relevance.num_query, num_rows):
            rows = slice(start, min(start + num_rows, relevance.num_query))
            yield _block(query[rows].float(), gallery, rows, relevance, buffer, num_columns, counter)


def _block(
    query: Tensor,
    gallery: Tensor,
    rows: slice,
    relevance: Relevance,
    buffer: Tensor,
    num_columns: int,
    counter: Counter,
) -> Ranks:
    columns, filled, match = (torch.from_numpy(x).to(query.device) for x in relevance.own_class(rows))
    thresholds = _thresholds(_own_scores(query, gallery, columns, match))
    counts = torch.zeros_like(thresholds, dtype=torch.int32)
    own_rows, own_slots = filled.nonzero(as_tuple=True)
    own_columns = columns[own_rows, own_slots]
    for start in range(0, len(gallery), num_columns):
        part = gallery[start : start + num_columns].float()
        scores = buffer[: len(query) * len(part)].view(len(query), len(part))
        torch.mm(query, part.T, out=scores)  # (B, N)
        here = (own_columns >= start) & (own_columns < start + len(part))
        scores[own_rows[here], own_columns[here] - start] = -torch.inf  # the query's own class is never a wrong picture
        counter(scores, thresholds, counts)
    num_above = counts[:, 1:].long()
    ranks = num_above + torch.arange(1, num_above.shape[1] + 1, device=query.device)
    ranks[thresholds[:, 1:].isinf()] = 0
    tied = counts[:, 1] > counts[:, 0]
    return Ranks(rows, ranks.cpu().numpy(), tied.cpu().numpy())


def _own_scores(query: Tensor, gallery: Tensor, columns: Tensor, match: Tensor) -> Tensor:
    """(B, M) scores of the matches, falling; -inf where there is no more."""
    scores = torch.full(columns.shape, -torch.inf, device=query.device)
    match_rows, slots = match.nonzero(as_tuple=True)
    match_columns = columns[match_rows, slots]
    found = torch.empty(len(match_rows), device=query.device)
    for start in range(0, len(found), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        found[some] = torch.linalg.vecdot(query[match_rows[some]], gallery[match_columns[some]].float())
    scores[match_rows, slots] = found
    return scores.sort(dim=1, descending=True).values


def _thresholds(scores: Tensor) -> Tensor:
    """(B, 1 + M) falling: just above the best match's tie, then each match's lower edge; +inf where there is no match.

    The first column tells ties: a wrong picture between it and the second one ties with the best match.
    """
    width = TIE * scores.abs().clamp_min(1)
    lower = scores - width
    lower[scores.isinf()] = torch.inf
    upper = torch.where(scores.isinf(), torch.inf, scores + width)[:, :1]
    return torch.cat([upper, lower], dim=1)


def _counter(device: torch.device, pool: ThreadPoolExecutor) -> Counter:
    if device.type != "cpu":
        return _count_by_comparing
    num_threads = torch.get_num_threads()

    def split(scores: Tensor, thresholds: Tensor, counts: Tensor) -> None:
        parts = [x.chunk(num_threads) for x in (scores, thresholds, counts)]
        list(pool.map(_count_by_sorting, *parts))

    return split


def _count_by_sorting(scores: Tensor, thresholds: Tensor, counts: Tensor) -> None:
    """Sorts the values of each row; numpy sorts float32 at about 2.5 ns a score, torch at ten times that."""
    scores.numpy().sort(axis=1)
    counts += scores.shape[1] - torch.searchsorted(scores, thresholds, out_int32=True)


def _count_by_comparing(scores: Tensor, thresholds: Tensor, counts: Tensor) -> None:
    """One pass a threshold: on a GPU a pass costs less than a tenth of the product, and needs no second buffer."""
    for column in range(thresholds.shape[1]):
        counts[:, column] += (scores >= thresholds[:, column, None]).sum(dim=1, dtype=torch.int32)
