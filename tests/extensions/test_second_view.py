"""A method that reads a second view, from a file of its own: it trains, goes on where it stopped, and its draws are its own."""

import json
from pathlib import Path

import pytest
import torch
from tiny_run import build

import reid.methods
from reid import checkpoint, config
from reid.builder import objects, runs
from reid.data import sources

RECIPE = {
    "METHOD": "{NAME: second_view:SecondView, WEIGHT: 0.5}",
    "INPUT.VIEWS.strong": "[flip, {NAME: crop, PAD: 4}, jitter, erasing]",
    "SOLVER.LR": "0.002",
    "SOLVER.CHECKPOINT_STEPS": "1",
}


def rows(folder: Path, name: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_second_view_trains_and_brings_the_views_together(tiny_world, tmp_path):
    results = runs.train(build(tiny_world, tmp_path / "run", {**RECIPE, "SOLVER.EPOCHS": "4"}))
    logged = rows(tmp_path / "run")
    assert {"softmax", "consistency"} <= logged[0].keys()
    for name in ("softmax", "consistency"):
        assert sum(row[name] for row in logged[-5:]) < 0.8 * sum(row[name] for row in logged[:5]), name
    assert results[-1]["kind"] == "mean"
    scored = runs.score(None, tmp_path / "run" / "model_final.pth")
    assert scored[-1]["mAP"] == results[-1]["mAP"]


def test_second_view_goes_on_bit_for_bit_where_it_stopped(tiny_world, tmp_path, monkeypatch):
    whole = runs.train(build(tiny_world, tmp_path / "whole", RECIPE))
    calls = iter(range(100))
    remember = reid.methods.Method.remember

    def dies(method, fresh):
        if next(calls) == 13:  # in the second epoch
            raise InterruptedError
        remember(method, fresh)

    with monkeypatch.context() as patch:
        patch.setattr(reid.methods.Method, "remember", dies)
        with pytest.raises(InterruptedError):
            runs.train(build(tiny_world, tmp_path / "parts", RECIPE))
    assert runs.train(build(tiny_world, tmp_path / "parts", RECIPE), resume=True) == whole
    one, other = (checkpoint.load(tmp_path / name / "model_last.pth")["model"] for name in ("whole", "parts"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


def test_second_view_draws_for_itself_and_again_the_same(tiny_world, tmp_path):
    """The list of the view is that of the images, so only the draws can differ."""

    def epoch(workers: str, *, views: bool = True) -> list:
        same = {"INPUT.AUGMENT": "[flip, crop, jitter]", "DATALOADER.WORKERS": workers}
        own = {"INPUT.VIEWS.strong": same["INPUT.AUGMENT"]} if views else {}
        cfg = build(tiny_world, tmp_path, same | own)
        train_set = sources.join(objects.datasets(cfg, cfg.DATASETS.SOURCES))
        loader = objects.loader(cfg, train_set, objects.sampler(cfg, train_set))
        batches = list(loader.epoch(0))
        loader.close()
        return batches

    for one, again, plain in zip(epoch("0"), epoch("2"), epoch("0", views=False), strict=True):
        assert torch.equal(one.views["strong"], again.views["strong"])
        assert torch.equal(one.images, again.images)
        assert torch.equal(one.images, plain.images)
        assert (one.images != one.views["strong"]).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"METHOD": "{NAME: second_view:SecondView}"},
            "found no strong, which METHOD second_view:SecondView reads; expected its list",
        ),
        (
            {**RECIPE, "INPUT.VIEWS.weak": "[flip]"},
            "found weak, which METHOD second_view:SecondView does not read; it reads strong: leave the others out",
        ),
        ({"LOSSES": "[softmax]", "INPUT.VIEWS.weak": "[flip]"}, "METHOD baseline does not read; it reads no view"),
        ({**RECIPE, "INPUT.VIEWS.strong": "[flap]"}, "data/augment: no flap; did you mean flip"),
        ({**RECIPE, "INPUT.VIEWS.strong": "[3]"}, r"INPUT\.VIEWS\.strong: found the entry 3"),
    ],
)
def test_second_view_without_its_view_or_with_others_is_refused_before_there_is_a_run(
    tiny_world, tmp_path, overrides, message
):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", overrides))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_empty_list_is_a_view_that_is_resized_only():
    (plain,) = objects.views(config.load(None, ["INPUT.VIEWS.plain", "[]"])).values()
    assert plain.augment == ()
