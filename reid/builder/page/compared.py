"""Several runs side by side: one table, and what they differ by, seed by seed and query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reid.evaluation import metrics, tables
from reid.evaluation.kept.form import Kept, Outcome
from reid.evaluation.summary import Recipe

RESAMPLES = 1000


def grids(recipes: Sequence[Recipe]) -> list[tuple[Sequence[str], Sequence[Sequence[str]]]]:
    """The table of `reid summarize`."""
    table = tables.table(recipes)
    return [(table.head, table.lines)]


def differences(
    recipes: Sequence[Recipe], names: Mapping[str, str], kept: Mapping[str, Sequence[Kept]]
) -> list[dict[str, Any]]:
    """Tables of each recipe minus the first: over the seeds that both have, where these are two or more; and over the queries
    of one run of each, of a seed that both have if there is one.

    names: of runs, by their paths. kept: by their names.
    """
    found = []
    base = recipes[0]
    for other in recipes[1:]:
        shared = {run.seed for run in base.runs} & {run.seed for run in other.runs}
        if len(shared) > 1:
            table = tables.comparison(other, base)
            found.append({"said": table.footer[0], "head": table.head, "lines": table.lines})
        ours, theirs = (
            names[next((run for run in recipe.runs if run.seed in sorted(shared)[:1]), recipe.runs[0]).path]
            for recipe in (other, base)
        )
        pairs = [(a, b) for a in kept[ours] for b in kept[theirs] if a["dataset"] == b["dataset"]]
        if lines := [line for pair in pairs for line in by_query(*pair)]:
            said = (
                f"In percentage points, query by query: {ours} minus {theirs}; the interval resamples the query persons "
                f"{RESAMPLES:,} times."
            )
            head = ["Figure", "difference", "95% low", "95% high", "better", "worse", "equal"]
            found.append({"said": said, "head": head, "lines": lines})
    return found


def by_query(one: Kept, other: Kept) -> list[list[str]]:
    """Of Rank-1 and of average precision: the mean difference, its interval, and how many queries differ how."""
    pids = [trial["pid"] for trial in one["trials"]]
    if pids != [trial["pid"] for trial in other["trials"]]:
        return []  # their queries are not the same
    lines = []
    for figure, values in (("Rank-1", _hits), ("AP", _precisions)):
        gaps = [values(a) - values(b) for a, b in zip(one["trials"], other["trials"], strict=True)]
        low, high = metrics.intervals(gaps, pids, resamples=RESAMPLES)
        mean = float(np.mean([gap.mean() for gap in gaps]))
        every = np.concatenate(gaps)
        counts = [int((every > 0).sum()), int((every < 0).sum()), int((every == 0).sum())]
        cells = [*(f"{100 * value:+.1f}" for value in (mean, low, high)), *(f"{count:,}" for count in counts)]
        lines.append([f"{one['dataset']} {figure}", *cells])
    return lines


def _hits(trial: Outcome) -> np.ndarray:
    return (np.array(trial["first"]) == 1).astype(float)


def _precisions(trial: Outcome) -> np.ndarray:
    return np.array(trial["ap"])
