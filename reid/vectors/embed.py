"""From a source to a store: shard after shard, going on exactly where it was broken off."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import reid
from reid.vectors import store as stores
from reid.vectors.rows import Row, columns
from reid.vectors.sources import Load, Source
from reid.vectors.store import Header, Shard, Store

Prepared = tuple[int, Row, np.ndarray | str]  # position, row, and the picture (H, W, 3) or why there is none


def begin(
    folder: str | Path, source: Source, model: Mapping[str, Any], *, side: str, dim: int, shard: int, batch: int
) -> Store:
    """The store in `folder`: made for `source`, or the one that was begun for it.

    model: `sha256`, `about`, `path`, `preprocessing`, `terms`, `calibration`, see `reid.export.model.Model.identity`.
    Raises ValueError where the folder holds something else, or vectors of another model, list or size of shard.
    """
    if shard < 1 or batch < 1:
        raise ValueError(f"embed: found {shard} pictures a shard and {batch} a batch; expected 1 or more")
    header: Header = {
        "format": stores.FORMAT,
        "version": stores.VERSION,
        "reid": reid.__version__,
        "model": {key: model[key] for key in ("sha256", "about", "path")},
        "side": side,
        "preprocessing": model["preprocessing"],
        "dim": dim,
        "terms": model["terms"],
        "calibration": model["calibration"],
        "shard": shard,
        "batch": batch,
        "inputs": [
            {
                "root": str(source.root.absolute()),
                "listing": source.listing(),
                "first_frame": source.first_frame,
                "pictures": len(source.rows),
                "shards": -(-len(source.rows) // shard),
            }
        ],
    }
    folder = Path(folder)
    if (folder / stores.HEADER).is_file():
        store = Store.open(folder)
        _check_same(store, header)
        return store
    if folder.exists() and (not folder.is_dir() or any(not path.name.startswith(".") for path in folder.iterdir())):
        raise ValueError(f"--output: found {folder}, which holds something else; expected a name that is free")
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(folder, header)
    store.write_header()
    return store


def _check_same(store: Store, header: Header) -> None:
    """Raises ValueError, naming what differs, where going on would mix two things."""
    pairs: dict[str, tuple[Any, Any]] = {
        "model (sha256)": (store.header["model"]["sha256"], header["model"]["sha256"]),
        "list of pictures (sha256)": (store.header["inputs"][0]["listing"], header["inputs"][0]["listing"]),
    }
    for key in ("side", "preprocessing", "dim", "shard", "batch"):
        pairs[key] = (store.header[key], header[key])
    for name, (found, asked) in pairs.items():
        if found != asked:
            raise ValueError(
                f"--output: {store.folder} was begun with another {name}: {_short(found)}, not {_short(asked)}; expected "
                "the same command, or a folder of its own"
            )


def _short(value: Any) -> str:
    return str(value)[:16] if isinstance(value, str) else str(value)


def embed(
    source: Source,
    store: Store,
    encode: Callable[[np.ndarray], np.ndarray],
    transform: Callable[[np.ndarray], np.ndarray],
    *,
    workers: int,
) -> None:
    """Embeds what the store does not have yet of the source it was begun with. A picture that cannot be read, or whose
    vector is not finite, becomes an entry of the shard's `refused`.

    encode: (B, H, W, 3) uint8 RGB -> (B, D) float32. transform: from a picture to (H, W, 3), called in threads.
    workers: threads that read and decode. They need no more: OpenCV works outside of Python's lock.
    Where torchrun started several processes, each takes its share of the shards; a shard depends on none but its pictures.
    Batches end where shards do, so an embedding that was broken off gives the bytes of an unbroken one.
    """
    from tqdm import tqdm  # here, so that opening an export needs no more than reading one

    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    size, batch = store.header["shard"], store.header["batch"]
    num_shards = store.header["inputs"][0]["shards"]
    missing = [number for number in store.missing() if number < num_shards and number % world == rank]
    spans = {number: range(number * size, min((number + 1) * size, len(source.rows))) for number in missing}
    positions = [i for span in spans.values() for i in span]
    bar = tqdm(total=len(positions), desc="embed", unit="img", disable=True if rank else None, mininterval=0.5)
    with bar, ThreadPoolExecutor(max(workers, 1)) as pool:
        prepared = _prepared(source, positions, transform, pool, ahead=4 * batch)
        for number, span in spans.items():
            store.write(number, _shard(islice(prepared, len(span)), encode, batch, store.header["dim"], bar.update))


def in_memory(
    source: Source,
    encode: Callable[[np.ndarray], np.ndarray],
    transform: Callable[[np.ndarray], np.ndarray],
    *,
    dim: int,
    batch: int,
    workers: int,
) -> Shard:
    """A whole source as one shard that is written nowhere: for queries."""
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        prepared = _prepared(source, list(range(len(source.rows))), transform, pool, ahead=4 * batch)
        return _shard(prepared, encode, batch, dim)


def _prepared(
    source: Source,
    positions: list[int],
    transform: Callable[[np.ndarray], np.ndarray],
    pool: ThreadPoolExecutor,
    ahead: int,
) -> Iterator[Prepared]:
    """In order; no more than `ahead` pictures are held."""
    waiting: deque[tuple[int, Future[np.ndarray | str]]] = deque()
    for position, load in zip(positions, source.load(positions), strict=True):
        waiting.append((position, pool.submit(_prepare, load, transform)))
        if len(waiting) == ahead:
            first, future = waiting.popleft()
            yield first, source.rows[first], future.result()
    for position, future in waiting:
        yield position, source.rows[position], future.result()


def _prepare(load: Load, transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | str:
    try:
        return transform(load())
    except (ValueError, OSError, cv2.error) as error:
        return str(error)


def _shard(
    prepared: Iterable[Prepared],
    encode: Callable[[np.ndarray], np.ndarray],
    batch: int,
    dim: int,
    after_each: Callable[[], object] = lambda: None,
) -> Shard:
    vectors, kept, refused = [np.empty((0, dim), np.float32)], [], []
    waiting: list[tuple[int, Row, np.ndarray]] = []

    def flush() -> None:
        if not waiting:
            return
        rows = encode(np.stack([picture for _, _, picture in waiting])).astype(np.float32, copy=False)
        finite = [bool(np.isfinite(row).all()) for row in rows]
        vectors.append(rows[finite])
        for (position, row, _), sound in zip(waiting, finite, strict=True):
            if sound:
                kept.append((position, row))
            else:
                refused.append((position, row, "its vector is not finite: look at the picture and the weights"))
        waiting.clear()

    for position, row, picture in prepared:
        if isinstance(picture, str):
            refused.append((position, row, picture))
        else:
            waiting.append((position, row, picture))
        if len(waiting) == batch:
            flush()
        after_each()
    flush()
    refused.sort()
    told = {
        "path": [row.path for _, row, _ in refused],
        "person": [row.person for _, row, _ in refused],
        "reason": [reason for _, _, reason in refused],
    }
    made = {"position": np.array([position for position, _ in kept], np.int64), **columns([row for _, row in kept])}
    return Shard(np.concatenate(vectors), made, {name: np.array(values, str) for name, values in told.items()})
