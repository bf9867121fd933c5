"""A card for people: what `card.json` says, as markdown."""

from __future__ import annotations

from typing import Any

from reid import escape

FIGURES = ("R1", "R5", "R10", "mAP", "mINP", "R@1", "MAP@R", "RP")

Card = dict[str, Any]  # a `card.Content`


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
    parts = [lines, _files(card), _precision(card), _calibration(card), _results(card), _training(training)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _cropped(crop: float) -> str:
    return "" if crop == 1 else f", the middle of a picture resized to 1 / {crop} of that"


def _sides(asymmetric: bool) -> str:
    return "; a query's from `query`, a gallery picture's from `gallery`" if asymmetric else ""


def _files(card: Card) -> list[str]:
    check = card["check"]
    limit = (
        f"largest difference allowed: {check['limit']:.0e}, relative to the column's largest entry where that passes 1"
    )
    if precision := card.get("precision"):
        limit = f"what was written in {precision['name']} has no limit but the cosines below"
    lines = [
        f"Checked against torch on {escape.markdown(check['pictures'])}, in batches of {', '.join(map(str, check['batches']))}; {limit}.",
        "",
        "| file | format | sha256 | difference |",
        "|---|---|---|---|",
    ]
    for graph in card["graphs"]:
        for name, sha in graph["files"].items():
            lines.append(f"| {name} | {graph['format']}{_legacy(graph)} | `{sha}` | {max(graph['differences']):.1e} |")
    return lines


def _precision(card: Card) -> list[str]:
    """How much a lower precision costs; empty for float32."""
    precision = card.get("precision")
    if not precision:
        return []
    calibrated = precision["calibrated"]
    said = f", ranges of activations from {escape.markdown(calibrated)}" if calibrated else ""
    lines = [
        f"Precision {precision['name']}{said}. Cosine to the vectors of float32, on {escape.markdown(precision['compared'])}:",
        "",
    ]
    for graph in card["graphs"]:
        mean, least = graph["cosine"]["mean"], graph["cosine"]["least"]
        kept = f"; its first {graph['spared']} layers are in float32" if graph.get("spared") else ""
        lines.append(f"- {next(iter(graph['files']))}: {mean} in the mean, {least} at least{kept}")
    if rows := precision["scores"]:
        lines += ["", "Scored in both, a look at each target:", "", *_table(rows)]
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
    return [*(["The checkpoint in float32:", ""] if "precision" in card else []), *_table(rows)]


def _table(rows: list[Card]) -> list[str]:
    """Rows of results; with their precision where they say one."""
    figures = [name for name in FIGURES if any(name in row for row in rows)]
    extra = ["precision"] if any("precision" in row for row in rows) else []
    lines = [f"| data set | role | {' | '.join([*extra, *figures])} | protocol |"]
    lines.append("|---" * (len(extra) + len(figures) + 3) + "|")
    for row in rows:
        shown = [row.get(name, "fp32") for name in extra]
        shown += [f"{100 * row[name]:.1f}" if name in row else "" for name in figures]
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
    if training.get("notes"):
        lines += ["", "Of the training:", "", *(f"- {escape.markdown(note)}" for note in training["notes"])]
    if training["plugins"]:
        lines += ["", "Made with plug-ins:", ""]
    for plugin in training["plugins"]:
        lines.append(f"- {plugin['name']} ({plugin['distribution'] or 'no distribution'}, sha256 {plugin['sha256']})")
    return lines


def _row(values: list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
