"""Every row of the study of a memory on many people of few pictures trains, the memory at work, and shares one table."""

from pathlib import Path

import tiny_run

from reid import config
from reid.builder import runs, study

FILE = Path(__file__).resolve().parents[1] / "configs" / "studies" / "xbm_people.yaml"
SMALL = {**tiny_run.ROW, "MODEL.BACKBONE.WEIGHTS": "none"}


def test_every_row_of_the_xbm_study_trains(tiny_world, tmp_path):
    ends = []
    for number, line in enumerate(study.read(FILE).lines):
        said = {**SMALL, "DATASETS.ROOT": str(tiny_world)}
        if "MEMORY.SIZE" in line.settings:
            said |= {"MEMORY.SIZE": 32, "MEMORY.START_STEP": 0}
        job = line.train(tmp_path / str(number), 0, study.words(said))
        ends.append(runs.train(config.load(line.recipe, job.words[4:]))[-1])
    assert len(ends) == 12
    assert {row["step"] for row in ends} == {2}
    assert len({row["fingerprint"] for row in ends}) == 1
    assert len({row["mAP"] for row in ends}) > 6, "the rows are no copies of one another"
