"""Summaries as text: markdown to read, csv to compute with, LaTeX to print."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reid import escape
from reid.evaluation import summary
from reid.evaluation.summary import Estimate, Recipe

FORMATS = ("markdown", "csv", "latex")


@dataclass(frozen=True)
class Table:
    """Text cells under a head, and the sentences without which they must not be read."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    footer: Sequence[str] = ()

    def text(self, form: str) -> str:
        return {"markdown": self._markdown, "csv": self._csv, "latex": self._latex}[form]()

    def _markdown(self) -> str:
        cells = [list(map(escape.markdown, line)) for line in (self.head, *self.lines)]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
        cells = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in cells]
        rows = [f"| {' | '.join(line)} |" for line in (cells[0], rule, *cells[1:])]
        return "\n".join([*rows, "", *map(escape.markdown, self.footer)])

    def _csv(self) -> str:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(map(escape.csv, line) for line in (self.head, *self.lines))
        return file.getvalue().rstrip("\n")

    def _latex(self) -> str:
        cells = [list(map(escape.latex, line)) for line in (self.head, *self.lines)]
        rows = [f"{' & '.join([line[0], *map(_dashes, line[1:])])} \\\\" for line in cells]
        begin = f"\\begin{{tabular}}{{l{'r' * (len(self.head) - 1)}}}"
        comments = [f"% {escape.line(line)}" for line in self.footer]
        lines = [begin, r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*comments, *lines])


def table(recipes: Sequence[Recipe], over: str = "seeds", metrics: Sequence[str] = ()) -> Table:
    """One row a recipe, in percent: `51.2 ± 0.3 (50.4-52.0)`, or `51.2` where there is one value only."""
    summary.check_one_protocol(recipes)
    shown = summary.columns(recipes, metrics)
    lines = [
        [_name(recipe), str(len(recipe.runs)), *(_cell(summary.figure(recipe, *column, over)) for column in shown)]
        for recipe in recipes
    ]
    unit = {
        "seeds": "seeds, each the mean over a set's trials",
        "trials": "a set's trials, each the mean over the seeds; of the mean over sets, over seeds",
    }[over]
    said = f"In percent. ± is the standard deviation over {unit}; in brackets the 95% t-interval, cut at 0 and 100."
    return Table(["Recipe", "Seeds", *map(" ".join, shown)], lines, [said, *_footer(recipes)])


def numbers(recipes: Sequence[Recipe], over: str = "seeds", metrics: Sequence[str] = ()) -> Table:
    """`table` for csv: fractions at full precision, mean, spread and interval in columns of their own."""
    summary.check_one_protocol(recipes)
    shown = summary.columns(recipes, metrics)
    head = ["recipe", "fingerprint", "selection", "seeds", "over"]
    for dataset, metric in shown:
        head += [f"{dataset} {metric}{suffix}" for suffix in ("", "_std", "_low", "_high", "_num")]
    lines = []
    for recipe in recipes:
        row = recipe.runs[0].rows[0]
        seeds = " ".join(str(run.seed) for run in recipe.runs)
        line = [recipe.name, row["fingerprint"], row["selection"], seeds, over]
        for column in shown:
            e = summary.figure(recipe, *column, over)
            line += ["" if math.isnan(value) else repr(value) for value in (e.mean, e.std, e.low, e.high, e.num)]
        lines.append([*line, "; ".join(summary.notes([recipe]))])
    return Table([*head, "notes"], lines)


def comparison(one: Recipe, other: Recipe, metrics: Sequence[str] = (), *, fractions: bool = False) -> Table:
    """One row a figure: both means over the common seeds, each seed's difference, the paired t-test."""
    summary.check_one_protocol([one, other])
    scale, digits = (1, ".17g") if fractions else (100, ".1f")
    sign = "" if fractions else "+"
    lines, seeds = [], []
    for dataset, metric in summary.columns([one], metrics):
        found = summary.compare(one, other, dataset, metric)
        seeds = list(found.differences)
        gap = found.difference
        means = [format(scale * value, digits) for value in (found.one, found.other)]
        gaps = [format(scale * value, sign + digits) for value in (gap.mean, gap.low, gap.high)]
        each = [format(scale * value, sign + digits) for value in found.differences.values()]
        test = ["-" if math.isnan(value) else format(value, ".3g") for value in (found.t, found.p)]
        lines.append([f"{dataset} {metric}", *means, *gaps, *test, str(gap.num), *each])
    names = [_name(one), _name(other)]
    head = ["Figure", *names, "difference", "95% low", "95% high", "t", "p", "n", *(f"seed {seed}" for seed in seeds)]
    said = (
        f"In percentage points: {names[0]} minus {names[1]}, seed by seed; paired t-test, two-sided, n = {len(seeds)}."
    )
    return Table(head, lines, [said, *_footer([one, other])])


def _dashes(cell: str) -> str:
    """For LaTeX: a minus before a number and a dash between two, where plain text has a hyphen for both."""
    return re.sub(r"(?<=\d)-(?=\d)", "--", re.sub(r"(?<![\w.])-(?=\d)", "$-$", cell))


def _name(recipe: Recipe) -> str:
    return f"{recipe.name} (oracle)" if recipe.runs[0].rows[0]["selection"] == "oracle" else recipe.name


def _cell(e: Estimate) -> str:
    if e.num == 1:
        return f"{100 * e.mean:.1f}"
    return f"{100 * e.mean:.1f} ± {100 * e.std:.1f} ({100 * e.low:.1f}-{100 * e.high:.1f})"


def _footer(recipes: Sequence[Recipe]) -> list[str]:
    run = recipes[0].runs[0]
    selection = run.rows[0]["selection"]
    oracle = ["oracle: the weights were chosen by the targets' own scores, which no unseen domain allows"]
    return [
        f"protocol {run.rows[0]['fingerprint']}; weights selected by {selection}",
        *(oracle if selection == "oracle" else []),
        *(f"  {line}" for line in summary.words(run)),
        *(f"note: {note}" for note in summary.notes(recipes)),
    ]
