"""Beyond one machine: the rows of folders in a collection of Milvus, searched by the same filters, cleared of people and pictures.

A place is milvus:http://HOST:PORT#COLLECTION. Rows have the ids that they would have in one folder. COLLECTION_header holds the
header, so that vectors of another model are refused as a folder refuses them. Rows whose input is not in it are of a filling
that was broken off: no search sees them, and the next filling deletes them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, TypedDict
from urllib.parse import urlsplit

import numpy as np

from reid import schema
from reid.vectors import edit, index, search
from reid.vectors.rows import Row
from reid.vectors.search import EVERYTHING, Filter, Found, Hit
from reid.vectors.server import INDEX, KINDS, Server
from reid.vectors.store import Header, Store, check_header, input_of

PREFIX, NAME = "milvus:", "reid"  # how a place begins; its collection unless it names one
BATCH, MOST = 1000, 16_384  # rows sent at once, 4 MB of 1,024 numbers each (Milvus takes 64), and rows it gives at once
NAMES, LENGTH = ("path", "camera", "track", "person"), 4096  # columns of text, each of at most so many bytes


class Made(TypedDict):
    """How the vectors are indexed, see `index.About`. effort: the ef of an HNSW."""

    kind: str
    effort: int
    recall: dict[str, float]


class Collection:
    """What a `Store` is on one machine. One process at a time may write into it: nothing locks it."""

    def __init__(self, server: Server, name: str, header: Header, made: Made) -> None:
        self.server, self.name, self.header, self.made = server, name, header, made

    def __str__(self) -> str:
        return f"{PREFIX}{self.server.uri}#{self.name}"

    @classmethod
    def open(cls, place: str, like: Store | None = None) -> Collection:
        """The collection at `place`. like: where there is none, it is made for vectors like those of this store.

        Raises ValueError for a place that is none, where there is no collection or one of something else; OSError.
        """
        uri, name = _parts(place)
        server = Server(uri)
        texts = {}
        if server.ask("has_collection", _head(name)):
            server.ask("load_collection", _head(name))
            found = server.ask("query", _head(name), filter="id >= 0", output_fields=["id", "text"], limit=MOST)
            texts = {row["id"]: row["text"] for row in found}
        if texts:
            collection = cls(server, name, *_read(place, texts))
        elif like is None:
            raise ValueError(f"{place}: found no collection {name}; make it: reid index --index {place} --add VECTORS")
        elif server.ask("has_collection", name):
            raise ValueError(f"{place}: found the collection {name} of something else; expected a name that is free")
        else:
            collection = cls(server, name, {**like.header, "inputs": []}, {"kind": "flat", "effort": 0, "recall": {}})
            server.create(_head(name), 2, {"text": 65_535})  # Milvus has no collection without vectors
            collection.write_header()
        if not server.ask("has_collection", name):
            server.create(name, collection.header["dim"], dict.fromkeys(NAMES, LENGTH), of_rows=True)
        if not server.ask("list_indexes", name):  # it was being built
            collection._index("flat", 0)
        server.ask("load_collection", name, timeout=INDEX)
        return collection

    @property
    def num_shards(self) -> int:
        return sum(each["shards"] for each in self.header["inputs"])

    @property
    def num_rows(self) -> int:
        return self._count("")

    def write_header(self) -> None:
        """Row 0 holds all but the inputs, which are rows 1, 2, ...: a text of Milvus ends at 65,535 bytes."""
        said = {"header": {**self.header, "inputs": []}, "made": self.made}
        texts = [json.dumps(part, ensure_ascii=False) for part in (said, *self.header["inputs"])]
        rows = [{"id": i, "vector": [0.0, 0.0], "text": text} for i, text in enumerate(texts)]
        self._send("upsert", _head(self.name), rows)

    def add(self, store: Store) -> int:
        """Copies the rows of `store` into it; returns how many. Raises ValueError as `edit.check_can_add`."""
        edit.check_can_add(self, store)
        start, added = self.num_shards, 0
        self.server.ask("delete", self.name, filter=f"id >= {search.first_id(start)}")
        for number, shard in store.shards():
            ids = search.ids(start + number, shard.columns).tolist()
            self._send("insert", self.name, list(map(_sent, ids, search.rows(shard), shard.vectors)))
            added += len(ids)
        self.header["inputs"] += store.header["inputs"]
        self.write_header()
        return added

    def remove(self, persons: Sequence[str] = (), tracks: Sequence[str] = (), pictures: Sequence[str] = ()) -> int:
        """As `edit.remove`: no search finds them again. When their bytes leave the disks is the server's own business."""
        meant = {("person", name): f"person == {_text(name)}" for name in persons}
        meant |= {("track", name): f"track == {_text(name)}" for name in tracks}
        meant |= {("picture", path): self._picture(path) for path in pictures}
        edit.check_found([each for each, condition in meant.items() if not self._count(condition)], self)
        before = self.num_rows
        for condition in meant.values():
            self.server.ask("delete", self.name, filter=condition)
        return before - self.num_rows

    def compact(self) -> None:
        """Asks the server to write what it holds anew without what was removed, which it does in its own time."""
        self.server.ask("flush", self.name)
        self.server.ask("compact", self.name)

    def build(self, kind: str = "auto", seed: int = 0) -> Made:
        """Has the vectors indexed: flat (exact), hnsw, auto (hnsw past `index.LARGE` rows). Scores are exact with either; the
        effort of a search is raised as in `index.build`. Raises ValueError for an unknown kind and an empty collection."""
        num = self.num_rows
        if kind not in (*KINDS, "auto") or not num:
            raise ValueError(
                f"--kind: found {kind} for {num:,} rows; on Milvus there are auto, {', '.join(KINDS)}, for one or more"
            )
        if kind == "auto":
            kind = "hnsw" if num > index.LARGE else "flat"
        self._index("flat", 0)
        if kind == "hnsw":
            queries = self._drawn(np.random.default_rng(seed))
            expected = self.find(queries, index.TOP)[0].ids
            self._index("hnsw", index.START["hnsw"])
            while not index.enough(self.made, expected, self.find(queries, index.TOP)[0].ids, min(num, 4096)):
                pass
        self.write_header()
        return self.made

    def find(self, queries: np.ndarray, top: int, keep: Filter = EVERYTHING) -> tuple[Found, dict[int, Hit]]:
        """As `search.exact`, and the rows of what was found by their ids."""
        if top > MOST:
            raise ValueError(f"--top: found {top}; Milvus gives at most {MOST:,}")
        options = {"metric_type": "IP", "params": {"ef": max(self.made["effort"], top)} if self.made["effort"] else {}}
        condition = self._seen(_condition(keep))
        hits: dict[int, Hit] = {}
        found = Found.none(len(queries), top)
        step = MOST // top
        for start in range(0, len(queries), step):
            answers = self.server.ask(
                "search",
                self.name,
                data=list(np.ascontiguousarray(queries[start : start + step], np.float32)),
                limit=top,
                filter=condition,
                search_params=options,
                output_fields=list(Row._fields),
            )
            for i, answer in enumerate(answers, start):
                found.ids[i, : len(answer)] = [hit["id"] for hit in answer]
                found.scores[i, : len(answer)] = [hit["distance"] for hit in answer]
                hits.update((hit["id"], self._hit(hit["id"], hit["entity"])) for hit in answer)
        return found.best(Found.none(len(queries), 0)), hits  # in the order of ids where scores are equal

    def _hit(self, own: int, entity: dict[str, Any]) -> Hit:
        source = input_of(self.header, search.shard_of(own))
        said = {name: entity[name] for name in Row._fields}
        said |= {"time": math.nan if said["time"] is None else said["time"], "box": tuple(said["box"])}
        return Hit(Row(**said), source["root"], source["first_frame"])

    def _seen(self, condition: str) -> str:
        """A condition on those rows whose input is in the header."""
        return " and ".join(filter(None, [f"id < {search.first_id(self.num_shards)}", condition]))

    def _count(self, condition: str) -> int:
        (row,) = self.server.ask("query", self.name, filter=self._seen(condition), output_fields=["count(*)"])
        return int(row["count(*)"])

    def _picture(self, path: str) -> str:
        """The condition of a picture, by its path as rows have it or absolute."""
        meant, start = [f"path == {_text(path)}"], 0
        for each in self.header["inputs"]:
            end = start + each["shards"]
            if (relative := edit.relative(path, each["root"])) != path:
                span = f"id >= {search.first_id(start)} and id < {search.first_id(end)}"
                meant.append(f"({span} and path == {_text(relative)})")
            start = end
        return f"({' or '.join(meant)})"

    def _send(self, question: str, name: str, rows: list[dict[str, Any]]) -> None:
        for start in range(0, len(rows), BATCH):
            self.server.ask(question, name, rows[start : start + BATCH])

    def _index(self, kind: str, effort: int) -> None:
        self.made = {"kind": kind, "effort": effort, "recall": {}}
        self.write_header()
        self.server.ask("release_collection", self.name)
        for there in self.server.ask("list_indexes", self.name):
            self.server.ask("drop_index", self.name, there)
        self.server.ask("create_index", self.name, self.server.indexed(kind), timeout=INDEX)
        self.server.ask("load_collection", self.name, timeout=INDEX)

    def _drawn(self, rng: np.random.Generator) -> np.ndarray:
        """(N, D), N at most ASKED: the rows that follow on places which are drawn."""
        shards = [each for each in self.header["inputs"] for _ in range(each["shards"])]
        starts = [0]
        for number in rng.integers(len(shards), size=19).tolist():
            places = -(-shards[number]["pictures"] // shards[number]["shards"])
            starts.append(search.first_id(number) + int(rng.integers(places)))
        found: dict[int, Any] = {}
        for start in starts:
            condition = self._seen(f"id >= {start}")
            each = index.ASKED // len(starts)
            rows = self.server.ask("query", self.name, filter=condition, output_fields=["id", "vector"], limit=each)
            found |= {row["id"]: row["vector"] for row in rows}
        return np.array(list(found.values()), np.float32)


def _parts(place: str) -> tuple[str, str]:
    """The server's address and the collection's name."""
    uri, _, name = place.removeprefix(PREFIX).partition("#")
    try:
        split = urlsplit(uri)
        sound = split.scheme in ("http", "https") and bool(split.hostname) and "@" not in uri and split.port != 0
    except ValueError:
        sound = False
    if not (place.startswith(PREFIX) and sound and re.fullmatch(r"[A-Za-z_]\w*", name or NAME, re.ASCII)):
        raise ValueError(
            f"--index: found {re.sub('//.*@', '//...@', place)}; expected milvus:http://HOST:PORT#COLLECTION, letters, digits "
            "and _; a name and a password go into MILVUS_TOKEN as NAME:PASSWORD"
        )
    return uri, name or NAME


def _head(name: str) -> str:
    return f"{name}_header"


def _read(place: str, texts: dict[int, str]) -> tuple[Header, Made]:
    try:
        said = json.loads(texts[0])
        inputs = [json.loads(texts[number]) for number in range(1, len(texts))]
        header: Any = {**said["header"], "inputs": inputs}
        made = said["made"]
        check_header(header)
        schema.check(made, Made)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{place}: its header is not one of this version ({error}); fill another collection from the folders"
        ) from None
    return header, made


def _sent(own: int, row: Row, vector: np.ndarray) -> dict[str, Any]:
    time = None if math.isnan(row.time) else row.time  # Milvus takes no NaN
    return {**row._asdict(), "id": own, "time": time, "box": list(row.box), "vector": vector}


def _condition(keep: Filter) -> str:
    """A filter as an expression of Milvus; a row without a time is in no comparison with one."""
    parts = [f"{column} in [{', '.join(map(_text, names))}]" for column, names in keep.names.items()]
    parts += [f"time >= {keep.start!r}"] if keep.start > -math.inf else []
    parts += [f"time <= {keep.end!r}"] if keep.end < math.inf else []
    return " and ".join(parts)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
