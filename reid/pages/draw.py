"""Plots as inline SVG: curves, points, and values on a line.

By hand, as no library was smaller than what it would save: pygal brings a script and a style sheet of 10 kB into each plot,
which reaches beyond the plot; matplotlib is 60 MB to install, and its pictures keep their colours on a dark page. Here a
curve takes its colour from the page's style, is told apart by its dashes too, and says its name where a mouse rests on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reid.pages import render

LEFT, RIGHT, TOP, BOTTOM = 46.0, 472.0, 8.0, 214.0  # of the plot within 480 x 250
KINDS = 6  # of colours and dashes in the style
MOST = 300  # points of a curve


@dataclass(frozen=True)
class Curve:
    """label: of the key. points: (x, y), x rising."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Point:
    """mark: a letter that is drawn, or empty for a dot. told: what it says where a mouse rests on it."""

    x: float
    y: float
    mark: str
    told: str


def curves(title: str, drawn: Sequence[Curve], *, x: str, y: str, log: bool = False) -> Markup:
    """Curves over one another; log: of the y axis, where all values are above 0."""
    values = [value for curve in drawn for _, value in curve.points]
    log = log and min(values) > 0
    across = _Scale.of([at for curve in drawn for at, _ in curve.points], LEFT, RIGHT)
    up = _Scale.of([math.log10(value) for value in values] if log else values, BOTTOM, TOP)
    lines = []
    for number, curve in enumerate(drawn):
        points = _thinned(curve.points)
        path = " ".join(f"{across(at):.1f},{up(math.log10(value) if log else value):.1f}" for at, value in points)
        (at, value), (to, last) = points[0], points[-1]
        name = f"{curve.label}: " if curve.label else ""
        told = f"{name}{_text(value)} at {_text(at)}, {_text(last)} at {_text(to)}"
        lines.append({"kind": number % KINDS, "label": curve.label, "path": path, "told": told})
    return _chart(title, across, up, x=x, y=y, log=log, lines=lines, points=[])


def scatter(title: str, drawn: Sequence[Point], *, x: str, y: str) -> Markup:
    """Points of two coordinates on one scale each."""
    across = _Scale.of([point.x for point in drawn], LEFT, RIGHT)
    up = _Scale.of([point.y for point in drawn], BOTTOM, TOP)
    marks = sorted({point.mark for point in drawn} - {""})
    points = [
        {
            "x": f"{across(point.x):.1f}",
            "y": f"{up(point.y):.1f}",
            "mark": point.mark,
            "kind": marks.index(point.mark) % KINDS if point.mark else 0,
            "told": point.told,
        }
        for point in sorted(drawn, key=lambda point: point.mark != "")  # letters on top
    ]
    return _chart(title, across, up, x=x, y=y, log=False, lines=[], points=points)


def strip(values: Sequence[float], low: float, high: float) -> Markup:
    """Values as dots on one line from `low` to `high`, and their mean as a stroke."""
    scale = _Scale(low, high if high > low else low + 1, 6, 234)
    dots = [{"x": f"{scale(value):.1f}", "told": _text(value)} for value in values]
    return render("strip.svg", dots=dots, mean=f"{scale(sum(values) / len(values)):.1f}")


@dataclass(frozen=True)
class _Scale:
    """From values low..high to px start..end."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float) -> _Scale:
        low, high = min(values), max(values)
        room = (high - low) / 20 or abs(high) / 20 or 1.0  # of equal values, too, there is a middle
        return cls(low - (low == high) * room, high + (low == high) * room, start, end)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Four to ten round values."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(factor for factor in (5, 2, 1) if (self.high - self.low) / (step * factor) >= 3.5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def _chart(title: str, across: _Scale, up: _Scale, *, x: str, y: str, log: bool, lines: list, points: list) -> Markup:
    return render(
        "chart.svg",
        title=title,
        x=x,
        y=y,
        columns=[(f"{across(value):.1f}", _text(value)) for value in across.ticks()],
        rows=[(f"{up(value):.1f}", _text(10**value if log else value)) for value in up.ticks()],
        lines=lines,
        points=points,
        box=(LEFT, RIGHT, TOP, BOTTOM),
    )


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Not more than MOST of them, the last among them."""
    step = -(-len(points) // MOST)
    return points if step == 1 else [*points[:-1:step], points[-1]]


def _text(value: float) -> str:
    """As short as it can be: labels stand in a margin."""
    if 0 < abs(value) < 1e-2:
        return f"{value:.3g}" if len(f"{value:.3g}") < 7 else f"{value:.1e}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
