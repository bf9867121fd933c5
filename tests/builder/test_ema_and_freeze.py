"""Runs with an average of weights and with weights held at first: what is kept, scored, exported, refused; going on."""

import itertools
import json

import pytest
import torch
from tiny_run import build

import reid
from reid import checkpoint, optim
from reid.builder import exports, runs

EMA = {"LOSSES": "[softmax, triplet]", "SOLVER.EMA": "0.9", "SOLVER.CHECKPOINT_STEPS": "4", "TEST.EVERY": "1"}
HELD = {"SOLVER.FREEZE": "[{PATTERN: encoder.backbone.*, STEPS: 6}, {PATTERN: 'encoder.neck.*', STEPS: 12}]"}


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def figures(rows):
    return [(row["dataset"], row["kind"], row["mAP"]) for row in rows]


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """The folder of an unbroken run that scores the average, and its rows."""
    folder = tmp_path_factory.mktemp("ema") / "whole"
    return folder, runs.train(build(tiny_world, folder, {**EMA, **HELD, "TEST.EMA": "True"}))


@pytest.mark.parametrize("step", [0, 3, 7, 10, 13, 19])
def test_killed_and_resumed_it_equals_an_unbroken_run(tiny_world, tmp_path, whole, monkeypatch, step):
    cfg, real, count = (
        build(tiny_world, tmp_path / "run", {**EMA, **HELD, "TEST.EMA": "True"}),
        optim.set_lr,
        iter(range(99)),
    )

    def set_lr(*args):
        if next(count) == step:
            raise Killed
        return real(*args)

    monkeypatch.setattr(optim, "set_lr", set_lr)
    with pytest.raises(Killed):
        runs.train(cfg)
    monkeypatch.undo()
    runs.train(cfg, resume=True)
    one, other = (checkpoint.load(folder / "model_last.pth") for folder in (whole[0], tmp_path / "run"))
    for part in ("model", "average"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    assert str(one["optimizer"]) == str(other["optimizer"])
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (whole[0] / name).read_text() == (tmp_path / "run" / name).read_text()


def test_the_average_is_scored_opened_and_exported_where_it_is_asked_for(tiny_world, tmp_path, whole):
    weights = whole[0] / "model_final.pth"
    content = checkpoint.load(weights)
    averaged, last = (checkpoint.weights(content, weights, average=asked) for asked in (True, False))
    assert averaged.keys() == last.keys() == content["model"].keys()
    moved = {name for name, value in last.items() if not torch.equal(value, averaged[name])}
    assert {"encoder.backbone.conv.1.running_var", "losses.softmax.weight", "encoder.neck.running_mean"} <= moved
    assert figures(runs.score(None, weights)) == figures(whole[1])
    plain = runs.score(None, weights, ["TEST.EMA", "False"], output=tmp_path / "plain")
    assert figures(plain) != figures(whole[1])
    opened = reid.load(weights, device="cpu").encoder.state_dict()
    assert all(torch.equal(value, averaged[f"encoder.{name}"]) for name, value in opened.items())


def test_it_takes_no_part_in_training_and_may_be_asked_for_afterwards(tiny_world, tmp_path, whole):
    """The same weights step for step as without an average; and a run that did not score it exports it all the same."""
    runs.train(build(tiny_world, tmp_path / "plain", {**EMA, **HELD, "SOLVER.EMA": "0"}))
    plain, kept = (checkpoint.load(path / "model_last.pth") for path in (tmp_path / "plain", whole[0]))
    assert all(torch.equal(value, kept["model"][name]) for name, value in plain["model"].items())
    assert "average" not in plain
    unasked = tmp_path / "unasked.pth"
    checkpoint.save(unasked, {**kept, "config": kept["config"].replace("EMA: true", "EMA: false")})
    cfg, method, _ = exports._restore(unasked, {"TEST.EMA": True})
    assert torch.equal(method.state_dict()["encoder.neck.weight"], kept["average"]["encoder.neck.weight"])
    assert exports._training(cfg, kept, unasked)["average"] == 0.9
    with pytest.raises(ValueError, match=r"plain.*holds no average of weights; its run had SOLVER.EMA 0"):
        runs.score(None, tmp_path / "plain" / "model_final.pth", ["TEST.EMA", "True"])


def test_what_is_chosen_by_held_out_identities_is_the_average(tiny_world, tmp_path):
    rules = {"TEST.SELECT": "source_val", "TEST.HOLD_OUT": "0.3", "TEST.EMA": "True"}
    rows = runs.train(build(tiny_world, tmp_path / "run", {**EMA, **rules}))
    assert figures(runs.score(None, tmp_path / "run" / "model_best.pth")) == figures(rows)
    results = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    best = checkpoint.load(tmp_path / "run" / "model_best.pth")["progress"]
    assert best["best"] == max(r["mAP"] for r in results if r["dataset"] == "source_val" and r["kind"] == "dataset")


def test_held_parts_are_those_of_the_start_until_their_step(tiny_world, tmp_path):
    folder, more = tmp_path / "run", {"SOLVER.CHECKPOINT_STEPS": "6", "SOLVER.KEEP": "5", "SOLVER.MAX_STEPS": "18"}
    runs.train(build(tiny_world, folder, {**EMA, **HELD, **more}))
    runs.train(build(tiny_world, tmp_path / "start", {**EMA, **HELD, "SOLVER.MAX_STEPS": "1"}))
    states = [checkpoint.load(tmp_path / "start" / "model_last.pth")["model"]]
    states += [checkpoint.load(folder / f"model_step{step}.pth")["model"] for step in (6, 12, 18)]
    moved = [
        {
            part
            for part in ("backbone", "neck")
            for name in a
            if f".{part}." in name and not torch.equal(a[name], b[name])
        }
        for a, b in itertools.pairwise(states)
    ]
    assert moved == [set(), {"backbone"}, {"backbone", "neck"}]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"SOLVER.EMA": "1.0"}, r"SOLVER\.EMA is 1\.0; expected a number in \[0, 1\)"),
        ({"SOLVER.EMA": "0", "TEST.EMA": "True"}, r"TEST\.EMA is True and SOLVER\.EMA 0"),
        ({"SOLVER.FREEZE": "[encoder]"}, r"SOLVER\.FREEZE\.0 is 'encoder'; expected a block such as \{PATTERN"),
        ({"SOLVER.FREEZE": "[{PATTERN: 'encoder.*'}]"}, r"SOLVER\.FREEZE\.0 is .*expected a block"),
        ({"SOLVER.FREEZE": "[{PATTERN: 'encoder.*', STEPS: 1.5}]"}, r"SOLVER\.FREEZE\.0\.STEPS is 1\.5"),
        ({"SOLVER.FREEZE": "[{PATTERN: 'head.*', STEPS: 5}]"}, r"'head\.\*' for 5 steps, which matches 0 parameters"),
        ({"SOLVER.FREEZE": "[{PATTERN: '*', STEPS: 5}]"}, r"holds all of encoder, softmax at step 0"),
    ],
)
def test_bad_input_is_one_line_before_a_folder_is_made(tiny_world, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**EMA, **overrides}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_stage_that_learns_only_what_is_held_is_refused(tiny_world, tmp_path):
    stages = "[{EPOCHS: 1, LEARNS: [softmax]}, {EPOCHS: 1, LEARNS: [encoder]}]"
    held = {"SOLVER.STAGES": stages, "SOLVER.FREEZE": "[{PATTERN: 'encoder.*', STEPS: 11}]"}
    with pytest.raises(ValueError, match="holds all of encoder at step 10, and stage 1 learns nothing else"):
        runs.train(build(tiny_world, tmp_path / "run", {**EMA, **held}))
    runs.train(build(tiny_world, tmp_path / "run", {**EMA, **held, "SOLVER.FREEZE.0.STEPS": "10"}))
