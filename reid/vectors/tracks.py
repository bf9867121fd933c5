"""Several pictures as one: a query that is the mean of many, and a track that is found once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from reid.vectors.search import Found, Hit

Find = Callable[[np.ndarray, int], tuple[Found, dict[int, Hit]]]  # queries (Q, D), how many -> as `answers.find`


def together(vectors: np.ndarray, asked: Sequence[Hit], *, by_track: bool) -> tuple[np.ndarray, list[Hit], list[int]]:
    """The mean of all rows, or of each track's, in the place of queries (Q, D): its score is the mean of their scores, as in
    Market-1501's multi-query. The first picture of each stands for it; and how many they are.

    by_track: rows without a track stay by themselves. Raises ValueError where no row has one.
    """
    if by_track and not any(hit.row.track for hit in asked):
        raise ValueError(
            "--tracks: found no query with a track; expected vectors of a video, or a list that names tracks"
        )
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for i, hit in enumerate(asked):
        groups[_track(hit, i) if by_track else None].append(i)
    means = np.stack([vectors[members].mean(axis=0) for members in groups.values()])
    return means, [asked[members[0]] for members in groups.values()], list(map(len, groups.values()))


def once(find: Find, queries: np.ndarray, top: int) -> tuple[Found, dict[int, Hit]]:
    """The `top` tracks by their best rows; a row without a track counts as one. What `find` gives is asked for as deep as is
    needed."""
    made = Found.none(len(queries), top)
    hits: dict[int, Hit] = {}
    left, depth = np.arange(len(queries)), 4 * top
    while len(left):
        found, rows = find(queries[left], depth)
        unfinished = []
        for query, ids, scores in zip(left.tolist(), found.ids.tolist(), found.scores, strict=True):
            best: dict[Hashable, int] = {}
            for place, own in enumerate(ids):
                if own >= 0:
                    best.setdefault(_track(rows[own], own), place)
            places = list(best.values())[:top]
            if len(places) < top and ids[-1] >= 0:
                unfinished.append(query)
            made.ids[query, : len(places)] = [ids[place] for place in places]
            made.scores[query, : len(places)] = scores[places]
        hits |= rows
        left, depth = np.array(unfinished, np.int64), 4 * depth
    return made, hits


def _track(hit: Hit, own: int) -> Hashable:
    """By what the rows of a track are known: of a video, or of a camera's pictures below one root."""
    row = hit.row
    return (hit.root, row.path if row.frame >= 0 else "", row.camera, row.track) if row.track else own
