"""What is looked for in a store: pictures, embedded as queries by the model that made the store, or vectors that are there already."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reid import escape
from reid.data import records
from reid.export.model import Model
from reid.vectors import search, sources
from reid.vectors.search import Hit
from reid.vectors.store import HEADER, Held, Store

log = logging.getLogger("reid")


def read(store: Held, query: str | Path, load: Callable[[str], Model], *, workers: int) -> tuple[np.ndarray, list[Hit]]:
    """Vectors (Q, D) float32, and what each is.

    query: a picture, what `reid.vectors.sources.find` takes, or a folder of vectors. load: opens a model, given where the
        store's lay; asked only where there is something to embed. Pictures that cannot be read are logged and left out.
    Raises ValueError for another model or preprocessing than the store's, for the wrong side, and where nothing is left.
    """
    if store.header["side"] == "query":
        raise ValueError(f"search: found the query side in {store}; expected the gallery's: embed --side gallery")
    if (Path(query) / HEADER).is_file():
        return _stored(store, Store.open(query))
    is_picture = Path(query).suffix.lower() in records.IMAGE_SUFFIXES
    source = sources.picture(query) if is_picture else sources.find(query)
    model = load(store.header["model"]["path"])
    identity = model.identity()
    search.check_same_model(store, identity["sha256"], identity["preprocessing"], model.dim)
    shard = model.embed_source(source, workers=workers)
    refused = list(zip(shard.refused["path"].tolist(), shard.refused["reason"].tolist(), strict=True))
    for path, reason in refused:
        log.warning("passed over: %s: %s", escape.line(path), reason)
    if not len(shard.vectors):
        raise ValueError(f"--query: found no picture in {query} that can be read; {refused[0][1]}")
    return shard.vectors, [Hit(row, str(source.root), source.first_frame) for row in search.rows(shard)]


def _stored(store: Held, other: Store) -> tuple[np.ndarray, list[Hit]]:
    header = other.header
    search.check_same_model(store, header["model"]["sha256"], header["preprocessing"], header["dim"])
    if header["side"] == "gallery":
        raise ValueError(f"--query: found the gallery side in {other.folder}; expected the query's: embed --side query")
    shards = list(other.shards())
    if not shards:
        raise ValueError(f"--query: found no shard in {other.folder}; run reid embed to its end first")
    hits = [hit for number, shard in shards for hit in search.hits_of(other, number, shard)]
    return np.concatenate([shard.vectors for _, shard in shards]), hits
