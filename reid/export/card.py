"""The card beside exported graphs: all that a user of the vectors must know, as `card.json` and as `card.md` to be read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

from reid import escape, schema

FORMAT, VERSION = "reid export", 1
JSON_NAME, MARKDOWN_NAME = "card.json", "card.md"
LARGEST = 4096  # side of a picture that a card may ask for
FIGURES = ("R1", "R5", "R10", "mAP", "mINP", "R@1", "MAP@R", "RP")

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


class Graph(TypedDict):
    format: str
    side: str
    files: dict[str, str]  # name -> sha256; the file to open comes first
    differences: list[float]


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
    (folder / MARKDOWN_NAME).write_text(markdown(card), encoding="utf-8")


def markdown(card: Card) -> str:
    """The card for people."""
    inputs, outputs, training = card["input"], card["output"], card["training"]
    height, width = inputs["size"]
    title = escape.markdown(f"{training['method']['NAME']} on {training['backbone']}")
    lines = [f"# {title}, by reid {card['reid']}", ""]
    lines += [
        f"- input `{inputs['name']}`: {inputs['type']} (batch, 3, {height}, {width}), {inputs['channels']}, {inputs['values']}",
        f"- resize: {inputs['interpolation']}, height {height} and width {width}" + _cropped(inputs["crop"]),
    ]
    for pixels, where in ((inputs["normalise"], ""), (inputs["inside"], "applied inside: ")):
        if pixels:
            lines.append(f"- {where}mean {_row(pixels['mean'])}, std {_row(pixels['std'])}, of values in 0..1")
    if bilinear := card.get("bilinear"):  # a card of before has none
        lines.append(
            f"- trackers that resize bilinearly instead get vectors at a cosine of {bilinear['mean']} in the mean, "
            f"{bilinear['least']} at least, from these, on the check's pictures at odd sizes"
        )
    length = "unit length, so the score is the cosine" if outputs["unit_length"] else "any length"
    lines.append(f"- output `{outputs['name']}`: float32 (batch, {outputs['dim']}), {length}")
    lines.append(f"- score of two pictures: the {outputs['score']} of their vectors{_sides(card['asymmetric'])}")
    if outputs["flip"]:
        lines.append(
            "- the graph looks at each picture and its mirror image and averages their features, as scoring did"
        )
    parts = [lines, _files(card), _calibration(card), _results(card), _training(training)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _cropped(crop: float) -> str:
    return "" if crop == 1 else f", the middle of a picture resized to 1 / {crop} of that"


def _sides(asymmetric: bool) -> str:
    return "; a query's from `query`, a gallery picture's from `gallery`" if asymmetric else ""


def _files(card: Card) -> list[str]:
    check = card["check"]
    lines = [
        f"Checked against torch on {escape.markdown(check['pictures'])}, in batches of {', '.join(map(str, check['batches']))}; largest "
        f"difference allowed: {check['limit']:.0e}, relative to the column's largest entry where that passes 1.",
        "",
        "| file | format | sha256 | difference |",
        "|---|---|---|---|",
    ]
    for graph in card["graphs"]:
        for name, sha in graph["files"].items():
            lines.append(f"| {name} | {graph['format']}{_legacy(graph)} | `{sha}` | {max(graph['differences']):.1e} |")
    return lines


def _legacy(graph: Card) -> str:
    return " (legacy)" if graph["format"] == "torchscript" else ""


def _calibration(card: Card) -> list[str]:
    """What `reid calibrate` has measured; empty for a card without."""
    rows = card.get("calibration", [])
    if not rows:
        return []
    lines = ["| false match rate | score from | 95% interval | true match rate | measured on |", "|---" * 5 + "|"]
    for row in rows:
        tmr = "" if row["tmr"] is None else f"{100 * row['tmr']:.1f}%"
        on = f"{escape.markdown(row['set'])}: {row['persons']:,} persons, {row['pairs']:,} pairs"
        lines.append(
            f"| {row['fmr']:g} | {row['threshold']:.4f} | {row['low']:.4f} to {row['high']:.4f} | {tmr} | {on} |"
        )
    return lines


def _results(card: Card) -> list[str]:
    rows = card["training"]["results"]
    if not rows:
        return ["Not scored: the run's folder had no results of this checkpoint."]
    figures = [name for name in FIGURES if any(name in row for row in rows)]
    lines = [f"| data set | role | {' | '.join(figures)} | protocol |", "|---" * (len(figures) + 3) + "|"]
    for row in rows:
        shown = [f"{100 * row[name]:.1f}" if name in row else "" for name in figures]
        lines.append(
            f"| {escape.markdown(row['dataset'])} | {row['role']} | {' | '.join(shown)} | {row['fingerprint']} |"
        )
    return lines


def _training(training: Card) -> list[str]:
    norms = f", its norms: {escape.markdown('; '.join(training['norms']))}" if training["norms"] else ""
    together = f" on {training['processes']} processes" if training["processes"] > 1 else ""
    averaged = f", their running average by {training['average']:g}" if training["average"] else ""
    lines = [
        f"Trained for {training['step']:,} steps{together}{averaged}, backbone's weights from: {escape.markdown(training['pretrained'])}{norms}; "
        f"protocol {training['fingerprint']}. Sources, whose terms bind whoever uses the vectors:",
        "",
    ]
    for source in training["sources"]:
        said = f"{source['name']}: {source['title']}; {source['terms']} ({source['status']}; {source['page']})"
        lines.append(f"- {escape.markdown(said)}")
    if training["plugins"]:
        lines += ["", "Made with plug-ins:", ""]
    for plugin in training["plugins"]:
        lines.append(f"- {plugin['name']} ({plugin['distribution'] or 'no distribution'}, sha256 {plugin['sha256']})")
    return lines


def _row(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
