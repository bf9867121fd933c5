"""The card beside exported graphs: all that a user of the vectors must know, as `card.json` and as `card.md` to be read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

from reid import schema
from reid.export import words

FORMAT, VERSION = "reid export", 1
JSON_NAME, MARKDOWN_NAME = "card.json", "card.md"
LARGEST = 4096  # side of a picture that a card may ask for

Card = dict[str, Any]  # a `Content`


class Pixels(TypedDict):
    mean: list[float]
    std: list[float]


class Normalise(Pixels):
    scale: float


class OldInput(TypedDict):
    name: str
    size: list[int]  # height, width
    channels: str
    type: str
    values: str
    normalise: Normalise | None
    interpolation: str
    crop: float


class Input(OldInput, total=False):  # what release 0.1.0 does not write may be missing
    inside: Pixels | None


class Output(TypedDict):
    name: str
    dim: int
    unit_length: bool
    score: str
    flip: bool


class OldGraph(TypedDict):
    format: str
    side: str
    files: dict[str, str]  # name -> sha256; the file to open comes first
    differences: list[float]


class Graph(OldGraph, total=False):
    cosine: dict[str, float]  # `mean` and `least`, to float32; of a lower precision alone
    spared: int  # first layers of an int8 graph that are in float32


class Precision(TypedDict):
    name: str  # fp16 or int8
    compared: str  # on which pictures, with float32
    calibrated: str | None  # on which pictures
    scores: list[dict[str, Any]]  # rows of results, of float32 and then of this, where they were asked for


class Check(TypedDict):
    pictures: str
    batches: list[int]
    limit: float


class OldTraining(TypedDict):
    checkpoint: str
    sha256: str
    step: int
    method: dict[str, Any]
    backbone: str
    pretrained: str
    sources: list[dict[str, str]]
    protocol: dict[str, Any]
    fingerprint: str
    results: list[dict[str, Any]]


class Training(OldTraining, total=False):
    plugins: list[dict[str, str]]
    norms: list[str]
    notes: list[str]  # of the run: what else it learned from, and of its sources
    average: float
    processes: int


class OldContent(TypedDict):
    format: str
    version: int
    reid: str
    input: Input
    output: Output
    asymmetric: bool
    graphs: list[Graph]
    check: Check
    training: Training


class Content(OldContent, total=False):
    """What `card.json` holds."""

    bilinear: dict[str, Any] | None
    precision: Precision  # where it is not float32
    calibration: list[dict[str, Any]]  # of `reid.vectors.calibrate`, where one was made


def describe_input(input_kind: str, instance_norm: bool, mean: list[float], std: list[float]) -> Card:
    """What stands between a picture's bytes and the network. `normalise`: `scale`, `mean` and `std` that are the caller's
    to apply. `inside`: mean and deviation, of values in 0..1, that the graph applies itself."""
    if input_kind == "uint8":
        inside = None if instance_norm else {"mean": mean, "std": std}
        values = "0..255, as decoded; everything else happens inside"
        return {"type": "uint8", "values": values, "normalise": None, "inside": inside}
    if instance_norm:
        values = "0..1: bytes / 255 and nothing more; each picture is normalised by itself inside"
        mean, std = [0.0] * 3, [1.0] * 3
    else:
        values = "(bytes / 255 - mean) / std, a channel each"
    normalise = {"scale": 255, "mean": mean, "std": std}
    return {"type": "float32", "values": values, "normalise": normalise, "inside": None}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return sha.hexdigest()


def digest(graphs: list[Card]) -> str:
    """sha256 of the sha256 of all files of `graphs`, entries of a card."""
    return hashlib.sha256("".join(sha for graph in graphs for sha in graph["files"].values()).encode()).hexdigest()


def read(folder: Path) -> Card:
    """The card of an export. Raises FileNotFoundError, or ValueError for one that is broken, malformed or of another version."""
    path = folder / JSON_NAME
    if not path.is_file():
        raise FileNotFoundError(f"export: found no {path}; expected a folder written by reid export")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"export: {path} is not JSON ({error}); export the checkpoint again") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ValueError(f"export: {path} is not a card of this toolkit; export the checkpoint again")
    if card.get("version") != VERSION:
        raise ValueError(
            f"export: {path} has format version {card.get('version')}; this release reads version {VERSION}: "
            "export the checkpoint again"
        )
    try:
        _check(card)
    except ValueError as error:
        raise ValueError(f"export: {path} is malformed: {error}; export the checkpoint again") from None
    return card


def _check(card: Card) -> None:
    schema.check(card, Content)
    if not isinstance(card["training"]["method"].get("NAME"), str):
        raise ValueError(f"training.method is {card['training']['method']}, expected a NAME in it")
    inputs, sides = card["input"], [graph["side"] for graph in card["graphs"]]
    expected = {"query", "gallery"} if card["asymmetric"] else {"both"}
    if set(sides) != expected:
        raise ValueError(f"its graphs are of the sides {sorted(set(sides))}, expected {sorted(expected)}")
    if not all(graph["files"] for graph in card["graphs"]):
        raise ValueError("a graph has no files")
    if len(inputs["size"]) != 2 or not all(1 <= side <= LARGEST for side in inputs["size"]):
        raise ValueError(f"input.size is {inputs['size']}, expected height and width from 1 to {LARGEST:,}")
    for name in ("normalise", "inside"):
        if (pixels := inputs.get(name)) and not len(pixels["mean"]) == len(pixels["std"]) == 3:
            raise ValueError(f"input.{name} is {pixels}, expected a mean and a std of each of three channels")


def write(folder: Path, card: Card) -> None:
    """Both forms of the card, into `folder`. Raises ValueError for one that is no `Content`."""
    _check(card)
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / JSON_NAME).write_text(text + "\n", encoding="utf-8")
    (folder / MARKDOWN_NAME).write_text(words.markdown(card), encoding="utf-8")
