"""Every row of the fair table with an equal search trains, at one end of its ranges and the other, and shares one table."""

from pathlib import Path

import pytest
import tiny_run

from reid import config
from reid.builder import runs, study

FILE = Path(__file__).resolve().parents[1] / "configs" / "studies" / "fair_search_omniglot.yaml"


def test_every_row_of_the_fair_search_trains(tiny_world, tmp_path):
    overrides = [word for pair in {**tiny_run.ROW, "DATASETS.ROOT": str(tiny_world)}.items() for word in pair]
    table = study.read(FILE, overrides)
    assert len(table.lines) == 14
    ends = []
    for number, line in enumerate(table.lines):
        assert len(line.space) == 2, "an equal search"
        assert "SOLVER.LR" in line.space
        chosen = {key: wanted.probes()[number % 2] for key, wanted in line.space.items()}
        job = line.train(tmp_path / str(number), 0, study.words(chosen))
        ends.append(runs.train(config.load(line.recipe, job.words[4:]))[-1])
    assert {row["step"] for row in ends} == {2}
    assert len({row["fingerprint"] for row in ends}) == 1
    assert len({row["mAP"] for row in ends}) > 7, "the rows are no copies of one another"


def test_every_range_of_the_fair_search_is_one_that_its_option_takes():
    pytest.importorskip("optuna", reason="optuna is in the extra `search`")
    from reid.builder import search

    search.check(study.read(FILE))
