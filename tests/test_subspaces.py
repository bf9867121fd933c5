"""Every row of the studies of several learners trains through divisions and both ends of its schedule, and shares one table."""

from pathlib import Path

import pytest
import tiny_run

from reid import config
from reid.builder import runs, study

STUDIES = Path(__file__).resolve().parents[1] / "configs" / "studies"
SMALL = {
    **tiny_run.ROW,
    "MODEL.BACKBONE": "{NAME: tiny, WEIGHTS: none}",
    "SOLVER.MAX_STEPS": "13",  # three an epoch: the whole embedding learns from step 12 on
}


@pytest.mark.parametrize("name", ["omniglot", "grocery_store"])
def test_every_row_of_the_subspace_study_trains(tiny_world, tmp_path, name):
    overrides = [word for pair in {**SMALL, "DATASETS.ROOT": str(tiny_world)}.items() for word in pair]
    jobs = [job for job in study.load(STUDIES / f"subspaces_{name}.yaml", overrides) if job.seed == 0]
    assert len(jobs) == 7
    ends = []
    for number, job in enumerate(jobs):
        train, _, recipe, resume, *settings = job.words
        assert (train, resume) == ("train", "--resume")
        settings[settings.index("OUTPUT_DIR") + 1] = str(tmp_path / str(number))
        ends.append(runs.train(config.load(recipe, settings))[-1])
    assert {row["step"] for row in ends} == {13}
    assert len({row["fingerprint"] for row in ends}) == 1
    assert len({row["mAP"] for row in ends}) > 4, "the rows are no copies of one another"
