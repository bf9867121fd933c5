"""Adding to a store, and removing people and pictures from it so that nothing of them is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.data import files
from reid.vectors import index
from reid.vectors.search import check_same_model
from reid.vectors.store import Held, Shard, Store, input_of

KEYS = {"person": "person", "track": "track", "picture": "path"}  # what can be removed, and the column it stands in


def add(store: Store, other: Store) -> int:
    """Copies the rows of `other` into `store`; returns how many. They are searched from then on, by an index once it is
    built again. Raises ValueError as `check_can_add`."""
    _finished(store)
    check_can_add(store, other)
    with files.alone(store.folder.absolute()):
        start, added = store.num_shards, 0
        for number, shard in other.shards():
            store.put(store.path(start + number).name, other.path(number).read_bytes())
            added += len(shard.vectors)
        # The header last: until then the new shards are not part of the store.
        store.header["inputs"] += other.header["inputs"]
        store.write_header()
        store.write_refused()
    return added


def check_can_add(there: Held, other: Store) -> None:
    """Raises ValueError for vectors of another model or side, for an input that is there already, and for a store that is not
    finished."""
    said = other.header
    check_same_model(there, said["model"]["sha256"], said["preprocessing"], said["dim"])
    if there.header["side"] != said["side"]:
        raise ValueError(
            f"--add: found the side {said['side']} in {other}; expected {there.header['side']}, as in {there}"
        )
    _finished(other)
    listings = {each["listing"] for each in there.header["inputs"]}
    if listings & {each["listing"] for each in said["inputs"]}:
        raise ValueError(f"--add: found the pictures of {other} in {there} already; expected new ones")


def remove(store: Store, persons: Sequence[str] = (), tracks: Sequence[str] = (), pictures: Sequence[str] = ()) -> int:
    """Removes every row of these; returns how many. The shards that had one are written anew at once, so no search finds
    it again; an index still holds its code until `compact`.

    pictures: paths as rows have them, or absolute; the path of a video means all that was cut from it.
    Raises ValueError, and removes nothing, where one of them has no row.
    """
    _finished(store)
    asked = {"person": list(persons), "track": list(tracks), "picture": list(pictures)}
    with files.alone(store.folder.absolute()):
        _check_there(store, asked)
        removed = 0
        for number, shard in list(store.shards()):
            gone, refused_gone = _marked(store, number, shard, asked)
            if gone.any() or refused_gone.any():
                store.write(number, shard.without(gone, refused_gone))
            removed += int(gone.sum())
        store.write_refused()
        _clear_unlisted(store)
    return removed


def compact(store: Store) -> index.About | None:
    """Builds the index anew, if there is one, so that it holds no code of a row that was removed."""
    built = index.Index.open(store)
    store.clear(f".{index.GRAPH}.*")
    if built is None:
        return None
    least = index.LEAST[built.about["kind"]]
    return index.build(store, built.about["kind"] if store.num_rows >= least else "flat")


def _clear_unlisted(store: Store) -> None:
    """Deletes what a killed process left, half written or not yet listed in the header: it may hold the same people."""
    store.clear(".*.npz.*")
    for path in store.folder.glob("*.npz"):
        if int(path.stem) >= store.num_shards:
            path.unlink()


def _finished(store: Store) -> None:
    if store.missing():
        raise ValueError(
            f"vectors: {store.folder} has {len(store.numbers())} of {store.num_shards} shards; run reid embed to its end first"
        )


def _marked(store: Store, number: int, shard: Shard, asked: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) and (R,) bool: the rows, and the refused pictures, that are meant."""
    root = input_of(store.header, number)["root"]
    pictures = [relative(path, root) for path in asked["picture"]]
    wanted = {**asked, "picture": pictures}
    gone = np.zeros(len(shard.vectors), bool)
    refused_gone = np.zeros(len(shard.refused["path"]), bool)
    for kind, column in KEYS.items():
        if wanted[kind]:
            gone |= np.isin(shard.columns[column], wanted[kind])
            if column in shard.refused:
                refused_gone |= np.isin(shard.refused[column], wanted[kind])
    return gone, refused_gone


def _check_there(store: Store, asked: dict[str, list[str]]) -> None:
    missing = [(kind, name) for kind, names in asked.items() for name in names]
    for number, shard in store.shards():
        missing = [(k, n) for k, n in missing if not any(m.any() for m in _marked(store, number, shard, _only(k, n)))]
    check_found(missing, store)


def check_found(missing: Sequence[tuple[str, str]], there: Held) -> None:
    """Raises ValueError where there are any of these, (kind, name) each."""
    if missing:
        told = ", ".join(f"{kind} {name!r}" for kind, name in missing)
        raise ValueError(f"vectors: found no row of {told} in {there}; nothing was removed: look at the names")


def _only(kind: str, name: str) -> dict[str, list[str]]:
    return {**{each: [] for each in KEYS}, kind: [name]}


def relative(path: str, root: str) -> str:
    """A path as the rows below `root` have it; one that is not absolute, or not below it, as it is."""
    given = Path(path)
    return given.relative_to(root).as_posix() if given.is_absolute() and given.is_relative_to(root) else path
