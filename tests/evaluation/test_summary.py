"""Figures of several runs against numbers worked out by hand; what must not be put together is refused."""

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from reid import config
from reid.builder import recipes
from reid.evaluation import summary, tables

TOOL = Path(__file__).resolve().parents[2] / "tools" / "summarize.py"
T_2 = 4.302652729911275  # t(0.975) with 2 degrees of freedom, from a table


@pytest.fixture
def run(tmp_path):
    """Makes a run folder: `trials` are the R1 of a set's trials, mAP is 0.1 more; `earlier` was scored before."""

    def make(name: str, *overrides: str, seed: int = 0, earlier: float | None = None, **trials: list[float]) -> str:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        cfg = config.load(None, ["SEED", str(seed), "OUTPUT_DIR", str(folder), *overrides])
        (folder / "config.yaml").write_text(config.dump(cfg))
        rows = (
            [] if earlier is None else scoring(seed, {key: [earlier] * len(value) for key, value in trials.items()}, 5)
        )
        rows += scoring(seed, trials, 10)
        (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(folder)

    return make


def scoring(seed: int, trials: dict[str, list[float]], step: int) -> list[dict]:
    common = {"role": "target", "metric": "reid", "step": step, "seed": seed, "fingerprint": "aaaaaaaa"}
    common |= {"selection": "last", "num_query": 3}
    rows, means = [], []
    for dataset, figures in trials.items():
        at = {**common, "dataset": dataset}
        rows += [{**at, "kind": "trial", "trial": i, "R1": x, "mAP": x + 0.1} for i, x in enumerate(figures)]
        means.append(sum(figures) / len(figures))
        rows.append({**at, "kind": "dataset", "R1": means[-1], "mAP": means[-1] + 0.1, "num_trials": len(figures)})
    mean = sum(means) / len(means)
    last = {**common, "dataset": "mean", "kind": "mean", "num_datasets": len(means), "R1": mean, "mAP": mean + 0.1}
    return [*rows, {**last, "protocol": ["source a: 2 ids", "selection: last"]}]


def change(folder: str, **values: object) -> str:
    path = Path(folder, "results.jsonl")
    rows = [json.loads(line) | values for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def cells(text: str) -> dict[str, list[str]]:
    """The rows of a markdown table by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows}


def test_estimate_is_mean_spread_and_t_interval():
    found = summary.estimate([0.50, 0.52, 0.54])
    assert (found.num, found.mean, found.std) == (3, pytest.approx(0.52), pytest.approx(0.02))
    half = T_2 * 0.02 / math.sqrt(3)
    assert (found.low, found.high) == (pytest.approx(0.52 - half), pytest.approx(0.52 + half))


def test_one_value_has_no_spread():
    found = summary.estimate([0.5])
    assert (found.num, found.mean) == (1, 0.5)
    assert all(math.isnan(value) for value in (found.std, found.low, found.high))


def test_runs_that_differ_by_seed_are_one_row(run):
    paths = [run(f"base_s{seed}", seed=seed, viper=[0.50 + 0.02 * seed]) for seed in range(3)]
    paths += [
        run("wide_s0", "SOLVER.LR", "0.1", viper=[0.40]),
        run("wide_s1", "SOLVER.LR", "0.1", seed=1, viper=[0.40]),
    ]
    found = recipes.read(paths)
    assert [(recipe.name, len(recipe.runs)) for recipe in found] == [("base", 3), ("wide", 2)]
    assert cells(tables.table(found).text("markdown"))["base"] == [
        "3",
        "52.0 ± 2.0 (47.0-57.0)",
        "62.0 ± 2.0 (57.0-67.0)",
    ]


def test_runs_may_differ_in_what_decides_no_number(run):
    paths = [run("a/seed0", viper=[0.5]), run("a/seed1", "DATALOADER.WORKERS", "0", seed=1, viper=[0.5])]
    (recipe,) = recipes.read(paths)
    assert recipe.name == "a"


def test_only_the_last_scoring_counts(run):
    (recipe,) = recipes.read([run("a", earlier=0.9, viper=[0.5], grid=[0.3])])
    assert summary.by_seed(recipe, "viper", "R1") == {0: 0.5}
    assert summary.by_seed(recipe, "mean", "R1") == {0: 0.4}


def test_what_was_held_out_of_the_sources_is_read_by_its_role(run):
    folder = run("a", viper=[0.5])
    with pytest.raises(ValueError, match="found no row of a source"):
        recipes.read([folder], role="source")
    path = Path(folder, "results.jsonl")
    held = {**scoring(0, {"source_val": [0.7]}, 10)[1], "role": "source"}
    path.write_text(json.dumps(held) + "\n" + path.read_text())
    (recipe,) = recipes.read([folder], role="source")
    assert summary.columns([recipe]) == [("source_val", "R1"), ("source_val", "mAP")]
    assert recipe.runs[0].rows[0]["R1"] == 0.7
    assert summary.columns(recipes.read([folder])) == [("viper", "R1"), ("viper", "mAP")]


def test_other_targets_scored_before_in_the_same_folder_are_left_out(run):
    first, second = run("a", viper=[0.9]), run("b", viper=[0.5])
    earlier = Path(change(first, fingerprint="bbbbbbbb", dataset="prid"), "results.jsonl").read_text()
    path = Path(second, "results.jsonl")
    path.write_text(earlier + path.read_text())
    assert summary.columns(recipes.read([second])) == [("viper", "R1"), ("viper", "mAP")]


def test_spread_is_over_seeds_or_over_trials_and_never_pooled(run):
    paths = [run("a_s0", viper=[0.1, 0.2, 0.6]), run("a_s1", seed=1, viper=[0.3, 0.4, 0.8])]
    (recipe,) = recipes.read(paths)
    seeds = summary.figure(recipe, "viper", "R1", "seeds")
    assert (seeds.num, seeds.mean, seeds.std) == (2, pytest.approx(0.4), pytest.approx(0.2 / math.sqrt(2)))
    trials = summary.figure(recipe, "viper", "R1", "trials")  # 0.2, 0.3, 0.7
    assert (trials.num, trials.mean, trials.std) == (3, pytest.approx(0.4), pytest.approx(math.sqrt(0.07)))


def test_mean_of_the_sets_is_the_last_column(run):
    (recipe,) = recipes.read([run("a", viper=[0.5], grid=[0.3])])
    table = tables.table([recipe], metrics=["R1"])
    assert table.head == ["Recipe", "Seeds", "viper R1", "grid R1", "mean R1"]
    assert table.lines == [["a", "1", "50.0", "30.0", "40.0"]]


def test_rescored_searches_have_columns_of_their_own(run):
    folder = run("a", viper=[0.5])
    path = Path(folder, "results.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    more = [row | {"rescoring": "re-ranked", "R1": 0.6} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows + more))
    (recipe,) = recipes.read([folder])
    assert tables.table([recipe], metrics=["R1"]).lines == [["a", "1", "50.0", "60.0"]]
    assert summary.columns([recipe], ["R1"]) == [("viper", "R1"), ("viper, re-ranked", "R1")]


def test_footer_says_protocol_selection_and_notes(run):
    folder = change(run("a", viper=[0.5]), notes=["dukemtmc is withdrawn: 2019"])
    text = tables.table(recipes.read([folder])).text("markdown")
    assert text.splitlines()[-4:] == [
        "protocol aaaaaaaa; weights selected by last",
        "  source a: 2 ids",
        "  selection: last",
        "note: dukemtmc is withdrawn: 2019",
    ]


def test_oracle_is_named_in_its_row_and_explained(run):
    text = tables.table(recipes.read([change(run("a", viper=[0.5]), selection="oracle")])).text("markdown")
    assert "| a (oracle) |" in text
    assert "oracle: the weights were chosen by the targets' own scores" in text


def test_csv_has_fractions_at_full_precision(run):
    paths = [run("a,b_s0", viper=[0.1]), run("a,b_s1", seed=1, viper=[1 / 3])]
    text = tables.numbers(recipes.read(paths), metrics=["R1"]).text("csv")
    ((row),) = csv.DictReader(io.StringIO(text))
    assert (row["recipe"], row["seeds"], row["fingerprint"]) == ("a,b", "0 1", "aaaaaaaa")
    assert float(row["viper R1"]) == (0.1 + 1 / 3) / 2
    assert float(row["viper R1_std"]) == pytest.approx((1 / 3 - 0.1) / math.sqrt(2))
    assert row["viper R1_num"] == "2"


def test_latex_escapes_names(run):
    folder = run("50%_of_{all}&more", viper=[0.5])
    text = tables.table(recipes.read([folder]), metrics=["R1"]).text("latex")
    assert r"50\%\_of\_\{all\}\&more & 1 & 50.0 \\" in text
    assert text.splitlines()[-1] == r"\end{tabular}"
    assert all(line[0] in "%\\R5" for line in text.splitlines())


def test_interval_of_a_share_is_cut_at_0_and_100(run):
    folders = [run("a_s0", viper=[0.02]), run("a_s1", seed=1, viper=[0.08])]
    folders += [run("b_s0", "SOLVER.LR", "0.1", viper=[0.9]), run("b_s1", "SOLVER.LR", "0.1", seed=1, viper=[1.0])]
    low, high = recipes.read(folders)
    assert "5.0 ± 4.2 (0.0-43.1)" in tables.table([low], metrics=["R1"]).text("markdown")
    assert summary.figure(high, "viper", "R1").high == 1
    assert summary.compare(low, high, "viper", "R1").difference.low < -1  # a difference may be anything


def test_latex_has_a_minus_before_numbers_and_a_dash_between_them(run):
    folders = [run("x-2_s0", viper=[0.50]), run("x-2_s1", seed=1, viper=[0.54])]
    folders += [run("b_s0", "SOLVER.LR", "0.1", viper=[0.52]), run("b_s1", "SOLVER.LR", "0.1", seed=1, viper=[0.57])]
    one, other = recipes.read(folders)
    assert r"x-2 & 2 & 52.0 $\pm$ 2.8 (26.6--77.4) \\" in tables.table([one], metrics=["R1"]).text("latex")
    assert "viper R1 & 52.0 & 54.5 & $-$2.5 & " in tables.comparison(one, other, ["R1"]).text("latex")


def test_markdown_escapes_its_bars(run):
    assert r"| a\|b  " in tables.table(recipes.read([run("a|b", viper=[0.5])])).text("markdown")


def test_paired_comparison_by_hand(run):
    paths = [run(f"a_s{seed}", seed=seed, viper=[x]) for seed, x in enumerate((0.50, 0.52, 0.54))]
    paths += [
        run(f"b_s{seed}", "SOLVER.LR", "0.1", seed=seed, viper=[x]) for seed, x in ((2, 0.55), (0, 0.48), (1, 0.51))
    ]
    paths += [run("b_s7", "SOLVER.LR", "0.1", seed=7, viper=[0.9])]  # no partner
    one, other = recipes.read(paths)
    found = summary.compare(one, other, "viper", "R1")
    assert found.differences == {0: pytest.approx(0.02), 1: pytest.approx(0.01), 2: pytest.approx(-0.01)}
    assert (found.one, found.other) == (pytest.approx(0.52), pytest.approx(1.54 / 3))
    assert found.difference.mean == pytest.approx(0.02 / 3)
    t = math.sqrt(4 / 7)  # (0.02 / 3) / (sqrt(7 / 30000) / sqrt(3))
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))  # closed form for 2 degrees of freedom
    text = tables.comparison(one, other, ["R1"]).text("markdown")
    assert cells(text)["viper R1"] == [
        "52.0",
        "51.3",
        "+0.7",
        "-3.1",
        "+4.5",
        "0.756",
        "0.529",
        "3",
        "+2.0",
        "+1.0",
        "-1.0",
    ]
    assert "n = 3" in text
    assert all(set(cell) == set("-:") for cell in text.splitlines()[1].strip("| ").split(" | "))


def test_equal_differences_have_no_test(run):
    paths = [run(f"a_s{seed}", seed=seed, viper=[0.5 + seed / 10]) for seed in (0, 1)]
    paths += [run(f"b_s{seed}", "SOLVER.LR", "0.1", seed=seed, viper=[0.4 + seed / 10]) for seed in (0, 1)]
    one, other = recipes.read(paths)
    assert math.isnan(summary.compare(one, other, "viper", "R1").p)
    assert cells(tables.comparison(one, other, ["R1"]).text("markdown"))["viper R1"][5:7] == ["-", "-"]


def test_fewer_than_two_common_seeds_are_refused(run):
    paths = [run("a_s0", viper=[0.5]), run("a_s1", seed=1, viper=[0.5]), run("b", "SOLVER.LR", "0.1", viper=[0.5])]
    with pytest.raises(ValueError, match=r"found 1 seeds that both a \(\[0, 1\]\) and b \(\[0\]\) have; expected two"):
        summary.compare(*recipes.read(paths), "viper", "R1")


def test_two_protocols_are_refused_with_their_difference(run):
    one, other = run("a", viper=[0.5]), run("b", "TEST.FLIP", "true", viper=[0.5])
    change(other, fingerprint="bbbbbbbb", protocol=["source b: 2 ids", "selection: last"])
    found = recipes.read([one, other])
    for make in (tables.table, tables.numbers, lambda pair: tables.comparison(*pair)):
        with pytest.raises(
            ValueError, match=r"found 2 protocols, aaaaaaaa .* and bbbbbbbb .*make a table of each"
        ) as error:
            make(found)
        assert "only in aaaaaaaa: source a: 2 ids; only in bbbbbbbb: source b: 2 ids" in str(error.value)
        assert "selection: last" not in str(error.value)


def test_one_seed_twice_is_refused(run):
    with pytest.raises(ValueError, match=r"found seed 0 twice, in .*/a and .*/b"):
        recipes.read([run("a", viper=[0.5]), run("b", viper=[0.5])])


def test_runs_that_end_at_different_steps_are_refused(run):
    paths = [run("a_s0", viper=[0.5]), change(run("a_s1", seed=1, viper=[0.5]), step=7)]
    with pytest.raises(ValueError, match=r"end at different steps, .*a_s1 at step 7, .*a_s0 at step 10"):
        recipes.read(paths)


def test_unfinished_run_is_refused(run):
    folder = run("a", viper=[0.5])
    Path(folder, "model_last.pth").touch()
    with pytest.raises(ValueError, match="not finished; go on with it by --resume"):
        recipes.read([folder])
    Path(folder, "model_final.pth").touch()
    assert len(recipes.read([folder])) == 1


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("results.jsonl", None, r"found no results\.jsonl"),
        ("config.yaml", None, r"found no config\.yaml"),
        ("results.jsonl", "", "found no row of a target"),
        ("results.jsonl", "{", "line 1: not a row"),
        ("config.yaml", "SOLVR: 1", "no key SOLVR"),
    ],
)
def test_what_is_no_run_is_named(run, file, text, message):
    folder = run("broken", viper=[0.5])
    Path(folder, file).unlink()
    if text is not None:
        Path(folder, file).write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=rf"broken.*{message}"):
        recipes.read([folder])


def test_unknown_figure_and_unknown_recipe_are_answered_with_what_there_is(run):
    found = recipes.read([run("a", viper=[0.5])])
    with pytest.raises(ValueError, match="no figure R2; there are R1, mAP"):
        tables.table(found, metrics=["R2"])
    with pytest.raises(ValueError, match="no recipe b; there are a"):
        recipes.find(found, "b")


def test_tool_prints_a_table_a_comparison_and_its_refusal(run):
    def call(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False)

    paths = [
        run(f"{name}_s{seed}", *more, seed=seed, viper=[0.5 + seed / 10])
        for seed in (0, 1)
        for name, *more in (["a"], ["b", "SOLVER.LR", "0.1"])
    ]
    table = call(*paths, "--format", "latex", "--metrics", "R1")
    assert (table.returncode, table.stderr) == (0, "")
    assert r"a & 2 & 55.0 $\pm$ 7.1" in table.stdout
    pair = call(*paths, "--compare", "a", paths[1])
    assert "n = 2" in pair.stdout, pair.stderr
    change(paths[0], fingerprint="bbbbbbbb")
    refused = call(*paths)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: summary: found 2 protocols")
    assert len(refused.stderr.splitlines()) == 1
