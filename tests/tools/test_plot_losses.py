"""The picture of the losses from the command line; what is in it, tests/builder/test_weighting.py tests."""

import runpy
import sys
from pathlib import Path

import pytest

from reid.builder import weighting

TOOL = Path(__file__).parents[2] / "tools" / "plot_losses.py"


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_losses_and_file_are_handed_on_and_what_was_drawn_is_told(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(weighting, "draw", lambda path, names: drawn.append((path, names)) or ["circle"])
    run(monkeypatch)
    run(monkeypatch, "circle", "--output", "weights.svg")
    assert drawn == [("losses.png", []), ("weights.svg", ["circle"])]
    assert capsys.readouterr().out == "losses.png: circle\nweights.svg: circle\n"


def test_what_cannot_be_drawn_ends_in_one_line(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "softmax", "--output", tmp_path / "weights.png")
    assert "error: losses.softmax takes no pairs; pair losses are " in capsys.readouterr().err
