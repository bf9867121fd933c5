"""A folder of vectors: `header.json`, and shards that are there whole or not at all.

A shard is one file, numpy's own archive, so that one rename commits vectors and rows together: `numpy.load("000000.npz")`
gives `vectors` (N, D) float32, `position` (N,) int64, a column for each field of `rows.Row`, and `refused_path`,
`refused_person`, `refused_reason` of the pictures that gave no vector. Nothing in it is packed, so the vectors are mapped
from disk where they lie.
"""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict

import numpy as np

from reid import escape, schema
from reid.data import files

FORMAT, VERSION = "reid vectors", 1
HEADER, REFUSED, PREFIX = "header.json", "refused.csv", "refused_"


class Input(TypedDict):
    """One input: what its rows' paths are relative to, its list of pictures by sha256, how many, in how many shards; of a
    video the number of its first frame."""

    root: str
    listing: str
    first_frame: int
    pictures: int
    shards: int


class Header(TypedDict):
    """calibration: of `reid.vectors.calibrate`, where one was made. model: sha256 of the checkpoint, `about`, `path` where it lay. side: query, gallery, or both where they are one.
    preprocessing: what was done to pictures. terms: of the sets it learned from. shard, batch: pictures in each."""

    format: str
    version: int
    reid: str
    model: dict[str, str]
    side: str
    preprocessing: dict[str, Any]
    dim: int
    terms: list[dict[str, str]]
    calibration: list[Any]
    shard: int
    batch: int
    inputs: list[Input]


class Held(Protocol):
    """Vectors that are kept: a `Store`, or a collection of Milvus. `str` says where."""

    header: Header


def check_header(header: Any) -> None:
    """Raises ValueError for what is no header of this version."""
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        found = header if isinstance(header, dict) else {}
        raise ValueError(f"found format {found.get('format')!r}, version {found.get('version')!r}")
    schema.check(header, Header)


def input_of(header: Header, number: int) -> Input:
    """The input that the rows of a shard come from."""
    for each in header["inputs"]:
        if number < each["shards"]:
            return each
        number -= each["shards"]
    raise IndexError(number)


@dataclass(frozen=True)
class Shard:
    """vectors: (N, D) float32. columns: (N, ...) each, by name. refused: (R,) each: path, person, reason."""

    vectors: np.ndarray
    columns: dict[str, np.ndarray]
    refused: dict[str, np.ndarray]

    def without(self, gone: np.ndarray, refused_gone: np.ndarray) -> Shard:
        """The shard without the rows that are marked; masks (N,) and (R,) bool."""
        return Shard(
            self.vectors[~gone],
            {name: values[~gone] for name, values in self.columns.items()},
            {name: values[~refused_gone] for name, values in self.refused.items()},
        )


class Store:
    """The vectors in `folder`, as its header says."""

    def __init__(self, folder: str | Path, header: Header) -> None:
        self.folder, self.header = Path(folder), header

    def __str__(self) -> str:
        return str(self.folder)

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """Raises FileNotFoundError, or ValueError for a header that does not fit."""
        path = Path(folder) / HEADER
        if not path.is_file():
            raise FileNotFoundError(f"vectors: found no {path}; expected a folder written by reid embed")
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
            check_header(header)
        except ValueError as error:
            raise ValueError(
                f"vectors: {path} is no header of version {VERSION} ({error}); embed the pictures again into a new folder"
            ) from None
        return cls(folder, header)

    @property
    def num_shards(self) -> int:
        """How many there are once all is embedded."""
        return sum(each["shards"] for each in self.header["inputs"])

    @property
    def num_rows(self) -> int:
        return sum(len(self.read(number, "position").vectors) for number in self.numbers())

    def numbers(self) -> list[int]:
        """Of the shards that are there, ascending."""
        return [number for number in range(self.num_shards) if self.path(number).is_file()]

    def missing(self) -> list[int]:
        return [number for number in range(self.num_shards) if not self.path(number).is_file()]

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def shards(self) -> Iterator[tuple[int, Shard]]:
        """(number, shard) of each that is there, one at a time, its vectors mapped from disk."""
        for number in self.numbers():
            yield number, self.read(number)

    def read(self, number: int, *names: str) -> Shard:
        """One shard; with `names` only these of its columns, and none of what was refused. Raises ValueError for a file that is not one."""
        path = self.path(number)
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = {name: file[name] for name in names or file.files if name != "vectors"}
            vectors = _mapped(path, "vectors.npy")
            lengths = {len(values) for name, values in found.items() if not name.startswith(PREFIX)}
            if vectors.dtype != np.float32 or vectors.shape[1:] != (self.header["dim"],) or lengths != {len(vectors)}:
                raise ValueError(f"vectors {vectors.dtype} {vectors.shape}")
        except (zipfile.BadZipFile, ValueError, KeyError, EOFError, struct.error) as error:
            raise ValueError(f"{path}: found a damaged shard ({error}); delete it and run reid embed again") from None
        refused = {name.removeprefix(PREFIX): found.pop(name) for name in list(found) if name.startswith(PREFIX)}
        return Shard(vectors, found, refused)

    def write(self, number: int, shard: Shard) -> None:
        refused = {f"{PREFIX}{name}": values for name, values in shard.refused.items()}
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, vectors=shard.vectors, **shard.columns, **refused)
        self.put(self.path(number).name, content.getvalue())

    def write_header(self) -> None:
        text = json.dumps(self.header, indent=2, ensure_ascii=False)
        self.put(HEADER, f"{text}\n".encode())

    def write_refused(self) -> int:
        """Writes the pictures that gave no vector, with the reason for each, as a list; returns how many they are."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["path", "reason"])
        number = 0
        for _, shard in self.shards():
            for path, reason in zip(shard.refused["path"].tolist(), shard.refused["reason"].tolist(), strict=True):
                lines.writerow([escape.csv(path), escape.csv(reason)])
                number += 1
        self.put(REFUSED, text.getvalue().encode())
        return number

    def put(self, name: str, content: bytes) -> None:
        """Writes a file of the folder whole or not at all. Raises OSError saying what is left where the disk is full."""
        path = self.folder / name
        self.clear(f".{name}.*")  # what a process left that was killed
        try:
            files.write(path, content)
        except OSError as error:
            self.clear(f".{name}.*")
            raise OSError(
                f"{path}: could not be written ({error.strerror}); the {len(self.numbers())} shards that are there are whole: "
                "make room and run the same command again"
            ) from None

    def clear(self, pattern: str) -> None:
        for left in self.folder.glob(pattern):
            left.unlink(missing_ok=True)


def _mapped(path: Path, member: str) -> np.ndarray:
    """An array of an archive that is not packed, mapped from disk."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    with path.open("rb") as file:
        file.seek(
            info.header_offset + 26
        )  # of a zip file's entry: the lengths of its name and its extra field, then both
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        offset = file.tell()
    return np.memmap(path, dtype, "r", offset, shape) if np.prod(shape) else np.empty(shape, dtype)
