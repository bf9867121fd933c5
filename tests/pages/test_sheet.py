"""The sheet of ranked lists: what is right, wrong and asked is told apart by the border's form, and no set is shown that may not."""

import json
import sys

import cv2
import numpy as np
import pytest
import tiny_run

from reid import commands
from reid.builder import runs
from reid.builder.page import sheet


def ranked(folder, kind="worst"):
    """A query of grey 10, a wrong picture of grey 60 at rank 1 and a right one of grey 110, gone from the disk, at rank 2."""
    for grey in (10, 60):
        cv2.imwrite(str(folder / f"{grey}.png"), np.full((16, 8, 3), grey, np.uint8))
    query, *others = ({"path": str(folder / f"{grey}.png"), "pid": 7, "camid": None} for grey in (10, 60, 110))
    found = [{**each, "rank": r, "score": 0.5, "right": r == 2} for r, each in enumerate(others, start=1)]
    return {"kind": kind, "query": query, "ap": 0.5, "first": 2, "num_matches": 1, "found": found, "activation": None}


def test_cells_stand_in_order_each_in_the_border_of_its_kind(tmp_path):
    image = sheet.sheet([ranked(tmp_path)])
    whole = sheet.NARROWEST + 2 * (sheet.BORDER + 2) + sheet.GAP
    top = sheet.GAP + sheet.LINE
    assert image.shape == (
        top + sheet.TALL + 3 * sheet.LINE + 2 * (sheet.BORDER + 2) + sheet.GAP,
        sheet.GAP + 3 * whole,
        3,
    )
    for number, (grey, colour) in enumerate(((10, sheet.ASKED), (60, sheet.WRONG), (255, sheet.RIGHT))):
        left = sheet.GAP + number * whole
        np.testing.assert_array_equal(image[top + 40, left + 20], [grey] * 3)
        edge = image[top, left : left + whole - sheet.GAP]
        drawn = (edge == colour).all(axis=1)
        assert drawn[0]
        changes = np.flatnonzero(np.diff(drawn.astype(int)))
        assert (changes[0] + 1 if len(changes) else 0) == sheet.DASHES[colour]


def test_a_picture_that_is_gone_is_said_and_all_are_refused(tmp_path):
    each = ranked(tmp_path)
    cell = sheet.sheet([each])[
        sheet.GAP + sheet.LINE :, sheet.GAP + 2 * (sheet.NARROWEST + 2 * (sheet.BORDER + 2) + sheet.GAP) :
    ]
    assert (cell[8 : 8 + sheet.LINE, 8:40] < 100).any(), "it says that it is gone"
    for grey in (10, 60):
        (tmp_path / f"{grey}.png").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"10\.png: found neither this picture nor another of 3; expected them where"
    ):
        sheet.sheet([each])


@pytest.fixture(scope="module")
def run(tiny_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet") / "run"
    runs.train(tiny_run.build(tiny_world, folder, {"LOSSES": "[softmax]", "SOLVER.EPOCHS": "1", "TEST.REPORT": "True"}))
    return folder


def plot(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["reid", "plot", "ranked", *map(str, words)])
    commands.main()


def test_sheet_of_a_run(run, tmp_path, monkeypatch, capsys):
    plot(monkeypatch, run, "--pictures", "--lists", "3", "--output", tmp_path / "x.png")
    assert capsys.readouterr().out == f"{tmp_path / 'x.png'}: ranked pictures of target\n"
    image = cv2.imread(str(tmp_path / "x.png"))
    (kept,) = json.loads((run / "page.json").read_text())["sets"]
    rows = sum(min(3, sum(each["kind"] == kind for each in kept["ranked"])) for kind in ("worst", "random", "best"))
    assert image.shape[0] == sheet.GAP + rows * (4 * sheet.LINE + sheet.TALL + 2 * (sheet.BORDER + 2) + sheet.GAP)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the terms of target do not allow pictures to be shown, or are not known; --pictures draws them"),
        (["--set", "targt", "--pictures"], "--set: no targt; did you mean target?; there are target"),
    ],
)
def test_what_is_not_there_or_may_not_be_shown_is_one_line(run, tmp_path, monkeypatch, capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        plot(monkeypatch, run, *words, "--output", tmp_path / "x.png")
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_a_run_without_a_page_is_one_line(run, tmp_path, monkeypatch, capsys):
    for name in ("config.yaml", "results.jsonl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(SystemExit, match="2"):
        plot(monkeypatch, tmp_path)
    assert "found no page.json of its last scoring; score it with TEST.REPORT True" in capsys.readouterr().err
