"""Feature drift: how far the embeddings of the same pictures move while the encoder learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from reid import escape, schema
from reid.evaluation import report

SPANS = (10, 100, 1000)  # optimiser steps


class Drift:
    """Mean squared distance, 0..4, between a picture's unit embeddings now and a span of steps ago.

    A span is measured at its own multiples, so that one set of embeddings a span has to be kept. Those are state:
    a resumed run is given `kept` of the checkpoint.

    Args:
        embed: () -> (S, D), the embeddings of the same S pictures as the encoder now sees them, in evaluation mode.
        every: of the spans 10, 100 and 1000 those that it divides are measured.
    Raises ValueError where it divides none.
    Source: Wang et al. 2020 (XBM), section 3.1, as recalled: there over the training set, here over a part of it.
    """

    def __init__(self, embed: Callable[[], Tensor], every: int):
        self.spans = [span for span in SPANS if every > 0 and span % every == 0]
        if not self.spans:
            raise ValueError(f"DRIFT.EVERY is {every}; expected 10, 100 or 1000 steps, or 0 for none")
        self.embed = embed
        self.kept: dict[int, Tensor] = {}  # of each span, the unit embeddings when it was last measured

    def measure(self, step: int) -> dict[str, float]:
        """`drift_10` and so on, where a span ends at `step`; empty where none does, or before the first."""
        due = [span for span in self.spans if step % span == 0]
        if not due:
            return {}
        rows = F.normalize(self.embed())
        moved = {
            f"drift_{span}": (rows - self.kept[span]).square().sum(dim=1).mean().item()
            for span in due
            if span in self.kept
        }
        self.kept.update(dict.fromkeys(due, rows))
        return moved


def curves(run: str | Path) -> dict[str, list[tuple[int, float]]]:
    """{name: [(step, mean squared distance), ...]} of what a run's `metrics.jsonl` says of drift.

    Raises FileNotFoundError where there is no such file, ValueError where it says nothing.
    """
    path = Path(run) / "metrics.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: found no such file; expected the folder of a run")
    found: dict[str, list[tuple[int, float]]] = {}
    for number, row in enumerate(report.lines(path), start=1):
        for name in row:
            if name.startswith(("drift_", "memory_drift_")):
                schema.check(row.get("step"), int, f"{path}, line {number}: step")
                schema.check(row[name], float, f"{path}, line {number}: {name}")
                found.setdefault(name, []).append((row["step"], row[name]))
    if not found:
        raise ValueError(f"{path}: found no drift; expected a run with DRIFT.EVERY 10, 100 or 1000, or with a memory")
    return found


def plot(runs: Sequence[str | Path], output: str | Path) -> None:
    """Draws the curves of several runs over their steps; the format is that of the ending of `output`.

    Raises ValueError for one that matplotlib does not write, without matplotlib, or as `curves` does.
    """
    found = {run: curves(run) for run in runs}
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("plots need matplotlib, which is not installed: pip install matplotlib") from None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for run, lines in found.items():
        for name, points in sorted(lines.items()):
            label = name.replace("memory_drift_", "memory, ").replace("drift_", "") + " steps" * (name[0] == "d")
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, marker=".", label=f"{escape.plot(str(run))}: {label}" if len(found) > 1 else label)
    axes.set(xlabel="step", ylabel="mean squared change of unit embeddings", yscale="log")
    axes.legend(title="change over")
    figure.savefig(output, dpi=150)
