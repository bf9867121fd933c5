"""A name with anything in it ends no line and no cell, and is read back as what it was wherever it can be."""

import csv
import io
import logging
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import errors, escape, runtime
from reid.data.records import Card, Dataset
from reid.evaluation import report
from reid.evaluation.tables import Table

NAMES = st.text(max_size=12)  # of all characters there are, surrogates of undecodable file names left out
HOSTILE = "a|b\n\x1b[31m<img src=x>`$\\x$`\u202e_c*"


@settings(deadline=None)
@given(NAMES)
def test_lines_hold_no_character_that_acts(text):
    shown = escape.line(text)
    assert "\n" not in shown
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_lines_leave_what_is_seen_as_it_is():
    assert escape.line("pku_reid, 32±1 (é, 水)") == "pku_reid, 32±1 (é, 水)"
    assert escape.line("a\nb\x1b[0m\udc80") == r"a\nb\x1b[0m\udc80"
    assert escape.lines("a\tb\nc\x07") == "a\\tb\nc\\x07"


@settings(deadline=None)
@given(NAMES, NAMES)
def test_tables_keep_their_cells_apart(one, other):
    table = Table(["Name", "Other"], [[one, other]], [one])
    marked = table.text("markdown").splitlines()[2]
    assert len([i for i, c in enumerate(marked) if c == "|" and not escaped(marked, i)]) == 3
    _, line = csv.reader(io.StringIO(table.text("csv")))
    assert [cell.lstrip("'") for cell in line] == [escape.line(one).lstrip("'"), escape.line(other).lstrip("'")]
    assert len(table.text("latex").split("\n")) == 8
    assert len(table.text("markdown").split("\n")) == 5


def escaped(text, place):
    before = text[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def test_markdown_shows_html_and_links_and_runs_none():
    assert escape.markdown("<b>[x](y) *a* `c` d_e") == r"\<b\>\[x\](y) \*a\* \`c\` d_e"


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@a", "'@a"),
        ("-a", "'-a"),
        ("+a", "'+a"),
        ("-1.5", "-1.5"),
        ("+2e-3", "+2e-3"),
        ("a=", "a="),
    ],
)
def test_spreadsheets_compute_no_name(cell, written):
    assert escape.csv(cell) == written


def test_latex_prints_every_sign():
    assert escape.latex(r"50%_[a]\b{c}~^") == (
        r"50\%\_{[}a{]}\textbackslash{}b\{c\}\textasciitilde{}\textasciicircum{}"
    )


def test_formulas_of_plots_are_no_names(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.text(0, 0, escape.plot(r"$\nothing$ at $ all"))
    figure.savefig(tmp_path / "a.png")  # a formula that is none would raise
    assert (tmp_path / "a.png").stat().st_size


def test_sets_errors_and_logs_say_a_hostile_name_in_one_line(capsys, tmp_path):
    dataset = Dataset(HOSTILE, tmp_path, [], [], Card("t", "t", "p"))
    assert "\n" not in repr(dataset)
    row = {"kind": "dataset", "dataset": HOSTILE, "role": "target", "metric": "reid", "selection": "last"}
    assert len(report.table([{**row, "fingerprint": "0a1b2c3d", "R1": 0.5}]).splitlines()) == 5
    with pytest.raises(SystemExit), errors.in_one_line():
        raise ValueError(HOSTILE)
    runtime.start_log(tmp_path / "log.txt")
    try:
        runtime.log.info("%s", HOSTILE)
    finally:
        for handler in runtime.log.handlers[:]:
            runtime.log.removeHandler(handler)
            handler.close()
        runtime.log.setLevel(logging.NOTSET)
    for said in (capsys.readouterr().err, (tmp_path / "log.txt").read_text()):
        assert "\x1b" not in said
        assert "\u202e" not in said


@pytest.mark.parametrize("name", ["", "a/b", "../../a"])
def test_name_of_a_set_that_would_leave_a_folder_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="found a data set called"):
        Dataset(name, tmp_path, [], [], Card("t", "t", "p"))
