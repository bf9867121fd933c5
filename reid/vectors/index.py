"""An index over a large store by faiss: approximate candidates, whose scores are then taken exactly.

`index.faiss` and `index_ids.npy` lie beside the shards, `index.json` says what they are. Rows that have come since are searched
exactly, rows that have gone are passed over: an index never decides what is in the store.
"""

from __future__ import annotations

import io
import json
import logging
from typing import Any, TypedDict

import faiss
import numpy as np

from reid import schema
from reid.vectors import search
from reid.vectors.search import EVERYTHING, Filter, Found
from reid.vectors.store import Store

log = logging.getLogger("reid")

GRAPH, IDS, ABOUT = "index.faiss", "index_ids.npy", "index.json"
KINDS = ("flat", "ivfpq", "hnsw")
LARGE = 200_000  # rows past which `auto` makes an IVF-PQ: below, exact search of one query takes less than 0.1 s
LEAST = {
    "ivfpq": 9_984,
    "hnsw": 1,
}  # rows: faiss wants 39 for each of the 256 codes that a part of a vector is cut down to
RECALL, TOP, ASKED = 0.95, 10, 200  # how much of the exact first TOP of ASKED rows the effort is raised for
PARAMETERS = {"ivfpq": ("SearchParametersIVF", "nprobe"), "hnsw": ("SearchParametersHNSW", "efSearch")}
START = {"ivfpq": 8, "hnsw": 128}  # the least effort
DEPTH = 10  # candidates for each row that is wanted


class About(TypedDict):
    """effort: nprobe of an IVF-PQ, efSearch of an HNSW. recall: of the exact first TOP at each effort tried, the last the
    one in use. shards: those it was built over."""

    kind: str
    rows: int
    effort: int
    recall: dict[str, float]
    shards: list[int]


def build(store: Store, kind: str = "auto", seed: int = 0) -> About | None:
    """Builds an index in place of the one there was; returns what it is, or None for `flat`, which needs no file.

    kind: flat (exact), ivfpq (a sixteenth of the vectors' size in memory or less), hnsw (the vectors and their neighbours in
    memory, faster), auto: ivfpq past LARGE rows. The effort of a search is doubled until RECALL of the exact answer is found.
    Raises ValueError for an unknown kind and for fewer rows than it needs.
    """
    if kind not in (*KINDS, "auto"):
        raise ValueError(f"--kind: found {kind}; there are auto, {', '.join(KINDS)}")
    counts = {number: len(shard.vectors) for number, shard in store.shards()}
    num = sum(counts.values())
    if kind == "auto":
        kind = "ivfpq" if num > LARGE else "flat"
    if kind in LEAST and num < LEAST[kind]:
        raise ValueError(f"--kind: {kind} needs {LEAST[kind]:,} rows, found {num:,}; use flat, which is exact")
    drop(store)
    if kind == "flat":
        return None
    rng = np.random.default_rng(seed)
    graph = _empty(kind, store.header["dim"], num)
    if kind == "ivfpq":
        graph.train(_sample(store, counts, min(num, 64 * graph.nlist + LEAST["ivfpq"]), rng))
    for _, shard in store.shards():
        graph.add(np.ascontiguousarray(shard.vectors))
    own = np.concatenate([search.ids(number, shard.columns) for number, shard in store.shards()])
    about: About = {"kind": kind, "rows": num, "effort": START[kind], "recall": {}, "shards": list(counts)}
    queries = _sample(store, counts, min(num, ASKED), rng)
    expected = search.exact(store, queries, TOP).ids
    while True:
        found = Index(graph, own, about).search(store, queries, TOP).ids
        most = graph.nlist if kind == "ivfpq" else min(num, 4096)
        if enough(about, expected, found, most):
            break
    content = io.BytesIO()
    np.save(content, own, allow_pickle=False)
    store.put(IDS, content.getvalue())
    unseen = store.folder / f".{GRAPH}.new"
    try:
        faiss.write_index(graph, str(unseen))
    except RuntimeError as error:
        unseen.unlink(missing_ok=True)
        raise OSError(f"{store.folder / GRAPH}: could not be written ({error}); make room and run this again") from None
    unseen.replace(store.folder / GRAPH)
    store.put(ABOUT, f"{json.dumps(about, indent=2)}\n".encode())
    return about


def enough(about: Any, expected: np.ndarray, found: np.ndarray, most: int) -> bool:
    """Notes in `about`, and logs, how much of the exact answers' ids (Q, TOP) was found; whether it is RECALL. If not, and the
    effort is less than `most`, it is doubled.
    """
    recall = float(np.mean([np.isin(one, other).mean() for one, other in zip(expected, found, strict=True)]))
    about["recall"][str(about["effort"])] = round(recall, 4)
    log.info("%s, effort %d: %.1f%% of the exact first %d found", about["kind"], about["effort"], 100 * recall, TOP)
    if recall >= RECALL or about["effort"] >= most:
        return True
    about["effort"] *= 2
    return False


def exists(store: Store) -> bool:
    return (store.folder / ABOUT).is_file()


def drop(store: Store) -> None:
    """Deletes the index; its description last to come and first to go."""
    for name in (ABOUT, GRAPH, IDS):
        (store.folder / name).unlink(missing_ok=True)


class Index:
    """graph: of faiss, over rows 0, 1, ... whose ids are `own` (N,)."""

    def __init__(self, graph: Any, own: np.ndarray, about: About) -> None:
        self.graph, self.own, self.about = graph, own, about

    @classmethod
    def open(cls, store: Store) -> Index | None:
        """The store's index, None where it has none. Raises ValueError for a damaged one."""
        folder = store.folder
        if not exists(store):
            return None
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            schema.check(about, About)
            graph, own = faiss.read_index(str(folder / GRAPH)), np.load(folder / IDS, allow_pickle=False)
            if not len(own) == graph.ntotal == about["rows"]:
                raise ValueError(f"{graph.ntotal} rows and {len(own)} ids")
        except (ValueError, OSError, RuntimeError) as error:
            said = str(error).partition("\n")[0]
            raise ValueError(f"{folder / GRAPH}: found a damaged index ({said}); build it again: reid index") from None
        return cls(graph, own, about)

    def search(self, store: Store, queries: np.ndarray, top: int, keep: Filter = EVERYTHING) -> Found:
        """As `search.exact`, of nearly the same rows. Where less than half of the rows pass the filter it is exact."""
        covered = [number for number in store.numbers() if number in set(self.about["shards"])]
        passing = [np.empty(0, np.int64)]
        for number in covered:
            columns = store.read(number, *keep.columns).columns
            passing.append(search.ids(number, columns)[keep.mask(columns)])
        there = np.isin(self.own, np.concatenate(passing))
        if 2 * there.sum() < len(self.own):
            return search.exact(store, queries, top, keep)
        depth = min(DEPTH * top, len(self.own))
        places = self._candidates(np.ascontiguousarray(queries, np.float32), depth, there)
        found = search.rescored(store, queries, np.where(places < 0, -1, self.own[places]), top)
        rest = [number for number in store.numbers() if number not in set(covered)]
        return found.best(search.exact(store, queries, top, keep, rest)) if rest else found

    def _candidates(self, queries: np.ndarray, depth: int, there: np.ndarray) -> np.ndarray:
        bits = np.packbits(there, bitorder="little")
        chosen = faiss.IDSelectorBitmap(len(there), faiss.swig_ptr(bits))
        make, effort = PARAMETERS[self.about["kind"]]
        options = getattr(faiss, make)(sel=chosen, **{effort: self.about["effort"]})
        # Where faiss.contrib.torch_utils was imported, by whomever, `search` takes no params, and this is what it was.
        search = getattr(self.graph, "search_numpy", self.graph.search)
        return search(queries, depth, params=options)[1]


def search_best(store: Store, queries: np.ndarray, top: int, keep: Filter = EVERYTHING) -> Found:
    """By the store's index where it has one, else exact."""
    index = Index.open(store)
    return index.search(store, queries, top, keep) if index else search.exact(store, queries, top, keep)


def _empty(kind: str, dim: int, num: int) -> Any:
    if kind == "hnsw":
        return faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    lists = int(min(4 * num**0.5, num / 39))
    parts = max(parts for parts in range(1, max(dim // 4, 1) + 1) if dim % parts == 0)
    return faiss.index_factory(dim, f"IVF{lists},PQ{parts}x8", faiss.METRIC_INNER_PRODUCT)


def _sample(store: Store, counts: dict[int, int], num: int, rng: np.random.Generator) -> np.ndarray:
    """(num, D) of the store's vectors, drawn without repetition."""
    drawn = np.sort(rng.choice(sum(counts.values()), num, replace=False))
    parts, start = [], 0
    for number, count in counts.items():
        own = drawn[(drawn >= start) & (drawn < start + count)] - start
        parts.append(
            np.asarray(store.read(number).vectors[own]) if len(own) else np.empty((0, store.header["dim"]), np.float32)
        )
        start += count
    return np.concatenate(parts)
