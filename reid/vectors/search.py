"""Who is most alike: exact search over a store from disk, filters, and the rows of what was found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import faiss
import numpy as np

from reid.vectors.rows import Row
from reid.vectors.store import Held, Shard, Store, input_of

_POSITION_BITS = 32


class Found(NamedTuple):
    """ids (Q, K) int64, the best first, -1 where there are fewer; scores (Q, K) float32, -inf there."""

    ids: np.ndarray
    scores: np.ndarray

    @classmethod
    def none(cls, num: int, top: int) -> Found:
        return cls(np.full((num, top), -1, np.int64), np.full((num, top), -np.inf, np.float32))

    def best(self, other: Found) -> Found:
        """The best of both, as many as this one has; among equal scores the smaller id first."""
        ids, scores = np.hstack([self.ids, other.ids]), np.hstack([self.scores, other.scores])
        order = np.lexsort((ids, -scores))[:, : self.ids.shape[1]]
        return Found(np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1))


@dataclass(frozen=True)
class Filter:
    """Which rows are searched: of any of these cameras, tracks and persons (empty: all), from `start` to `end` in seconds."""

    cameras: Sequence[str] = ()
    tracks: Sequence[str] = ()
    start: float = -math.inf
    end: float = math.inf
    persons: Sequence[str] = ()

    @property
    def names(self) -> dict[str, Sequence[str]]:
        """The columns of which some names only are searched, and these."""
        wanted = {"camera": self.cameras, "track": self.tracks, "person": self.persons}
        return {column: names for column, names in wanted.items() if names}

    @property
    def timed(self) -> bool:
        return (self.start, self.end) != (-math.inf, math.inf)

    @property
    def columns(self) -> list[str]:
        """What a search reads of every row, besides its vector."""
        return ["position", *self.names, *(["time"] if self.timed else [])]

    def mask(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """(N,) bool. A row whose time is not known is left out as soon as a time is asked for."""
        keep = np.ones(len(columns["position"]), bool)
        for column, names in self.names.items():
            keep &= np.isin(columns[column], list(names))
        if self.timed:
            keep &= (columns["time"] >= self.start) & (columns["time"] <= self.end)
        return keep


EVERYTHING = Filter()


def ids(number: int, columns: dict[str, np.ndarray]) -> np.ndarray:
    """(N,) int64: a row keeps its id whatever is added or removed."""
    return first_id(number) + columns["position"]


def first_id(number: int) -> int:
    """That a row of this shard could have, and no row of one before."""
    return number << _POSITION_BITS


def shard_of(own: int) -> int:
    """The number of the shard that a row's id names."""
    return own >> _POSITION_BITS


def check_same_model(store: Held, sha256: str, preprocessing: dict[str, Any], dim: int) -> None:
    """Raises ValueError, naming what differs, for vectors that cannot be compared with those of `store`."""
    header = store.header
    pairs: dict[str, tuple[Any, Any]] = {
        "model (sha256 of its checkpoint)": (header["model"]["sha256"][:16], sha256[:16]),
        "preprocessing": (header["preprocessing"], preprocessing),
        "length": (header["dim"], dim),
    }
    for name, (there, asked) in pairs.items():
        if there != asked:
            raise ValueError(
                f"vectors: found the {name} {asked} where {store} has {there}; expected vectors of one model"
            )


def exact(
    store: Store, queries: np.ndarray, top: int, keep: Filter = EVERYTHING, numbers: Iterable[int] | None = None
) -> Found:
    """The `top` rows with the largest inner product with each of `queries` (Q, D) float32, of those that `keep` lets
    through. One shard is in memory at a time.

    numbers: of the shards to search, all unless given.
    """
    queries = np.ascontiguousarray(queries, np.float32)
    found = Found.none(len(queries), top)
    for number in store.numbers() if numbers is None else numbers:
        shard = store.read(number, *keep.columns)
        mask = keep.mask(shard.columns)
        own = ids(number, shard.columns)
        rows = np.asarray(shard.vectors)  # no memmap, which faiss.contrib.torch_utils takes for a tensor
        if not mask.all():
            own, rows = own[mask], rows[mask]
        if len(rows) and len(queries):
            scores, places = faiss.knn(queries, rows, min(top, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
            found = found.best(Found(own[places], scores))
    return found


def rescored(store: Store, queries: np.ndarray, candidates: np.ndarray, top: int) -> Found:
    """The `top` of each query's candidates (Q, C) by their exact scores; those of -1, or no longer there, are left out."""
    known = np.unique(candidates)
    vectors, there = np.zeros((len(known), store.header["dim"]), np.float32), np.zeros(len(known), bool)
    for _, shard, chosen, places in _located(store, known):
        vectors[chosen], there[chosen] = shard.vectors[places], True
    own = np.searchsorted(known, candidates)  # (Q, C)
    scores = np.stack([vectors[places] @ query for places, query in zip(own, queries, strict=True)])
    gone = ~there[own]
    return Found.none(len(queries), top).best(Found(np.where(gone, -1, candidates), np.where(gone, -np.inf, scores)))


class Hit(NamedTuple):
    """A row that was found. root: what its path is relative to. first_frame: the number of its video's first."""

    row: Row
    root: str
    first_frame: int


def hits(store: Store, found: np.ndarray) -> dict[int, Hit]:
    """The rows of ids, by id."""
    known = np.unique(found)
    made: dict[int, Hit] = {}
    for number, shard, chosen, places in _located(store, known):
        made.update(zip(known[chosen].tolist(), hits_of(store, number, shard, places), strict=True))
    return made


def hits_of(store: Store, number: int, shard: Shard, places: np.ndarray | slice = slice(None)) -> list[Hit]:
    """The rows of a shard that stand at `places`, all unless given."""
    source = input_of(store.header, number)
    return [Hit(row, source["root"], source["first_frame"]) for row in rows(shard, places)]


def rows(shard: Shard, places: np.ndarray | slice = slice(None)) -> list[Row]:
    values: list[Any] = [shard.columns[name][places].tolist() for name in Row._fields]
    return [Row(*said)._replace(box=tuple(box)) for *said, box in zip(*values, strict=True)]


def _located(store: Store, known: np.ndarray) -> Iterator[tuple[int, Shard, np.ndarray, np.ndarray]]:
    """(number, shard, which of `known` (N,) lie in it and are still there, their places in it)."""
    there = set(store.numbers())
    for number in np.unique(known[known >= 0] >> _POSITION_BITS).tolist():
        if number not in there:
            continue
        shard = store.read(number)
        own = ids(number, shard.columns)
        if len(own):
            place = np.minimum(np.searchsorted(own, known), len(own) - 1)
            chosen = np.flatnonzero(own[place] == known)
            yield number, shard, chosen, place[chosen]
