"""The plots of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from reid import schema
from reid.evaluation import report, summary
from reid.evaluation.kept.form import Kept
from reid.evaluation.summary import Recipe
from reid.pages import draw
from reid.pages.draw import Curve, Point

DEPTH = 50  # ranks of the CMC curve
DRIFT = ("drift_", "memory_drift_")  # how figures of drift begin
PLACE = ("step", "epoch")  # what a line of metrics.jsonl says besides its figures


def cmc(kept: Mapping[str, Sequence[Kept]]) -> list[Markup]:
    """A plot for each data set, a curve for each run by name: the share of queries with a match among the first k."""
    curves: dict[str, list[Curve]] = {}
    for name, sets in kept.items():
        for each in sets:
            curves.setdefault(each["dataset"], []).append(Curve(name if len(kept) > 1 else "", cmc_points(each)))
    return [
        draw.curves(f"{dataset}: CMC", drawn, x="rank k", y="queries with a match in k, %")
        for dataset, drawn in curves.items()
    ]


def cmc_points(kept: Kept) -> list[tuple[float, float]]:
    """(k, percent), the mean over trials."""
    firsts = [np.array(trial["first"]) for trial in kept["trials"]]
    return [(k, 100 * float(np.mean([(first <= k).mean() for first in firsts]))) for k in range(1, DEPTH + 1)]


def spreads(recipes: Sequence[Recipe]) -> list[dict[str, Any]]:
    """A table for what figures are spread over, with a line for each figure of each recipe that has several values."""
    found = []
    for over, said in (
        ("trials", "trials, each the mean over the seeds"),
        ("seeds", "seeds, each the mean over the trials"),
    ):
        lines = []
        for recipe in recipes:
            for dataset, metric in summary.columns([recipe]):
                values = [100 * value for value in summary.values(recipe, dataset, metric, over)]
                if len(values) > 1:
                    lines.append(_spread(recipe.name, f"{dataset} {metric}", values))
        if lines:
            found.append({"over": over, "said": said, "lines": lines})
    return found


def _spread(name: str, figure: str, values: Sequence[float]) -> dict[str, Any]:
    e = summary.estimate(values)
    told = f"{e.mean:.1f} ± {e.std:.1f} ({e.low:.1f}-{e.high:.1f})"
    ends = min(values), max(values)
    return {
        "name": name,
        "figure": figure,
        "num": e.num,
        "told": told,
        "ends": f"{ends[0]:.1f} to {ends[1]:.1f}",
        "strip": draw.strip(values, *ends),
    }


def of_set(kept: Kept) -> list[Markup]:
    """The distribution of scores and the map, as far as there are such."""
    found = []
    scores = kept["scores"]
    if scores is not None:
        width = (scores["high"] - scores["low"]) / len(scores["right"])
        sides = []
        for label, counts in (("matches", scores["right"]), ("others", scores["wrong"])):
            shares = 100 * np.array(counts) / max(1, sum(counts))
            edges = [scores["low"] + width * number for number in range(len(counts) + 1)]
            points = [(at, float(share)) for share, *ends in zip(shares, edges, edges[1:], strict=False) for at in ends]
            sides.append(Curve(f"{label} ({sum(counts):,})", points))
        found.append(draw.curves("Scores of matches and of others", sides, x="score", y="share of pairs, %"))
    where = kept["map"]
    if where is not None:
        marks = [
            Point(x, y, letter, f"person {pid}")
            for x, y, letter, pid in zip(where["x"], where["y"], where["letter"], where["pid"], strict=True)
        ]
        first, second = (f"{100 * share:.0f}% of the variance" for share in where["shares"])
        title = "Gallery embeddings on their principal components; a letter is a person"
        found.append(draw.scatter(title, marks, x=f"first component, {first}", y=f"second, {second}"))
    return found


def training(folders: Mapping[str, Path]) -> list[Markup]:
    """A plot for each figure of metrics.jsonl, a curve for each run; and of the scores, where there are several."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, folder in folders.items():
        for figure, step, value in (*_metrics(folder / "metrics.jsonl"), *_scores(folder / "results.jsonl")):
            curves.setdefault(figure, {}).setdefault(name, []).append((step, value))
    found = []
    for figure, by_run in curves.items():
        lines = [Curve(name if len(folders) > 1 else "", points) for name, points in by_run.items()]
        if figure.startswith(DRIFT):
            title = f"{figure.replace('_', ' ')} steps: squared change of unit embeddings"
            found.append(draw.curves(title, lines, x="step", y="squared change", log=True))
        else:
            found.append(draw.curves(figure, lines, x="step", y=figure))
    return found


def _metrics(path: Path) -> list[tuple[str, int, float]]:
    found = []
    for number, row in enumerate(report.lines(path) if path.is_file() else [], start=1):
        schema.check(row.get("step"), int, f"{path}, line {number}: step")
        for name in row.keys() - PLACE:
            schema.check(row[name], float, f"{path}, line {number}: {name}")
        found += [(name, row["step"], row[name]) for name in row if name not in PLACE]
    return found


def _scores(path: Path) -> list[tuple[str, int, float]]:
    """mAP, of retrieval sets MAP@R, at each step that was scored."""
    rows = [row for row in report.read(path) if row["kind"] == "dataset" and "rescoring" not in row]
    if len({row["step"] for row in rows}) < 2:
        return []
    steps = {(row["dataset"], row["step"]): row for row in rows}  # scored twice: the later
    found = []
    for (dataset, step), row in sorted(steps.items()):
        metric = "mAP" if "mAP" in row else "MAP@R"
        found.append((f"{dataset} {metric}, %", step, 100 * row[metric]))
    return found
