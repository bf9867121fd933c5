"""A method of two stages from a file of its own: batches, pictures, rates and groups of each; stopped anywhere it goes on."""

import json
import math

import numpy as np
import pytest
import torch
from tiny_run import build
from two_stages import TwoStages

from reid import checkpoint, config, optim
from reid.builder import objects, runs
from reid.data import sources
from reid.data.loader import image_batches

STAGES = (
    "[{EPOCHS: 1, LR: 0.05, SCHEDULE: constant, SAMPLER: {NAME: shuffle}, AUGMENT: [], LEARNS: [centres]}, "
    "{EPOCHS: 2, SCHEDULE: cosine, WARMUP_STEPS: 4, WARMUP_FACTOR: 0.1, LEARNS: [encoder]}]"
)
RECIPE = {
    "METHOD": "{NAME: two_stages:TwoStages}",
    "SOLVER.STAGES": STAGES,
    "SOLVER.LR": "0.002",
    "SOLVER.CHECKPOINT_STEPS": "1",
}
STEPS = 10  # an epoch, of either sampler


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """The folder of an unbroken run, and of every batch its step, indices, pictures, and the weights before it."""
    folder, seen, phases = tmp_path_factory.mktemp("runs") / "whole", [], TwoStages.phases
    set_lr, moments = optim.set_lr, []

    def watched(self, batch):
        weights = {name: p.detach().clone() for name, p in self.named_parameters()}
        seen.append((batch.step, batch.indices, batch.images, weights, self.place))
        return phases(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwoStages, "phases", watched)
        patch.setattr(optim, "set_lr", lambda made, *args: (moments.append(len(made.state)), set_lr(made, *args))[1])
        runs.train(build(tiny_world, folder, RECIPE))
    return folder, seen, moments


def test_moments_begin_anew_with_a_stage(whole):
    assert [step for step, number in enumerate(whole[2]) if number == 0] == [0, STEPS]


def test_each_stage_moves_its_own_groups_only(whole):
    first, second, last = (whole[1][step][3] for step in (0, STEPS, -1))
    moved = [
        {name.partition(".")[0] for name in a if not torch.equal(a[name], b[name])}
        for a, b in ((first, second), (second, last))
    ]
    assert moved == [{"centres"}, {"encoder"}]
    state = checkpoint.load(whole[0] / "model_final.pth")["model"]
    assert state["encoder.neck.num_batches_tracked"] == 2 * STEPS
    assert state["begun"].tolist() == [0, 1]


def test_each_stage_has_its_own_rate(whole):
    rates = [json.loads(line)["lr"] for line in (whole[0] / "metrics.jsonl").read_text().splitlines()]
    warm = [0.1 + 0.9 * step / 4 if step < 4 else 1 for step in range(2 * STEPS)]
    cosine = [0.5 * (1 + math.cos(math.pi * max(0, step - 4) / (2 * STEPS - 4))) for step in range(2 * STEPS)]
    expected = [0.05] * STEPS + [0.002 * w * c for w, c in zip(warm, cosine, strict=True)]
    assert rates == pytest.approx(expected)


def test_each_stage_has_its_own_batches_and_pictures(tiny_world, whole):
    steps, indices, images, _, places = zip(*whole[1], strict=True)
    assert steps == tuple(range(3 * STEPS))
    assert sorted(torch.cat(indices[:STEPS]).tolist()) == list(range(160)), "shuffle deals each picture once"
    cfg = build(tiny_world, "unused", RECIPE)
    assert {(place.stage, place.epochs, place.steps_per_epoch) for place in places[:STEPS]} == {(0, range(1), STEPS)}
    assert {(place.stage, place.epochs, place.steps_per_epoch) for place in places[STEPS:]} == {(1, range(1, 3), STEPS)}
    samples = sources.join(objects.datasets(cfg, cfg.DATASETS.SOURCES)).samples
    plain = torch.cat([*image_batches(samples, objects.test_transform(cfg), batch_size=64, workers=0)])
    assert all(torch.equal(pictures, plain[chosen]) for pictures, chosen in zip(images[:STEPS], indices, strict=False))
    assert not torch.equal(images[STEPS], plain[indices[STEPS]])
    assert all(len(set(np.bincount(chosen // 4)) - {0}) == 1 for chosen in indices[STEPS:])


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


@pytest.mark.parametrize("step", [0, 5, 10, 11, 23])
def test_stopped_in_either_stage_it_goes_on_as_if_it_had_not(tiny_world, tmp_path, whole, monkeypatch, step):
    cfg, real, count = build(tiny_world, tmp_path / "run", RECIPE), optim.set_lr, iter(range(100))

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
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    assert str(one["optimizer"]) == str(other["optimizer"])
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (whole[0] / name).read_text() == (tmp_path / "run" / name).read_text()


@pytest.mark.parametrize("last", [7, 10, 15])
def test_a_run_cut_short_ends_in_the_stage_it_is_in(tiny_world, tmp_path, whole, last):
    runs.train(build(tiny_world, tmp_path / "run", {**RECIPE, "SOLVER.MAX_STEPS": str(last)}))
    found = [(tmp_path / "run" / "metrics.jsonl").read_text(), (whole[0] / "metrics.jsonl").read_text()]
    lines = [[json.loads(line) for line in text.splitlines()] for text in found]
    assert len(lines[0]) == last
    assert lines[0][:STEPS] == lines[1][: min(last, STEPS)]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("[{EPOCS: 1}]", r"no key SOLVER\.STAGES\.0\.EPOCS; did you mean EPOCHS\?; a stage takes EPOCHS, LR"),
        ("[{EPOCHS: 1}, {LR: quick}]", r"SOLVER\.LR is 'quick'.*, as SOLVER\.STAGES\.1 says"),
        ("[3]", r"SOLVER\.STAGES is \[3\] \(list\); expected a list, each a block"),
        ("[{LEARNS: [centers]}]", r"STAGES\.0\.LEARNS is \['centers'\]; .* two_stages:TwoStages: encoder, centres"),
        ("[{LEARNS: [[centres]]}]", r"STAGES\.0\.LEARNS is \[\['centres'\]\]"),
        ("[{LEARNS: []}]", r"STAGES\.0\.LEARNS is \[\]"),
        ("[{SAMPLER: {NAME: shufle}}]", r"no shufle; did you mean shuffle\?"),
        ("[{AUGMENT: [flipp]}]", r"no flipp; did you mean flip\?"),
        ("[{LR: 0}]", r"SOLVER\.LR is 0\.0; expected a number in \(0, 1000\], as SOLVER\.STAGES\.0 says"),
        ("[{EPOCHS: 1, WARMUP_STEPS: 10}]", r"WARMUP_STEPS is 10 of 10 steps"),
    ],
)
def test_a_stage_that_cannot_be_is_refused_before_the_run(tiny_world, tmp_path, said, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**RECIPE, "SOLVER.STAGES": said}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_what_a_stage_leaves_unsaid_is_the_configs(tiny_world):
    one, two = config.stages(build(tiny_world, "unused", RECIPE))
    assert (one.SOLVER.EPOCHS, one.SOLVER.LR, one.SOLVER.SCHEDULE, one.SAMPLER.NAME) == (1, 0.05, "constant", "shuffle")
    assert (two.SOLVER.EPOCHS, two.SOLVER.LR, two.SOLVER.SCHEDULE, two.SAMPLER.NAME) == (2, 0.002, "cosine", "identity")
    assert one.INPUT.AUGMENT == []
    assert two.INPUT.AUGMENT
    plain = build(tiny_world, "unused", {})
    assert config.stages(plain) == [plain]
