"""Whole runs that look at their training set: class distances and feature drift, killed, resumed, and refused."""

import json

import pytest
import tiny_run
import torch

from reid import checkpoint, optim
from reid.builder import objects, runs

LOOKED_AT = {"LOSSES": "[softmax, triplet]", "SOLVER.CHECKPOINT_STEPS": "4", "MEMORY.SIZE": "200"}
NEAR = {"SAMPLER": "{NAME: hard_class, NUM_INSTANCES: 2}", "LOSSES": "[hierarchical_triplet]", "DRIFT.EVERY": "10"}


def build(root, folder, overrides):
    return tiny_run.build(root, folder, {**LOOKED_AT, **overrides})


@pytest.fixture
def cfg(tiny_world, tmp_path):
    return lambda overrides, folder="run": build(tiny_world, tmp_path / folder, overrides)


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """An unbroken run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    runs.train(build(tiny_world, folder, NEAR))
    return folder


def lines(run, *without):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if not set(row) & set(without)]


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.mark.parametrize("step", [10, 17])
def test_resumed_run_with_distances_and_drift_equals_an_unbroken_one(cfg, whole, tmp_path, monkeypatch, step):
    steps, real = iter(range(100)), optim.set_lr

    def set_lr(*args):
        if next(steps) == step:
            raise Killed
        return real(*args)

    monkeypatch.setattr(optim, "set_lr", set_lr)
    with pytest.raises(Killed):
        runs.train(cfg(NEAR))
    monkeypatch.undo()
    kept = checkpoint.load(tmp_path / "run" / "model_last.pth")["plan"]
    assert (kept is not None) == (step == 17)
    runs.train(cfg(NEAR), resume=True)
    one, other = (checkpoint.load(run / "model_last.pth") for run in (whole, tmp_path / "run"))
    for key, value in one["model"].items():
        assert torch.equal(value, other["model"][key]) if isinstance(value, torch.Tensor) else True, key
    assert str(one["optimizer"]) == str(other["optimizer"])
    assert all(torch.equal(rows, other["drift"][span]) for span, rows in one["drift"].items())
    assert lines(whole) == lines(tmp_path / "run")
    assert [row["step"] for row in lines(tmp_path / "run") if "drift_10" in row] == [10, 20]
    assert one["model"]["losses.hierarchical_triplet.levels"].any()


def test_batches_follow_the_plan_from_the_second_epoch_on(cfg, tmp_path, monkeypatch):
    dealt = []
    sampler = objects.find("data/samplers", "hard_class")
    real = sampler.batches
    monkeypatch.setattr(
        sampler, "batches", lambda self, e, plan=None: (dealt.append((e, plan)), real(self, e, plan))[1]
    )
    runs.train(cfg(NEAR))
    assert {(epoch, plan is not None) for epoch, plan in dealt} == {(0, False), (1, True)}
    plan = dealt[-1][1]
    assert (plan.distances.shape, plan.neighbours.shape) == ((20, 20), (20, 19))
    assert torch.equal(checkpoint.load(tmp_path / "run" / "model_last.pth")["plan"]["neighbours"], plan.neighbours)
    assert "plan" not in checkpoint.load(tmp_path / "run" / "model_final.pth")


def test_looking_at_drift_changes_no_other_number(cfg, tmp_path):
    drift = {"DRIFT.EVERY": "10", "DRIFT.SAMPLES": "32"}
    short = {"SOLVER.MAX_STEPS": "12"}
    plain, watched = runs.train(cfg(short, "plain")), runs.train(cfg({**short, **drift}, "watched"))
    assert plain == watched
    assert lines(tmp_path / "plain") == lines(tmp_path / "watched", "drift_10")
    one, other = (checkpoint.load(tmp_path / name / "model_final.pth")["model"] for name in ("plain", "watched"))
    assert all(torch.equal(v, other[k]) for k, v in one.items() if isinstance(v, torch.Tensor))
    (moved,) = [row for row in lines(tmp_path / "watched") if "drift_10" in row]
    assert moved["step"] == 10
    assert 0 < moved["drift_10"] < 4


def test_memory_tells_how_far_samples_that_come_round_again_have_moved(cfg, tmp_path):
    runs.train(cfg({"SAMPLER": "{NAME: shuffle}"}))
    rows = lines(tmp_path / "run")
    assert all("memory_drift_before" not in row for row in rows[:10])
    assert all(0 < row["memory_drift_before"] < 4 for row in rows[10:])
    assert all(1 <= row["memory_age_before"] <= 19 for row in rows[10:])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"DRIFT.EVERY": "7"}, "DRIFT.EVERY is 7; expected 10, 100 or 1000"),
        ({"DRIFT.EVERY": "10", "DRIFT.SAMPLES": "0"}, r"DRIFT\.SAMPLES is 0; expected a number in \[1, 1e7\]"),
        (
            {"SAMPLER": "{NAME: identity, NUM_INSTANCES: 1}", "MEMORY.SIZE": "0"},
            r"losses\.triplet: found no two pictures of a class in any of the 10 batches of SAMPLER identity; expected",
        ),
        (
            {"SAMPLER": "{NAME: identity, NUM_INSTANCES: 16}", "MEMORY.SIZE": "0"},
            r"losses\.triplet: found no two classes in any of the 20 batches of SAMPLER identity; expected .* raise",
        ),
        (
            {
                "SAMPLER": "{NAME: balanced, NUM_INSTANCES: 8}",
                "METHOD.NEGATIVES_WITHIN_DOMAIN": "True",
                "MEMORY.SIZE": "0",
            },
            r"losses\.triplet: found no two classes of one domain in any of the",
        ),
    ],
)
def test_bad_input_is_one_line_before_a_folder_is_made(cfg, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(cfg(overrides))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_no_positives_in_a_batch_are_fine_with_a_memory_or_without_pair_losses(cfg):
    alone = {"SAMPLER": "{NAME: identity, NUM_INSTANCES: 1}", "SOLVER.MAX_STEPS": "1"}
    for rows in (
        runs.train(cfg(alone, "memory")),
        runs.train(cfg({**alone, "MEMORY.SIZE": "0", "LOSSES": "[softmax]"}, "classes")),
    ):
        assert {row["step"] for row in rows} == {1}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"METHOD": "{NAME: ecn}", "LOSSES": "[]", "MEMORY.SIZE": "0", "SAMPLER": "{NAME: hard_class}"},
            "SAMPLER hard_class needs the neighbours of a plan, which METHOD ecn does not give; expected METHOD baseline",
        ),
        (
            {"LOSSES": "[hierarchical_triplet]"},
            "losses.hierarchical_triplet needs the distances of a plan, which METHOD baseline does not give; expected a",
        ),
    ],
)
def test_what_needs_a_plan_that_the_method_does_not_give_is_refused(cfg, tmp_path, monkeypatch, overrides, message):
    if "METHOD" not in overrides:
        monkeypatch.setattr(objects.find("methods", "baseline"), "gives", frozenset())
    with pytest.raises(ValueError, match=message) as error:
        runs.train(cfg(overrides))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
