"""Tables in FastReID's form; no table mixes protocols; a line of results is written whole."""

import json

import pytest

from reid.evaluation.report import append, read, table


def row(dataset="viper", **more):
    figures = {"R1": 0.265, "R5": 0.5, "R10": 0.604, "mAP": 0.191, "mINP": 0.0449}
    return {
        "kind": "dataset",
        "dataset": dataset,
        "role": "target",
        "metric": "reid",
        "num_trials": 1,
        "step": 20,
        "seed": 0,
        "fingerprint": "0a1b2c3d",
        "selection": "last",
        **figures,
        **more,
    }


def test_the_table_of_people():
    mean = row("mean", kind="mean", num_datasets=2)
    assert table([row(kind="trial"), row(), row("market1501", R1_std=0.0123), mean]).splitlines() == [
        "| Dataset    | Role   |     Rank-1 | Rank-5 | Rank-10 |  mAP | mINP |",
        "| :--------- | :----- | ---------: | -----: | ------: | ---: | ---: |",
        "| viper      | target |       26.5 |   50.0 |    60.4 | 19.1 |  4.5 |",
        "| market1501 | target | 26.5 ± 1.2 |   50.0 |    60.4 | 19.1 |  4.5 |",
        "| mean       | target |       26.5 |   50.0 |    60.4 | 19.1 |  4.5 |",
        "",
        "protocol 0a1b2c3d",
    ]


def test_intervals_stand_in_brackets():
    assert "26.5 (24.0-29.1)" in table([row(R1_low=0.24, R1_high=0.291)])


def test_a_mean_of_one_set_is_left_out():
    assert "mean" not in table([row(), row("mean", kind="mean", num_datasets=1)])


def test_retrieval_sets_have_a_table_of_their_own():
    figures = {"R@1": 0.5, "R@10": 0.75, "R@2": 0.625, "MAP@R": 0.25, "RP": 0.3}
    other = {"kind": "dataset", "dataset": "cub", "role": "target", "metric": "retrieval", **figures}
    lines = table([row(), {**other, "fingerprint": "0a1b2c3d", "selection": "last"}]).splitlines()
    assert lines[0].startswith("| Dataset | Role   | Rank-1 |")
    assert " ".join(lines[4].split()) == "| Dataset | Role | R@1 | R@2 | R@10 | MAP@R | RP |"
    assert " ".join(lines[6].split()) == "| cub | target | 50.0 | 62.5 | 75.0 | 25.0 | 30.0 |"


def test_every_figure_of_retrieval_that_some_row_has_is_a_column():
    common = {"kind": "dataset", "role": "target", "metric": "retrieval", "fingerprint": "0a", "selection": "last"}
    one = {**common, "dataset": "sop", "R@1": 0.5, "R@1000": 0.75, "MAP@R": 0.25, "RP": 0.3, "MRR": 0.6}
    other = {**common, "dataset": "inshop", "R@1": 0.5, "R@20": 0.7, "MAP@R": 0.2, "RP": 0.3, "NMI": 0.8, "AMI": 0.4}
    lines = [" ".join(line.split()) for line in table([one, other]).splitlines()]
    assert lines[0] == "| Dataset | Role | R@1 | R@20 | R@1000 | MAP@R | RP | MRR | NMI | AMI |"
    assert lines[2] == "| sop | target | 50.0 | - | 75.0 | 25.0 | 30.0 | 60.0 | - | - |"
    assert lines[3] == "| inshop | target | 50.0 | 70.0 | - | 20.0 | 30.0 | - | 80.0 | 40.0 |"


def test_rescored_rows_say_so():
    lines = table([row(), row(rescoring="re-ranking", R1=0.5)]).splitlines()
    assert lines[2].startswith("| viper             | target |   26.5 |")
    assert lines[3].startswith("| viper, re-ranking | target |   50.0 |")


def test_oracle_is_said_on_every_line():
    text = table([row(selection="oracle"), row("market1501", selection="oracle")])
    lines = [line for line in text.splitlines() if line][2:]  # below the headings
    assert len(lines) == 3
    assert all("oracle" in line for line in lines)


def test_two_protocols_or_selections_are_never_mixed():
    with pytest.raises(ValueError, match="2 fingerprints, 0a1b2c3d and ffffffff"):
        table([row(), row(fingerprint="ffffffff")])
    with pytest.raises(ValueError, match="2 selections, last and oracle"):
        table([row(), row(selection="oracle")])
    with pytest.raises(ValueError, match="no row of a data set"):
        table([row(kind="trial")])


def test_rows_are_appended_and_read_back(tmp_path):
    path = tmp_path / "results.jsonl"
    append(path, [row(), row("market1501")])
    append(path, [row("cuhk03")])
    assert [found["dataset"] for found in read(path)] == ["viper", "market1501", "cuhk03"]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    append(path, [row()])
    path.write_text(path.read_text() + '{"kind": "tri\n')
    with pytest.raises(ValueError, match="line 2: not a row of results"):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": None}, "kind is of type NoneType, expected str"),
        ({"step": "20"}, "step is of type str, expected int"),
        ({"mAP": "high"}, "mAP is of type str, expected float"),
        ({"notes": "one"}, "notes is of type str, expected list"),
        ({"kind": "trial"}, "it is a row of the kind trial without trial"),
        ({"kind": "other"}, "it is a row of the kind other without a meaning"),
    ],
)
def test_a_row_that_is_malformed_is_named(tmp_path, change, message):
    append(tmp_path / "results.jsonl", [row(), row(**change)])
    with pytest.raises(ValueError, match=rf"line 2: not a row of results \({message}"):
        read(tmp_path / "results.jsonl")
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    with pytest.raises(ValueError, match=r"line 1: not a row of results \(it is of type list, expected dict"):
        read(tmp_path / "list.jsonl")


def test_figures_that_are_no_numbers_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        append(tmp_path / "results.jsonl", [row(mAP=float("nan"))])
