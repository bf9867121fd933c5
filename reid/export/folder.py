"""An export's folder: graphs written out of sight, checked against torch on pictures, then moved to their names with a card."""

from __future__ import annotations

import functools
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
from reid.export import graphs, precision, runners, trackers
from reid.export.card import Card
from reid.export.runners import FORMATS
from reid.methods import Method
from reid.models.encoder import Encoder

UNIT = 1e-3  # how far from 1 the lengths may lie for the rows to count as normalised
BATCHES = (1, 2, 5)  # sizes that each graph is run with
NUM_PICTURES = sum(BATCHES)
NUM_COMPARED = 64  # pictures that the vectors of a lower precision are compared on, NUM_PICTURES among them
LIMIT = 1e-4  # float32 leaves 1e-7 to 1e-5 over a hundred layers; half precision, or a wrong mean, 1e-3 and more


def check_request(
    output: Path, formats: Sequence[str], input_kind: str, opset: int, bits: str = "fp32", num: int = precision.USUAL
) -> None:
    """Raises ValueError, before any work, for what cannot be written here. bits, num: the precision, and pictures that
    int8 is calibrated on."""
    for option, found, known in (("--format", formats, FORMATS), ("--input", [input_kind], graphs.INPUT_KINDS)):
        unknown = [name for name in found if name not in known]
        if unknown or not found:
            raise ValueError(f"{option}: no {', '.join(unknown) or 'name given'}; there are {', '.join(known)}")
    if bits not in precision.PRECISIONS:
        raise ValueError(f"--precision: no {bits}; there are {', '.join(precision.PRECISIONS)}")
    for name in formats:
        if name not in precision.PRECISIONS[bits]:
            able = ", ".join(precision.PRECISIONS[bits])
            raise ValueError(f"--precision: found {bits} for the format {name}, which has none; expected {able}")
    if num < precision.FEWEST:
        raise ValueError(f"--calibrate: found {num} pictures, expected {precision.FEWEST} or more")
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output: found the file {output}; expected a folder, or a name that is free")
    for name in formats:
        runners.require(name, FORMATS[name].writes + (("nncf",) if (name, bits) == ("openvino", "int8") else ()))
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
    bits: str = "fp32",
    calibration: Tensor | None = None,
) -> Card:
    """Writes `method`, which is left in evaluation mode, into the folder `output`; returns the card written beside it.

    pictures: (8 or more, 3, H, W) uint8 RGB, what the graphs are checked on; H and W become the graphs' own. Of a lower
    precision all of them are compared with float32.
    about: what the card says of pictures (`interpolation`, `crop`, `flip`, `pictures`, `bilinear`), of `training`, and of
    a lower `precision`.
    bits: fp32, fp16 or int8. calibration: (N, 3, H, W) uint8 RGB, what int8 learns the ranges of activations on.
    Raises ValueError for what cannot be written, and for a graph whose vectors are not torch's: nothing of it is kept,
    and what `output` held before is still there.
    """
    check_request(output, formats, input_kind, opset, bits)
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
            graph = graphs.trace(method, side, size=(height, width), input_kind=input_kind, half=bits == "fp16")
            for name in dict.fromkeys(formats):
                path = place / f"{'model' if side == 'both' else side}{FORMATS[name].suffix}"
                graphs.write(name, graph, path, opset=opset, notes=notes)
                check = functools.partial(_check, name, path, expected[side], pictures, card["input"]["normalise"])
                said: Card = {}
                if bits == "int8":
                    check("fp32")
                    assert calibration is not None, "int8 needs a calibration"
                    images = runners.prepared(calibration.numpy(), card["input"]["normalise"])
                    said = precision.quantise(name, path, images)
                card["graphs"].append({**_entry(name, side, path), **said, **check(bits)})
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
        **({"precision": about["precision"]} if "precision" in about else {}),
    }


def _check(name: str, path: Path, expected: np.ndarray, pictures: Tensor, normalise: Card | None, bits: str) -> Card:
    """The largest difference from torch in each of BATCHES, as `differences`; of a lower precision also the `cosine`, of
    all pictures. Raises ValueError for vectors that are no numbers, and where one of float32 differs by more than LIMIT."""
    run = runners.normalised(runners.start(name, path), normalise)
    sizes = [*BATCHES, *[NUM_PICTURES] * (len(pictures) // NUM_PICTURES - 1)]
    found = [run(images.numpy()) for images in pictures.split(sizes)]
    parts = zip(found, np.split(expected, np.cumsum(sizes)[:-1]), strict=True)
    differences = [_difference(rows, vectors) for rows, vectors in parts]
    worst = float(np.max(differences))  # NaN where any is NaN
    if not (worst <= LIMIT if bits == "fp32" else np.isfinite(worst)):
        expected_most = f"at most {LIMIT:.0e}" if bits == "fp32" else "a number"
        raise ValueError(
            f"export: the vectors of {path.name} differ from torch's by {worst:.1e}, expected {expected_most}; "
            "the file was not kept. Use another --format, --opset or --precision"
        )
    if bits == "fp32":
        runtime.log.info("%s: largest difference from torch %.1e (limit %.0e)", path.name, worst, LIMIT)
        return {"differences": differences}
    cosine = precision.cosines(np.concatenate(found), expected)
    said = f"{path.name}, {bits}: cosine to float32 {cosine['mean']} in the mean, {cosine['least']} at least"
    if cosine["least"] < trackers.ENOUGH:
        runtime.log.warning("warning: %s; score it before you use it: reid test --weights, or --score", said)
    else:
        runtime.log.info("%s", said)
    return {"differences": differences[: len(BATCHES)], "cosine": cosine}


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; in a column whose entries pass 1, relative to the column's largest.

    So the squared lengths that Euclidean scores carry are held to their own digits, and excuse no other column.
    """
    if found.shape != expected.shape:
        return float("inf")
    return float((abs(found - expected) / np.maximum(1, abs(expected).max(axis=0))).max())


def _entry(name: str, side: str, path: Path) -> Card:
    """What the card says of one graph; the file to open comes first."""
    files = [path, path.with_suffix(".bin")] if name == "openvino" else [path]
    return {
        "format": name,
        "side": side,
        "files": {file.name: cards.sha256(file) for file in files},
    }
