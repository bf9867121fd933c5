"""Plots: where points lie, which values stand on the axes, and what is told without a picture."""

import re

import pytest

from reid.pages import draw
from reid.pages.draw import Curve, Point


def path(svg):
    (points,) = re.findall(r'<polyline class="k0" points="([^"]+)">', svg)
    return [tuple(map(float, pair.split(","))) for pair in points.split()]


def test_curve_goes_from_corner_to_corner():
    svg = draw.curves("It", [Curve("", [(0, 2.0), (5, 3.0), (10, 4.0)])], x="k", y="%")
    assert path(svg) == [(46, 214), (259, 111), (472, 8)]
    assert "2 at 0, 4 at 10" in svg


def test_logarithmic_axis_and_equal_values():
    svg = draw.curves("It", [Curve("", [(1, 0.01), (2, 1.0), (3, 100.0)])], x="k", y="%", log=True)
    assert [y for _, y in path(svg)] == [214, 111, 8]
    flat = draw.curves("It", [Curve("", [(1, 5.0), (2, 5.0)])], x="k", y="%")
    assert [y for _, y in path(flat)] == [111, 111]
    assert path(draw.curves("It", [Curve("", [(7, 0.0)])], x="k", y="%")) == [(259, 111)]


def test_curves_have_a_key_with_dashes_of_their_own_and_names_are_escaped():
    svg = draw.curves("<It>", [Curve("<b>", [(0, 1)]), Curve("c", [(0, 2)])], x="k", y="%")
    assert "<b>" not in svg
    assert "&lt;b&gt;" in svg
    assert svg.count('class="k0"') == svg.count('class="k1"') == 2


def test_long_curves_are_thinned_and_keep_their_end():
    points = path(draw.curves("It", [Curve("", [(n, n) for n in range(2001)])], x="k", y="%"))
    assert len(points) <= draw.MOST + 1
    assert points[-1] == (472, 8)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 100), (-3, 7), (12.3, 12.4), (1e-7, 3e-7), (5, 1e6)])
def test_ticks_are_a_few_round_values_inside(low, high):
    ticks = draw._Scale(low, high, 0, 1).ticks()
    assert 3 <= len(ticks) <= 10
    room = 1e-9 * (high - low)
    assert all(low - room <= tick <= high + room for tick in ticks)
    step = ticks[1] - ticks[0]
    assert f"{step:.0e}"[0] in "125"


def test_letters_are_drawn_over_dots_and_say_who_they_are():
    svg = draw.scatter("It", [Point(0, 0, "A", "person 3"), Point(1, 1, "", "person 4")], x="x", y="y")
    assert svg.index("<circle") < svg.index(">A<title>person 3</title>")


def test_strip_has_a_ring_for_each_value_and_a_stroke_at_the_mean():
    svg = draw.strip([0, 1, 1], 0, 1)
    assert re.findall(r'cx="([\d.]+)"', svg) == ["6.0", "234.0", "234.0"]
    assert 'class="mean" x1="158.0"' in svg
