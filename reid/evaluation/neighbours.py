"""The best few of each row: which gallery pictures every query scores highest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid.evaluation.blocks import share, slices, threads
from reid.similarity import Similarity

try:
    from reid.evaluation import _neighbours as kernel
except ImportError:  # nothing was compiled when reid was installed: the results are the same, they take longer
    kernel = None  # type: ignore[assignment]

TILE = (128, 1 << 15)  # rows of a thread, columns: 16 MB; wide, because finding the best has a cost a row and tile
SIDE = 4096  # of the square tiles of a set searched for in itself: 64 MB a thread
GROUP = 16


class Nearest(NamedTuple):
    """scores, columns: (Q, K) float32 and int64, falling. lowest: (Q,) float32, the lowest score of the row, any column."""

    scores: Tensor
    columns: Tensor
    lowest: Tensor


def nearest(similarity: Similarity, num: int, *, skip_same_index: bool = False) -> Nearest:
    """The `num` gallery pictures that each query scores highest.

    Args:
        similarity: of (Q, G); where it is symmetric, half of the scores are computed.
        num: 1..G, or 1..G - 1 with skip_same_index.
        skip_same_index: gallery row i is the picture of query i and is not among its own.
    """
    num_gallery = similarity.shape[1]
    assert 1 <= num <= num_gallery - skip_same_index, f"{num} of {num_gallery}"
    with threads(similarity.device) as num_threads:
        among = _among_themselves if similarity.symmetric else _among_others
        return among(similarity, num, skip_same_index, num_threads)


def _among_others(similarity: Similarity, num: int, skip_same_index: bool, num_threads: int) -> Nearest:
    device, (num_query, num_gallery) = similarity.device, similarity.shape
    found = Nearest(
        torch.empty(num_query, num, device=device, dtype=torch.float32),
        torch.empty(num_query, num, dtype=torch.int64, device=device),
        torch.empty(num_query, device=device, dtype=torch.float32),
    )

    def work(blocks: Iterator[slice]) -> None:
        buffer = torch.empty(TILE[0], min(TILE[1], num_gallery), device=device, dtype=torch.float32)
        for rows in blocks:
            block = _of_block(similarity, rows, num, skip_same_index, buffer)
            for of_all, of_rows in zip(found, block, strict=True):
                of_all[rows] = of_rows

    share(work, slices(num_query, TILE[0]), num_threads)
    return found


def _among_themselves(similarity: Similarity, num: int, skip_same_index: bool, num_threads: int) -> Nearest:
    """A tile of the scores above the diagonal, turned over, is the tile below it."""
    blocks = slices(similarity.shape[0], SIDE)
    best: dict[tuple[int, int], Nearest] = {}  # of the tile at (rows, columns)

    def work(tiles: Iterator[tuple[int, int]]) -> None:
        buffer = torch.empty(SIDE, min(SIDE, similarity.shape[0]), device=similarity.device, dtype=torch.float32)
        for i, j in tiles:
            scores = similarity.tile(blocks[i], blocks[j], buffer)
            best[i, j] = _of_tile(scores, blocks[j].start, num, skip_same_index and i == j)
            if i != j:
                best[j, i] = _of_tile(scores.T, blocks[i].start, num, False)

    share(work, [(i, j) for i in range(len(blocks)) for j in range(i, len(blocks))], num_threads)
    rows = [_merged([best[i, j] for j in range(len(blocks))], num) for i in range(len(blocks))]
    return Nearest(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def _of_block(similarity: Similarity, rows: slice, num: int, skip_same_index: bool, buffer: Tensor) -> Nearest:
    tiles = []
    for columns in slices(similarity.shape[1], TILE[1]):
        scores = similarity.tile(rows, columns, buffer)
        tiles.append(_of_tile(scores, columns.start, num, skip_same_index, rows.start - columns.start))
    return _merged(tiles, num)


def _of_tile(scores: Tensor, first_column: int, num: int, skip_diagonal: bool, diagonal: int = 0) -> Nearest:
    """The best of a tile (B, N), which may be a transpose."""
    lowest = scores.amin(dim=1)
    if skip_diagonal:
        scores.diagonal(diagonal).fill_(-torch.inf)
    num = min(num, scores.shape[1])
    if kernel is None or scores.device.type != "cpu":
        best, at = top(scores.contiguous(), num)
        return Nearest(best, at + first_column, lowest)
    best = torch.full((len(scores), num), -torch.inf, dtype=torch.float32)
    columns = torch.zeros(best.shape, dtype=torch.int64)
    kernel.best(scores.numpy(), np.array([first_column]), best.numpy(), columns.numpy())
    return Nearest(best, columns, lowest)


def _merged(tiles: list[Nearest], num: int) -> Nearest:
    """The best of all tiles of the same rows."""
    scores, columns, lowest = zip(*tiles, strict=True)
    best, at = torch.cat(scores, dim=1).topk(num, dim=1)
    return Nearest(best, torch.cat(columns, dim=1).gather(1, at), torch.stack(lowest).amin(dim=0))


def top(scores: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The `num` highest of each row and their columns: (B, num) each, falling.

    First the highest of each 16 columns, then all columns of the best groups: a number among the highest lies in one of
    them. At 20,000 columns this takes 0.5 ns a score, `topk` alone 2.2.
    """
    num_groups = scores.shape[1] // GROUP
    if num_groups <= 4 * num:
        return tuple(scores.topk(num, dim=1))  # type: ignore[return-value]
    grouped = scores[:, : GROUP * num_groups].unflatten(1, (GROUP, num_groups))
    groups = grouped.amax(dim=1).topk(num, dim=1).indices  # (B, num)
    steps = num_groups * torch.arange(GROUP, device=scores.device)
    rest = torch.arange(GROUP * num_groups, scores.shape[1], device=scores.device).expand(len(scores), -1)
    columns = torch.cat([(groups[:, None] + steps[:, None]).flatten(1), rest], dim=1)  # (B, 16 num + rest)
    values, places = scores.gather(1, columns).topk(num, dim=1)
    return values, columns.gather(1, places)
