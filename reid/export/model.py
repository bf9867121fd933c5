"""A trained method to be used: pictures in, vectors and scores out, from a checkpoint or from an export alike."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from reid import shipped
from reid.data import records, transforms
from reid.data.pictures import decode
from reid.export import card as cards
from reid.export import runners
from reid.vectors import embed as embedding
from reid.vectors import sources
from reid.vectors.sources import Source
from reid.vectors.store import Shard, Store

if TYPE_CHECKING:  # an ONNX export is opened without torch
    from torch import nn

SIDES = ("query", "gallery")

Encode = Callable[[np.ndarray], np.ndarray]  # (B, 3, H, W) uint8 RGB -> (B, D) float32
Picture = str | os.PathLike | np.ndarray  # a file, or (H, W, 3) uint8 RGB


class Identity(TypedDict):
    """sha256: of the checkpoint, also where an export of it in float32 is open; of the graphs' own in a lower precision, whose
    vectors are others. path: where it was opened. preprocessing: what is
    done to a picture. terms: name, title, terms, page and status of each set that it learned from. calibration: what
    `reid calibrate` wrote into an export's card."""

    sha256: str
    about: str
    path: str
    preprocessing: dict[str, Any]
    terms: list[dict[str, str]]
    calibration: list[Any]


class Model:
    """What `reid.load` returns.

    Args:
        sides: `query` and `gallery`: how pictures of that side become vectors; the same function where there is one.
        transform: from a picture of any size to the (H, W, 3) that the encoder takes, as in scoring.
        dim: D, the vectors' length.
        about: what `repr` says.
        encoder: the torch module of a checkpoint, in evaluation mode; None for an export.
        identity: gives what vectors of this model carry, see `identity`; asked for when it is needed.
    """

    def __init__(
        self,
        sides: Mapping[str, Encode],
        transform: Callable[[np.ndarray], np.ndarray],
        *,
        dim: int,
        about: str = "",
        encoder: nn.Module | None = None,
        identity: Callable[[], Identity] | None = None,
    ) -> None:
        self.sides, self.transform, self.dim, self.about = dict(sides), transform, dim, about
        self._encoder, self._identity = encoder, identity

    def __repr__(self) -> str:
        return f"<{self.about}, {self.dim}-d>"

    @property
    def encoder(self) -> nn.Module:
        """The torch module: `encoder(images (B, 3, H, W) uint8 RGB)`. Raises AttributeError for an export, which has none."""
        if self._encoder is None:
            raise AttributeError(
                f"encoder: found {self!r}, an export; expected a checkpoint: open the .pth it came from"
            )
        return self._encoder

    def identity(self) -> Identity:
        """By what vectors tell whose they are: equal for a checkpoint and its exports. Raises ValueError for a model that
        was made by hand."""
        if self._identity is None:
            raise ValueError(f"identity: found {self!r}, made by hand; expected a model that reid.load opened")
        return self._identity()

    @property
    def asymmetric(self) -> bool:
        """Whether a picture has one vector as a query and another in the gallery."""
        return self.sides["query"] is not self.sides["gallery"]

    def embed(
        self, pictures: Sequence[Picture] | np.ndarray, *, side: str = "query", batch_size: int = 64
    ) -> np.ndarray:
        """pictures (paths, or (H, W, 3) uint8 RGB arrays of any size) -> (N, D) float32, to be scored by inner product.

        Raises FileNotFoundError, or ValueError for what is not a picture; the message names the file or the position.
        """
        if side not in SIDES:
            raise ValueError(f"embed: no side {side}; there are {', '.join(SIDES)}")
        if isinstance(pictures, (str, os.PathLike)):
            raise ValueError(f"embed: found the single path {os.fspath(pictures)}; expected a list: [path]")
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(pictures), batch_size):
            numbers = range(start, min(start + batch_size, len(pictures)))
            images = np.stack([self.transform(_picture(pictures[i], i)) for i in numbers])  # (B, H, W, 3)
            rows.append(self._encode(images, self.sides[side]))
        return np.concatenate(rows)

    def embed_many(
        self,
        pictures: str | Path | Source,
        output: str | Path,
        *,
        side: str = "gallery",
        batch_size: int = 64,
        workers: int = 2,
        shard: int = 8192,
    ) -> Store:
        """Embeds a folder of any depth, a list, an archive or any other `Source` into the folder `output`, and goes on
        where it was broken off; see `reid.vectors`. One bad picture costs no other: `refused.csv` lists them.

        pictures: what `reid.vectors.sources.find` takes, or what it or `reid.vectors.video.find` gave.
        side: of a model whose sides differ. workers: threads that read and decode. shard: pictures per file.
        Raises FileNotFoundError, ValueError or OSError, before any work but for a disk that is full.
        """
        source = pictures if isinstance(pictures, Source) else sources.find(pictures)
        if side not in SIDES:
            raise ValueError(f"embed: no side {side}; there are {', '.join(SIDES)}")
        said = side if self.asymmetric else "both"
        store = embedding.begin(output, source, self.identity(), side=said, dim=self.dim, shard=shard, batch=batch_size)
        encode = functools.partial(self._encode, encode=self.sides[side])
        embedding.embed(source, store, encode, self.transform, workers=workers)
        if not store.missing():  # the last of several processes says so
            store.write_refused()
        return store

    def embed_source(self, source: Source, *, side: str = "query", batch_size: int = 64, workers: int = 2) -> Shard:
        """Vectors and rows of a `reid.vectors.sources.Source`, in memory: queries for a store."""
        encode = functools.partial(self._encode, encode=self.sides[side])
        return embedding.in_memory(source, encode, self.transform, dim=self.dim, batch=batch_size, workers=workers)

    def similarity(self, a: Sequence[Picture] | np.ndarray, b: Sequence[Picture] | np.ndarray) -> np.ndarray:
        """(len(a), len(b)) float32, higher is more alike: `a` as queries, `b` as a gallery.

        Each is what `embed` takes, or (N, D) float32 vectors that `embed` returned for that side.
        """
        return self._vectors(a, "query") @ self._vectors(b, "gallery").T

    def _vectors(self, items: Sequence[Picture] | np.ndarray, side: str) -> np.ndarray:
        if not (isinstance(items, np.ndarray) and np.issubdtype(items.dtype, np.floating)):
            return self.embed(items, side=side)
        if items.ndim != 2 or items.shape[1] != self.dim:
            raise ValueError(f"similarity: found vectors {items.shape} for the {side}; expected (N, {self.dim})")
        return items.astype(np.float32, copy=False)

    def _encode(self, images: np.ndarray, encode: Encode) -> np.ndarray:
        """images (B, H, W, 3) -> (B, D)"""
        return encode(images.transpose(0, 3, 1, 2))


def load(path: str | Path, device: str = "auto") -> Model:
    """Opens an export: its folder, or one of its graph files, which chooses the format. It runs on the CPU.

    Raises FileNotFoundError, or ValueError for a card or a graph that does not fit, and where a package is missing.
    """
    path = Path(path)
    if not path.exists() and not (path.parent / cards.JSON_NAME).is_file():
        raise FileNotFoundError(
            f"load: found no {path}; expected a checkpoint (.pth), an export's folder or a graph in it, {shipped.known()}"
        )
    suffixes = [form.suffix for form in runners.FORMATS.values()]
    if path.suffix not in suffixes and not path.is_dir() and path.exists():
        raise ValueError(f"load: found the file {path}; expected .pth, {', '.join(suffixes)} or an export's folder")
    if device not in ("auto", "cpu"):
        raise ValueError(f"load: device {device} is for checkpoints; an export runs on the CPU: leave device out")
    folder = path if path.is_dir() else path.parent
    card = cards.read(folder)
    name = card["graphs"][0]["format"] if path.is_dir() else _format_of(path, card)
    graphs = [graph for graph in card["graphs"] if graph["format"] == name]
    inputs = card["input"]
    transform = transforms.Test(tuple(inputs["size"]), inputs["interpolation"], inputs["crop"])
    opened = {graph["side"]: _open(folder, graph, card) for graph in graphs}
    sides = {side: opened.get(side) or opened["both"] for side in SIDES}
    lower = card["precision"]["name"] if "precision" in card else ""
    about = (
        f"{card['training']['method']['NAME']} on {card['training']['backbone']} from {name}{lower and f' in {lower}'}"
    )
    preprocessing = {key: inputs[key] for key in ("size", "interpolation", "crop")}

    def identity() -> Identity:
        return {
            "sha256": cards.digest(graphs) if lower else card["training"]["sha256"],
            "about": about,
            "path": str(path.absolute()),
            "preprocessing": {**preprocessing, "flip": card["output"]["flip"]},
            "terms": card["training"]["sources"],
            "calibration": card.get("calibration", []),
        }

    return Model(sides, transform, dim=card["output"]["dim"], about=about, identity=identity)


def _format_of(path: Path, card: dict[str, Any]) -> str:
    for graph in card["graphs"]:
        if path.name in graph["files"]:
            return graph["format"]
    known = ", ".join(name for graph in card["graphs"] for name in graph["files"])
    raise ValueError(f"export: {path.name} is not in the card of {path.parent}, which has {known}")


def _open(folder: Path, graph: dict[str, Any], card: dict[str, Any]) -> Encode:
    """The graph as a function, tried on a black picture."""
    if graph["format"] not in runners.FORMATS:
        raise ValueError(
            f"export: {folder} has a graph of the format {graph['format']}; there are {', '.join(runners.FORMATS)}"
        )
    runners.require(graph["format"], runners.FORMATS[graph["format"]].opens)
    paths = [records.below(folder, name) for name in graph["files"]]
    for path, expected in zip(paths, graph["files"].values(), strict=True):
        found = cards.sha256(path) if path.is_file() else "no such file"
        if found != expected:
            raise ValueError(
                f"export: {path} is not the graph of its card: found sha256 {found[:16]}, expected {expected[:16]}; "
                "export the checkpoint again"
            )
    try:
        run = runners.normalised(runners.start(graph["format"], paths[0]), card["input"]["normalise"])
        vector = run(np.zeros((1, 3, *card["input"]["size"]), np.uint8))
    except Exception as error:  # whatever the programs that run graphs make of one
        raise ValueError(
            f"export: {paths[0]} cannot be run ({_first_line(error)}); export the checkpoint again"
        ) from None
    if vector.shape != (1, card["output"]["dim"]) or vector.dtype != np.float32 or not np.isfinite(vector).all():
        raise ValueError(
            f"export: {paths[0]} gives {vector.dtype} {vector.shape} for a black picture; expected finite float32 "
            f"(1, {card['output']['dim']}): export the checkpoint again"
        )
    return run


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _picture(picture: Picture, number: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB of what a caller gave."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"embed: picture {number} is a {picture.dtype} array {picture.shape}; expected uint8 (H, W, 3) RGB"
            )
        return picture
    path = os.fspath(picture)
    try:
        data = records.read(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: found no such file, expected a picture") from None
    image = decode(data)
    if image is None:
        raise ValueError(f"{path}: found {len(data):,} bytes that are no picture OpenCV can decode; take it out")
    return image
