"""Several runs as one figure: mean, spread and interval over seeds or trials, and two recipes compared seed by seed.

Plain arithmetic on rows of `results.jsonl`; it imports no torch. A summary never mixes two protocols.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from reid.evaluation.report import FIGURE

Row = dict[str, Any]

OVER = ("seeds", "trials")
METRICS = ("R1", "mAP", "R@1", "MAP@R")


@dataclass(frozen=True)
class Run:
    """One run: where it lies, its seed, and the rows of its last scoring of the targets."""

    path: str
    seed: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Recipe:
    """Runs that differ by their seeds only: one row of a table."""

    name: str
    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        by_seed: dict[int, Run] = {}
        for run in self.runs:
            if run.seed in by_seed:
                raise ValueError(
                    f"summary: found seed {run.seed} twice, in {by_seed[run.seed].path} and {run.path}; expected each "
                    "once, or the spread comes out too small: leave one out"
                )
            by_seed[run.seed] = run
        steps = {run.rows[0]["step"]: run.path for run in self.runs}
        if len(steps) > 1 and self.runs[0].rows[0]["selection"] == "last":
            shown = ", ".join(f"{path} at step {step:,}" for step, path in sorted(steps.items()))
            raise ValueError(f"summary: found runs that end at different steps, {shown}; train each to its end")


@dataclass(frozen=True)
class Estimate:
    """A mean of `num` values; spread (the sample's standard deviation) and 95% t-interval are nan for one value."""

    num: int
    mean: float
    std: float = math.nan
    low: float = math.nan
    high: float = math.nan


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, spread and the 95% interval mean +- t(0.975, n - 1) * std / sqrt(n)."""
    num, mean = len(values), float(np.mean(values))
    if num == 1:
        return Estimate(num, mean)
    std = float(np.std(values, ddof=1))
    half = float(special.stdtrit(num - 1, 0.975)) * std / math.sqrt(num)
    return Estimate(num, mean, std, mean - half, mean + half)


def last_scoring(rows: Sequence[Row], role: str = "target") -> tuple[Row, ...]:
    """The rows of the last time the targets were scored: earlier steps, and what else a folder was used for, are not.

    role: `source` for the identities held out of the sources instead, by which TEST.SELECT source_val chooses.
    Raises ValueError where no such set was scored.
    """
    found = [row for row in rows if row["role"] == role]
    if not found:
        raise ValueError(f"found no row of a {role}")
    final = found[-1]
    kept = [row for row in found if all(row[key] == final[key] for key in ("fingerprint", "selection", "step"))]
    # Scored twice alike: the later row replaces the earlier.
    return tuple({(row["kind"], scored(row), row["metric"], row.get("trial")): row for row in kept}.values())


def scored(row: Row) -> str:
    """The data set, and how its search was re-scored where it was: `viper`, `viper, re-ranked`."""
    return f"{row['dataset']}, {row['rescoring']}" if "rescoring" in row else row["dataset"]


def check_one_protocol(recipes: Sequence[Recipe]) -> None:
    """Raises ValueError for runs of two protocols, with what the protocols differ in."""
    firsts: dict[str, Run] = {}
    for recipe in recipes:
        for run in recipe.runs:
            firsts.setdefault(run.rows[0]["fingerprint"], run)
    if len(firsts) > 1:
        (one, a), (other, b) = list(firsts.items())[:2]
        mine, theirs = set(words(a)), set(words(b))
        differences = "".join(
            f"; only in {fingerprint}: {line}"
            for fingerprint, lines in ((one, mine - theirs), (other, theirs - mine))
            for line in sorted(lines)
        )
        raise ValueError(
            f"summary: found {len(firsts)} protocols, {one} ({a.path}) and {other} ({b.path}); expected one, since their "
            f"figures cannot be compared: make a table of each{differences}"
        )


def words(run: Run) -> list[str]:
    """The protocol in words, as the run's `mean` rows carry it."""
    return next((row["protocol"] for row in run.rows if "protocol" in row), [])


def notes(recipes: Sequence[Recipe]) -> list[str]:
    """What a reader must know of the data (a withdrawn set, a count that is off), each once."""
    rows = [row for recipe in recipes for run in recipe.runs for row in run.rows]
    return list(dict.fromkeys(note for row in rows for note in row.get("notes", ())))


def columns(recipes: Sequence[Recipe], metrics: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(data set as `scored` names it, figure) of every column: in the order of scoring, the mean of the sets last.

    metrics: the figures to show; empty for R1 and mAP, of retrieval sets R@1 and MAP@R.
    Raises ValueError for a figure that no row has.
    """
    rows = [row for row in recipes[0].runs[0].rows if row["kind"] == "dataset" or row.get("num_datasets", 1) > 1]
    there = {name for row in rows for name in row if FIGURE.fullmatch(name)}
    unknown = [name for name in metrics if name not in there]
    if unknown:
        raise ValueError(f"summary: no figure {', '.join(unknown)}; there are {', '.join(sorted(there))}")
    rows.sort(key=lambda row: row["kind"] == "mean")
    return [(scored(row), name) for row in rows for name in metrics or METRICS if name in row]


def by_seed(recipe: Recipe, dataset: str, metric: str) -> dict[int, float]:
    """{seed: figure}; of a set with several trials it is the mean over them."""
    return {
        run.seed: row[metric]
        for run in sorted(recipe.runs, key=lambda run: run.seed)
        for row in run.rows
        if row["kind"] != "trial" and scored(row) == dataset and metric in row
    }


def values(recipe: Recipe, dataset: str, metric: str, over: str = "seeds") -> list[float]:
    """What the spread of one cell is taken over: of seeds, each the mean over the set's trials; or of trials, each the mean
    over the seeds. The mean of several sets has no trials."""
    if over == "seeds":
        return list(by_seed(recipe, dataset, metric).values())
    trials: dict[int, list[float]] = {}
    for run in recipe.runs:
        for row in run.rows:
            if row["kind"] == "trial" and scored(row) == dataset and metric in row:
                trials.setdefault(row["trial"], []).append(row[metric])
    return [float(np.mean(of_seeds)) for of_seeds in trials.values()]


def figure(recipe: Recipe, dataset: str, metric: str, over: str = "seeds") -> Estimate:
    """One cell: over seeds, each the mean over the set's trials; or over trials, each the mean over the seeds.

    Seeds and trials are not pooled: the trials are the same splits for each seed, so S x T values are not independent
    and an interval over them would be too narrow. The mean of several sets has no trials: it is given over seeds. Figures
    are shares, so the interval is cut at 0 and 1, which that of two seeds often passes.
    """
    e = estimate(values(recipe, dataset, metric, over) or values(recipe, dataset, metric))
    if e.num == 1:
        return e
    return replace(e, low=max(e.low, min(0.0, e.mean)), high=min(e.high, max(1.0, e.mean)))


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of one figure: the difference (one minus other) of each seed both recipes have.

    t and p (two-sided, n - 1 degrees of freedom) are nan where all differences are equal.
    """

    one: float
    other: float
    differences: Mapping[int, float]
    difference: Estimate
    t: float
    p: float


def compare(one: Recipe, other: Recipe, dataset: str, metric: str) -> Comparison:
    """Paired t-test over the seeds that both recipes have. Raises ValueError for fewer than two."""
    a, b = by_seed(one, dataset, metric), by_seed(other, dataset, metric)
    seeds = sorted(a.keys() & b.keys())
    if len(seeds) < 2:
        raise ValueError(
            f"summary: found {len(seeds)} seeds that both {one.name} ({sorted(a)}) and {other.name} ({sorted(b)}) have; "
            "expected two or more: train both with the same seeds"
        )
    differences = {seed: a[seed] - b[seed] for seed in seeds}
    gap = estimate(list(differences.values()))
    t = p = math.nan
    if gap.std > 1e-12:  # below is rounding
        t = gap.mean / (gap.std / math.sqrt(gap.num))
        p = 2 * float(special.stdtr(gap.num - 1, -abs(t)))
    ours, theirs = (float(np.mean([figures[seed] for seed in seeds])) for figures in (a, b))
    return Comparison(ours, theirs, differences, gap, t, p)
