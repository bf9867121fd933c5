"""Models that come with the package, how a run becomes one, and runs that start from another's encoder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import build

import reid
from reid import checkpoint, commands, config, shipped
from reid.builder import exports, initial, objects, runs, shipping

OPTIONS = {"MODEL.NORM": "[input]", "MODEL.POOLING": "strips4", "LOSSES": "[softmax]", "SOLVER.MAX_STEPS": "6"}


@pytest.fixture(scope="module")
def run(tiny_world, tmp_path_factory):
    """The folder of a short run, with an average of weights that was scored."""
    folder = tmp_path_factory.mktemp("shipping") / "run"
    runs.train(build(tiny_world, folder, {**OPTIONS, "SOLVER.EMA": "0.5", "TEST.EMA": "True"}))
    return folder


@pytest.fixture
def model(run, tmp_path, monkeypatch):
    """That run as the shipped model `mine`; its file."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    file, digest = shipping.ship(run, "mine")
    monkeypatch.setattr(shipped, "MODELS", {"mine": digest})
    return file


def pictures(num=6):
    return list(np.random.default_rng(0).integers(0, 256, (num, 70, 30, 3), dtype=np.uint8))


def test_a_shipped_model_is_its_run_in_half_the_bytes(run, model):
    ours, theirs = reid.load("mine").embed(pictures()), reid.load(run / "model_final.pth").embed(pictures())
    assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()
    assert model.stat().st_size < 0.6 * (run / "model_final.pth").stat().st_size
    assert repr(reid.load("mine")).startswith("<baseline on tiny from a checkpoint")


def test_it_says_nothing_of_the_machine_and_keeps_its_rows(tiny_world, run, model, tmp_path):
    assert str(tiny_world).encode() not in model.read_bytes()
    assert str(run.parent).encode() not in model.read_bytes()
    exports.export("mine", tmp_path / "export")
    card = json.loads((tmp_path / "export/card.json").read_text())["training"]
    rows = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    assert card["results"] == [row for row in rows if row["kind"] in ("dataset", "mean")]
    assert card["checkpoint"] == "mine.pth"


def test_its_scores_go_to_a_folder_of_its_own(tiny_world, model, tmp_path, monkeypatch):
    """And not into the package."""
    monkeypatch.chdir(tmp_path)
    rows = runs.score(None, "mine", ["DATASETS.ROOT", str(tiny_world), "DEVICE", "cpu"])
    assert rows[-1]["mAP"] > 0
    assert (tmp_path / "runs/mine/test/results.jsonl").is_file()
    assert shipped.place("x/model_final.pth") == Path("x")


def test_a_file_that_is_another_is_refused(model):
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"the shipped model mine: found .{16} at .*install the package again"):
        reid.load("mine")
    model.unlink()
    with pytest.raises(ValueError, match="the shipped model mine: found no such file"):
        checkpoint.load("mine")


def test_a_name_that_is_not_there_is_answered_with_those_that_are(model):
    for use in (lambda: reid.load("yours"), lambda: reid.load("yours.pth"), lambda: initial.keys("yours")):
        with pytest.raises(FileNotFoundError, match="or one of the shipped models: mine"):
            use()


def test_its_backbone_is_taken_as_weights(tiny_world, model, tmp_path):
    cfg = build(tiny_world, tmp_path / "x", {**OPTIONS, "MODEL.BACKBONE.WEIGHTS": "mine"})
    made, own = objects.encoder(cfg).state_dict(), checkpoint.load("mine")["model"]
    names = [name for name in made if name.startswith("backbone.")]
    assert names
    assert all(torch.equal(made[name], own[f"encoder.{name}"].to(made[name].dtype)) for name in names)


def test_a_run_starts_from_the_whole_encoder_as_scored(tiny_world, run, tmp_path):
    file = str(run / "model_final.pth")
    cfg = build(tiny_world, tmp_path / "x", {**OPTIONS, "MODEL.INIT": file})
    made, content = objects.encoder(cfg).state_dict(), checkpoint.load(file)
    scored = {**content["model"], **content["average"]}
    assert all(torch.equal(value, scored[f"encoder.{name}"]) for name, value in made.items())
    other = objects.encoder(cfg, weights="none").state_dict()  # a checkpoint brings its own
    assert not all(torch.equal(value, other[name]) for name, value in made.items())


def test_init_brings_model_and_pictures_and_what_is_typed_wins(tiny_world, run, tmp_path, monkeypatch):
    """The config's own MODEL gives way, its data and losses stay."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("{MODEL: {BACKBONE: {NAME: resnet18}, DIM: 64}, INPUT: {SIZE: [256, 128]}, LOSSES: [triplet]}")
    found = []
    monkeypatch.setattr(runs, "train", lambda cfg, **options: found.append(cfg))
    file = str(run / "model_final.pth")
    commands.main(["train", "--config", str(recipe), "--init", file, "INPUT.INTERPOLATION", "area", "SEED", "3"])
    reid.train(recipe, {"SEED": 3, "INPUT.INTERPOLATION": "area"}, init=file)
    for cfg in found:
        model = cfg.MODEL
        assert [model.BACKBONE.NAME, model.POOLING, model.DIM, model.NORM] == ["tiny", "strips4", 0, ["input"]]
        assert file == model.INIT
        assert model.BACKBONE.WEIGHTS == "none"
        assert [cfg.INPUT.SIZE, cfg.INPUT.INTERPOLATION, cfg.SEED, cfg.LOSSES] == [[32, 16], "area", 3, ["triplet"]]
    assert config.differences(*found) == {}


def test_what_it_started_from_stands_in_checkpoint_and_card(tiny_world, model, tmp_path):
    words = {**OPTIONS, "MODEL.INIT": "mine", "SOLVER.MAX_STEPS": "2", "TEST.BOOTSTRAP": "0"}
    runs.train(build(tiny_world, tmp_path / "tuned", words))
    content = checkpoint.load(tmp_path / "tuned/model_final.pth")
    (note,) = [note for note in content["notes"] if note.startswith("starts from mine")]
    assert "trained on" in note
    exports.export(tmp_path / "tuned/model_final.pth", tmp_path / "export")
    card = json.loads((tmp_path / "export/card.json").read_text())["training"]
    assert card["pretrained"] == "mine"
    assert note in card["notes"]
    assert "starts from mine" in (tmp_path / "export/card.md").read_text()


def test_another_encoder_is_refused_before_the_run(tiny_world, run, tmp_path):
    cfg = build(tiny_world, tmp_path / "x", {**OPTIONS, "MODEL.INIT": str(run / "model_final.pth"), "MODEL.DIM": "8"})
    with pytest.raises(ValueError, match=r"does not fit this config's model: missing reduce.weight"):
        runs.train(cfg)
    assert not (tmp_path / "x").exists()


def test_a_run_goes_on_from_its_own_checkpoint(tiny_world, run, tmp_path, monkeypatch):
    """And not once more from what it started from."""
    words = {**OPTIONS, "MODEL.INIT": str(run / "model_final.pth"), "SOLVER.CHECKPOINT_STEPS": "2"}
    runs.train(build(tiny_world, tmp_path / "whole", words))
    real, count = objects.optim.set_lr, iter(range(99))

    def set_lr(*args):
        if next(count) == 3:
            raise KeyboardInterrupt
        return real(*args)

    cfg = build(tiny_world, tmp_path / "broken", words)
    with monkeypatch.context() as patched:
        patched.setattr(objects.optim, "set_lr", set_lr)
        with pytest.raises(KeyboardInterrupt):
            runs.train(cfg)
    runs.train(cfg, resume=True)
    one, other = (checkpoint.load(tmp_path / name / "model_final.pth")["model"] for name in ("whole", "broken"))
    assert all(torch.equal(value, other[name]) for name, value in one.items() if isinstance(value, torch.Tensor))


SHIPPED = dict(shipped.MODELS)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_opens_and_has_learned_from_drawings_alone(name):
    content = checkpoint.load(name)
    cfg = config.parse(content["config"])
    assert {entry["NAME"] for entry in cfg.DATASETS.SOURCES} == {"walkers"}
    assert (cfg.MODEL.BACKBONE.WEIGHTS == "none") is ("imagenet" not in name)
    assert cfg.INPUT.INTERPOLATION == "bilinear"  # as trackers resize
    assert content["results"]
    found = reid.load(name).embed(pictures())
    assert np.isfinite(found).all()


def test_what_ships_is_small():
    assert sum(shipped.find(name).stat().st_size for name in SHIPPED) <= 8 * 2**20
