"""`run.html`: it loads nothing, says what the files of the run say, and shows no picture that it may not."""

import json
import shutil

import cv2
import pytest
import tiny_run
from html_page import Page

from reid import commands
from reid.builder import page, runs
from reid.builder.page import charts, compared
from reid.evaluation import report, summary
from reid.evaluation.kept.form import Outcome

NAME = "<img src=x onerror=alert(1)>&\u202e"
OVERRIDES = {
    "DATASETS.TARGETS": f"[{{NAME: folder, PATH: target, AS: '{NAME}'}}]",
    "LOSSES": "[softmax, triplet]",
    "SOLVER.EPOCHS": "1",
    "TEST.BOOTSTRAP": "50",
}


@pytest.fixture(scope="module")
def trained(tiny_world, tmp_path_factory):
    """Two runs of two seeds, and one without a page."""
    folder = tmp_path_factory.mktemp("pages")
    for name, more in {
        "a": {"TEST.REPORT": "True"},
        "b": {"TEST.REPORT": "True", "SEED": "1", "INPUT.AUGMENT": "[]"},
        "bare": {},
    }.items():
        runs.train(tiny_run.build(tiny_world, folder / name, {**OVERRIDES, **more}))
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run that a test may change."""
    return shutil.copytree(trained / "a", tmp_path / "a")


def call(*words):
    commands.main(["report", *map(str, words)])


def changed(run, **values):
    content = json.loads((run / page.KEPT).read_text())
    content["sets"][0].update(values)
    (run / page.KEPT).write_text(json.dumps(content))


def test_page_changes_nothing_of_the_run_and_is_left_out_where_asked(trained):
    for name in ("results.jsonl", "metrics.jsonl"):
        assert (trained / "a" / name).read_text() == (trained / "bare" / name).read_text()
    assert (trained / "a" / page.PAGE).is_file()
    assert not (trained / "bare" / page.PAGE).exists()
    assert not (trained / "bare" / page.KEPT).exists()


def test_set_of_unknown_terms_shows_no_picture_unless_asked(trained, run):
    first = Page(trained / "a" / page.PAGE).check()
    assert first.pictures() == []
    assert "its terms do not allow it, or are not known" in first.text
    call(run, "--pictures")
    shown = Page(run / page.PAGE).check()
    kept = json.loads((run / page.KEPT).read_text())["sets"][0]
    num = sum(1 + len(ranked["found"]) + 2 * (ranked["activation"] is not None) for ranked in kept["ranked"])
    assert len(shown.pictures()) == num
    assert "its terms do not allow it" not in shown.text
    changed(run, may_show=True)
    call(run)
    assert len(Page(run / page.PAGE).check().pictures()) == num


def test_pictures_are_those_that_were_found(run):
    call(run, "--pictures")
    kept = json.loads((run / page.KEPT).read_text())["sets"][0]
    expected = [each["path"] for each in (kept["ranked"][0]["query"], *kept["ranked"][0]["found"])]
    for (alt, image), path in zip(Page(run / page.PAGE).pictures(), expected, strict=False):
        assert alt.endswith(path.rpartition("/")[2])
        reference = cv2.resize(cv2.imread(path), (48, 96), interpolation=cv2.INTER_AREA)
        assert abs(image.astype(int) - reference).mean() < 12


def test_figures_and_curves_are_those_of_the_results(trained):
    rows = summary.last_scoring(report.read(trained / "a" / "results.jsonl"))
    row = next(row for row in rows if row["kind"] == "dataset")
    ((head, (line,)),) = report.grids(rows)
    shown = Page(trained / "a" / page.PAGE)
    assert head in shown.cells
    assert line[1:] in [cells[1:] for cells in shown.cells]
    assert line[2] == f"{100 * row['R1']:.1f} ({100 * row['R1_low']:.1f}-{100 * row['R1_high']:.1f})"
    assert f"Protocol {row['fingerprint']}" in shown.text
    kept = json.loads((trained / "a" / page.KEPT).read_text())["sets"][0]
    points = dict(charts.cmc_points(kept))
    for name in ("R1", "R5", "R10"):
        assert points[int(name[1:])] == pytest.approx(100 * row[name], abs=1e-9)
    assert sum(kept["trials"][0]["ap"]) / len(kept["trials"][0]["ap"]) == pytest.approx(row["mAP"])
    labels = " ".join(svg.get("aria-label", "") for svg in shown.all("svg"))
    assert f"{points[1]:.4g} at 1" in labels
    losses = report.lines(trained / "a" / "metrics.jsonl")
    assert f"{losses[0]['triplet']:.4g} at {losses[0]['step']}" in labels


def test_right_and_wrong_are_told_in_words_and_by_borders(run):
    call(run, "--pictures")
    shown = Page(run / page.PAGE)
    kinds = [figure["class"] for figure in shown.all("figure")]
    kept = json.loads((run / page.KEPT).read_text())["sets"][0]
    told = [found["right"] for ranked in kept["ranked"] for found in ranked["found"]]
    assert (kinds.count("right"), kinds.count("wrong")) == (sum(told), len(told) - sum(told))
    assert (shown.text.count("✓ right"), shown.text.count("✗ wrong")) == (sum(told), len(told) - sum(told))
    assert sum(told) not in (0, len(told))
    style = shown.source.split("<style>")[1]
    assert ".right { border: 3px solid" in style
    assert ".wrong { border: 3px dashed" in style


def test_hostile_names_are_text(trained, run):
    renamed = run.rename(run.with_name("<b onclick=x>&"))
    changed(renamed, title="</style><script>alert(1)</script>", terms="a\x1b[31m")
    call(renamed, "--pictures")
    for path in (trained / "a" / page.PAGE, renamed / page.PAGE):
        shown = Page(path).check()
        assert "<img src=x onerror=alert(1)>&\\u202e" in shown.text
        assert "\u202e" not in shown.source
        assert "\x1b" not in shown.source
    assert "</style><script>alert(1)</script>" in shown.text
    assert "<b onclick=x>&" in shown.text


def test_missing_pictures_and_a_full_page_are_told(run, monkeypatch):
    content = json.loads((run / page.KEPT).read_text())
    content["sets"][0]["ranked"][0]["query"]["path"] = str(run / "gone.jpg")
    (run / page.KEPT).write_text(json.dumps(content))
    monkeypatch.setattr("reid.builder.page.lists.FULL", 4000)
    call(run, "--pictures")
    shown = Page(run / page.PAGE).check()
    assert shown.source.count("<p>missing</p>") >= 1
    assert "pictures are left out: there was no room" in shown.text
    assert sum(len(image["src"]) for image in shown.all("img")) <= 4000


def test_what_was_kept_of_another_scoring_is_not_shown(run):
    content = json.loads((run / page.KEPT).read_text())
    (run / page.KEPT).write_text(json.dumps({**content, "step": content["step"] + 1}))
    call(run, "--pictures")
    shown = Page(run / page.PAGE).check()
    assert shown.pictures() == []
    assert "was not made with TEST.REPORT True" in shown.text


def test_damaged_file_is_one_line(run, capsys):
    (run / page.KEPT).write_text('{"sets": 3}')
    with pytest.raises(SystemExit):
        call(run)
    told = capsys.readouterr().err.strip()
    assert "page.json: not what a scoring keeps for its page" in told
    assert "\n" not in told


def test_several_runs_side_by_side(trained, tmp_path):
    call(trained / "a", trained / "b", "--output", tmp_path / "c.html", "--pictures")
    shown = Page(tmp_path / "c.html").check()
    assert "2 runs" in shown.text
    gaps = [line for line in shown.cells if len(line) == 7 and line[0].endswith(("Rank-1", "AP"))]
    assert len(gaps) == 2
    firsts = [
        next(row["R1"] for row in report.read(trained / name / "results.jsonl") if row["kind"] == "dataset")
        for name in "ab"
    ]
    assert float(gaps[0][1]) == pytest.approx(100 * (firsts[1] - firsts[0]), abs=0.06)
    assert sum(map(int, gaps[0][4:])) == 16


def test_difference_by_query_by_hand():
    one = Outcome(ap=[1.0, 0.5, 0.25], first=[1, 1, 3], pid=[1, 1, 2])
    other = Outcome(ap=[0.5, 0.5, 0.5], first=[2, 1, 1], pid=[1, 1, 2])
    kept = [{"dataset": "x", "trials": [outcome]} for outcome in (one, other)]
    hits, precisions = compared.by_query(*kept)
    assert hits == ["x Rank-1", "+0.0", hits[2], hits[3], "1", "1", "1"]
    assert precisions == ["x AP", "+8.3", "-25.0", "+25.0", "1", "1", "1"]
    assert compared.by_query(kept[0], {"dataset": "x", "trials": [{**other, "pid": [1, 2, 2]}]}) == []


def test_spread_over_trials_and_seeds():
    def run(seed, firsts):
        common = {"dataset": "viper", "metric": "reid", "role": "target"}
        rows = [{**common, "kind": "trial", "trial": n, "R1": first} for n, first in enumerate(firsts)]
        mean = {**common, "kind": "dataset", "num_trials": len(firsts), "R1": sum(firsts) / len(firsts)}
        return summary.Run(str(seed), seed, tuple({**row, "step": 1, "selection": "last"} for row in (*rows, mean)))

    recipe = summary.Recipe("it", (run(0, [0.1, 0.3]), run(1, [0.3, 0.5])))
    trials, seeds = charts.spreads([recipe])
    assert [(t["over"], t["lines"][0]["num"]) for t in (trials, seeds)] == [("trials", 2), ("seeds", 2)]
    assert trials["lines"][0]["told"].startswith("30.0 ± 14.1 (")
    assert trials["lines"][0]["ends"] == "20.0 to 40.0"
    assert seeds["lines"][0]["strip"].count("<circle") == 2
