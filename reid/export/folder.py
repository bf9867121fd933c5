"""An export's folder: graphs written out of sight, checked against torch on pictures, then moved to their names with a card."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import reid
from reid import runtime
from reid.export import card as cards
from reid.export import graphs, runners
from reid.export.card import Card
from reid.export.runners import FORMATS
from reid.methods import Method
from reid.models.encoder import Encoder

UNIT = 1e-3  # how far from 1 the lengths may lie for the rows to count as normalised
BATCHES = (1, 2, 5)  # sizes that each graph is run with
NUM_PICTURES = sum(BATCHES)
LIMIT = 1e-4  # float32 leaves 1e-7 to 1e-5 over a hundred layers; half precision, or a wrong mean, 1e-3 and more


def check_request(output: Path, formats: Sequence[str], input_kind: str, opset: int) -> None:
    """Raises ValueError, before any work, for what cannot be written here."""
    for option, found, known in (("--format", formats, FORMATS), ("--input", [input_kind], graphs.INPUT_KINDS)):
        unknown = [name for name in found if name not in known]
        if unknown or not found:
            raise ValueError(f"{option}: no {', '.join(unknown) or 'name given'}; there are {', '.join(known)}")
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output: found the file {output}; expected a folder, or a name that is free")
    for name in formats:
        runners.require(name, FORMATS[name].writes)
    if {"onnx", "openvino"} & set(formats):
        graphs.check_opset(opset)


def check_method(method: Method) -> None:
    """Raises ValueError for a method whose vectors alone do not give its scores."""
    if not method.inner_product:
        raise ValueError(
            f"{type(method).__name__}: its score is no inner product of two vectors, so that vectors by themselves are of no "
            "use to other programs; expected a method whose score is one"
        )


def write(
    method: Method,
    output: Path,
    *,
    formats: Sequence[str] = ("onnx",),
    input_kind: str = "float",
    opset: int = graphs.OPSET,
    pictures: Tensor,
    about: Card,
) -> Card:
    """Writes `method`, which is left in evaluation mode, into the folder `output`; returns the card written beside it.

    pictures: (8, 3, H, W) uint8 RGB, what the graphs are checked on; H and W become the graphs' own.
    about: what the card says of pictures (`interpolation`, `crop`, `flip`, `pictures`, `bilinear`) and of `training`.
    Raises ValueError for what cannot be written, and for a graph whose vectors are not torch's: nothing of it is kept,
    and what `output` held before is still there.
    """
    check_request(output, formats, input_kind, opset)
    check_method(method)
    method.eval()
    height, width = pictures.shape[2:]
    sides = ("query", "gallery") if method.asymmetric else ("both",)
    expected = {side: _vectors(method, side, pictures) for side in sides}
    card = _card(method, input_kind, pictures, expected[sides[0]], about)
    notes = {f"reid.{key}": json.dumps(card[key]) for key in ("input", "output")}
    output.parent.mkdir(parents=True, exist_ok=True)
    # On the same disk as `output`, or moving would be copying; a refused export leaves no empty folder behind.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output if output.is_dir() else output.parent) as unseen:
        place = Path(unseen)
        for side in sides:
            graph = graphs.trace(method, side, size=(height, width), input_kind=input_kind)
            for name in dict.fromkeys(formats):
                path = place / f"{'model' if side == 'both' else side}{FORMATS[name].suffix}"
                graphs.write(name, graph, path, opset=opset, notes=notes)
                differences = _check(name, path, expected[side], pictures, card["input"]["normalise"])
                card["graphs"].append(_entry(name, side, path, differences))
        cards.write(place, card)
        output.mkdir(exist_ok=True)
        # The card last: it carries the graphs' sha256, so that a half-moved export is not taken for a whole one.
        for path in sorted(place.iterdir(), key=lambda path: path.name == cards.JSON_NAME):
            path.replace(output / path.name)
    return card


def _vectors(method: Method, side: str, pictures: Tensor) -> np.ndarray:
    encode = method.encode_gallery if side == "gallery" else method.encode_query
    with torch.inference_mode():
        return encode(pictures).numpy()


def _card(method: Method, input_kind: str, pictures: Tensor, vectors: np.ndarray, about: Card) -> Card:
    encoder = method.encoder
    assert isinstance(encoder, Encoder), f"methods encode with an Encoder, not a {type(encoder).__name__}"
    mean, std = map(list, encoder.pixels)
    return {
        "format": cards.FORMAT,
        "version": cards.VERSION,
        "reid": reid.__version__,
        "input": {
            "name": runners.INPUT,
            "size": list(pictures.shape[2:]),
            "channels": "RGB",
            **cards.describe_input(input_kind, encoder.instance_norm, mean, std),
            "interpolation": about["interpolation"],
            "crop": about["crop"],
        },
        "output": {
            "name": runners.OUTPUT,
            "dim": vectors.shape[1],
            "unit_length": bool((abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT).all()),
            "score": "inner product",
            "flip": about["flip"],
        },
        "asymmetric": method.asymmetric,
        "bilinear": about["bilinear"],
        "graphs": [],
        "check": {"pictures": about["pictures"], "batches": list(BATCHES), "limit": LIMIT},
        "training": about["training"],
    }


def _check(name: str, path: Path, expected: np.ndarray, pictures: Tensor, normalise: Card | None) -> list[float]:
    """The largest difference from torch in each of BATCHES. Raises ValueError where one is past LIMIT, or no number."""
    run = runners.normalised(runners.start(name, path), normalise)
    batches = zip(pictures.split(BATCHES), np.split(expected, np.cumsum(BATCHES)[:-1]), strict=True)
    found = [_difference(run(images.numpy()), vectors) for images, vectors in batches]
    worst = float(np.max(found))  # NaN where any is NaN
    if not worst <= LIMIT:
        raise ValueError(
            f"export: the vectors of {path.name} differ from torch's by {worst:.1e}, expected at most {LIMIT:.0e}; "
            "the file was not kept. Use another --format or --opset"
        )
    runtime.log.info("%s: largest difference from torch %.1e (limit %.0e)", path.name, worst, LIMIT)
    return found


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; in a column whose entries pass 1, relative to the column's largest.

    So the squared lengths that Euclidean scores carry are held to their own digits, and excuse no other column.
    """
    if found.shape != expected.shape:
        return float("inf")
    return float((abs(found - expected) / np.maximum(1, abs(expected).max(axis=0))).max())


def _entry(name: str, side: str, path: Path, differences: list[float]) -> Card:
    """What the card says of one graph; the file to open comes first."""
    files = [path, path.with_suffix(".bin")] if name == "openvino" else [path]
    return {
        "format": name,
        "side": side,
        "files": {file.name: cards.sha256(file) for file in files},
        "differences": differences,
    }
