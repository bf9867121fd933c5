"""A batch taken in parts: against the whole one where nothing depends on the batch, gone on with, refused."""

import numpy as np
import pytest
import torch
from tiny_run import build

from reid import checkpoint
from reid.builder import runs
from reid.data import sources
from reid.data.datasets import folder
from reid.data.loader import Loader
from reid.data.samplers import Draw, Sampler
from reid.data.transforms import Train

# LayerNorm and a loss that is a mean over pictures: nothing here depends on which of them are together.
ALONE = {
    "MODEL.BACKBONE.NAME": "test_vit",
    "MODEL.NECK": "false",
    "LOSSES": "[softmax]",
    "SOLVER.OPTIMIZER": "sgd",
    "SOLVER.LR": "0.01",
    "SOLVER.CLIP_GRAD": "0.5",
    "SOLVER.EPOCHS": "1",
    "SOLVER.MAX_STEPS": "3",
}


def trained(world, place, **more):
    runs.train(build(world, place, {**ALONE, **more}))
    return checkpoint.load(place / "model_last.pth")


def test_parts_equal_the_whole_where_nothing_depends_on_the_batch(tiny_world, tmp_path):
    """16 pictures in one, and 8 and 8; with a memory that is pushed once a step, with all of them in their order."""
    more = {"LOSSES": "[softmax, {NAME: npair, WEIGHT: 1.0e-9}]", "MEMORY.SIZE": "64"}
    whole, parts = (trained(tiny_world, tmp_path / name, **more, **{"SOLVER.ACCUMULATE": name}) for name in ("1", "2"))
    assert whole["progress"]["step"] == parts["progress"]["step"] == 3
    for name, value in whole["model"].items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            torch.testing.assert_close(value, parts["model"][name], atol=1e-5, rtol=1e-5, msg=name)
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, parts["model"][name]), name
    assert any("queues" in name for name in whole["model"])


def test_parts_of_pairs_are_compared_within(tiny_world, tmp_path):
    """A pair loss sees its part alone, so the steps differ; and they are those of a run that was broken off."""
    more = {"LOSSES": "[softmax, triplet]", "SOLVER.CHECKPOINT_STEPS": "1", "SOLVER.KEEP": "9"}
    one, two = (
        trained(tiny_world, tmp_path / name, **more, **{"SOLVER.ACCUMULATE": name, "SOLVER.MAX_STEPS": "2"})
        for name in ("1", "2")
    )
    assert not torch.equal(one["model"]["encoder.backbone.pos_embed"], two["model"]["encoder.backbone.pos_embed"])
    place = tmp_path / "2"
    before = (place / "metrics.jsonl").read_text()
    (place / "model_last.pth").write_bytes((place / "model_step1.pth").read_bytes())
    cfg = build(tiny_world, place, {**ALONE, **more, "SOLVER.ACCUMULATE": "2", "SOLVER.MAX_STEPS": "2"})
    runs.train(cfg, resume=True)
    again = checkpoint.load(place / "model_last.pth")["model"]
    assert all(torch.equal(value, again[name]) for name, value in two["model"].items())
    assert (place / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"SOLVER.ACCUMULATE": "3"},
            r"SOLVER\.ACCUMULATE is 3 of DATALOADER\.BATCH_SIZE 16 over 1 processes; expected",
        ),
        (
            {"SOLVER.ACCUMULATE": "8", "LOSSES": "[triplet]", "SAMPLER": "{NAME: identity, NUM_INSTANCES: 2}"},
            r"losses\.triplet: found no two classes in any",
        ),
    ],
)
def test_parts_that_cannot_be_are_refused_before_a_run(tiny_world, tmp_path, more, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**ALONE, **more}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_groups_that_parts_would_tear_are_refused_naming_the_key(tiny_world, tmp_path, monkeypatch):
    torn = [Draw(np.arange(16), groups=np.repeat([0, 1, 2], [10, 3, 3]))]
    monkeypatch.setattr(Sampler, "draws", lambda *_: torn)
    with pytest.raises(ValueError, match=r"groups of 10, 3, 3 rows .*; these are the parts of SOLVER\.ACCUMULATE 2 in"):
        runs.train(build(tiny_world, tmp_path / "run", {**ALONE, "SOLVER.ACCUMULATE": "2"}))
    assert not (tmp_path / "run").exists()


class Groups(Sampler):
    """One batch of eight, in groups that are kept whole."""

    def batches(self, epoch, plan=None):
        return [Draw(np.arange(8), groups=np.array([0, 1, 2, 3, 0, 1, 2, 3]))]

    def __len__(self):
        return 1


def test_each_process_has_its_parts_one_after_another_and_groups_stay_whole(tiny_world):
    made = sources.join([folder.load(tiny_world, path="source_a")])
    found = []
    for rank in range(2):
        (batch,) = Loader(made, Train((8, 4)), Groups(), seed=0, workers=0, rank=rank, world=2, parts=2).epoch(0)
        found.append([part.indices.tolist() for part in batch.split(2)])
    assert found == [[[0, 4], [1, 5]], [[2, 6], [3, 7]]]
