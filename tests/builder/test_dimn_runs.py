"""Whole runs of DIMN on the tiny world: they go on where they stopped, refuse what cannot work, and score both ways."""

import os

import pytest
import tiny_run
import torch

from reid import checkpoint, config, optim, trainer
from reid.builder import objects, runs

DIMN = {"SAMPLER": "{NAME: episode}", "METHOD": "{NAME: dimn}", "SOLVER.CHECKPOINT_STEPS": "2"}
DIMN |= {"LOSSES": "[softmax]"}


def build(root, folder, overrides=None):
    return tiny_run.build(root, folder, {**DIMN, **(overrides or {})})


@pytest.fixture
def cfg(tiny_world, tmp_path):
    return lambda overrides=None: build(tiny_world, tmp_path / "run", overrides)


MEANS = {"METHOD": "{NAME: dimn, BANK_INIT: class_means, NORMALIZE_MAPPED: true}"}


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """An unbroken run: its folder and the rows of its scoring."""
    folder = tmp_path_factory.mktemp("dimn") / "whole"
    return folder, runs.train(build(tiny_world, folder, MEANS))


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def die_at(monkeypatch, step: int) -> None:
    steps, real = iter(range(10**6)), optim.set_lr

    def set_lr(*args):
        if next(steps) == step:
            raise Killed
        return real(*args)

    monkeypatch.setattr(optim, "set_lr", set_lr)


@pytest.mark.parametrize("step", [3, 15])
def test_killed_and_resumed_run_equals_an_unbroken_one(cfg, whole, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        die_at(patch, step)
        with pytest.raises(Killed):
            runs.train(cfg(MEANS))
    runs.train(cfg(MEANS), resume=True)
    one, other = (checkpoint.load(folder / "model_last.pth") for folder in (whole[0], tmp_path / "run"))
    assert {"bank.rows", "bank.visited", "mapping.outer"} <= one["model"].keys()
    for key, value in one["model"].items():
        assert torch.equal(value, other["model"][key]), key
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (whole[0] / name).read_text() == (tmp_path / "run" / name).read_text()


def test_resuming_over_other_identities_or_another_order_shows_both_sides(cfg, tmp_path, tiny_world):
    runs.train(cfg({"SOLVER.MAX_STEPS": "2"}))
    fewer = tmp_path / "fewer"
    for name in ("source_a", "source_b", "target"):
        for part in (tiny_world / name).iterdir():
            (fewer / name / part.name).mkdir(parents=True)
            for file in part.iterdir():
                if name != "source_b" or not file.name.startswith("0003"):
                    os.link(file, fewer / name / part.name / file.name)
    (tmp_path / "run" / "model_final.pth").unlink()  # else nothing were left to do
    with pytest.raises(ValueError, match=r"9 ids of source_b, expected 10 as in the checkpoint \(missing: 3\)"):
        runs.train(cfg({"SOLVER.MAX_STEPS": "2", "DATASETS.ROOT": str(fewer)}), resume=True)
    # A bank of another order would hold the right number of rows, each somebody else's.
    turned = "[{NAME: folder, PATH: source_b}, {NAME: folder, PATH: source_a}]"
    changed = cfg({"SOLVER.MAX_STEPS": "2", "DATASETS.SOURCES": turned})
    (tmp_path / "run" / "config.yaml").write_text(config.dump(changed))
    with pytest.raises(ValueError, match=r"found the sources source_b, source_a; .* trained on source_a, source_b"):
        runs.train(changed, resume=True)


def test_nan_in_a_mapped_row_stops_the_step_and_leaves_the_bank(cfg, tmp_path, monkeypatch):
    kept = {}
    real = objects.find("methods", "dimn").phases

    def poisoned(method, batch):
        if batch.step == 5:
            kept["before"], kept["method"] = method.bank.rows.clone(), method
            method.mapping.outer.data[0, 0] = float("nan")
        return real(method, batch)

    monkeypatch.setattr(objects.find("methods", "dimn"), "phases", poisoned)
    with pytest.raises(trainer.NonFiniteLoss, match=r"step 5: matching is nan.*bank is nan.*\.jpg") as error:
        runs.train(cfg())
    assert "softmax is" not in str(error.value)
    assert torch.equal(kept["method"].bank.rows, kept["before"])
    saved = checkpoint.load(tmp_path / "run" / "model_last.pth")
    assert saved["progress"]["step"] == 4
    assert saved["model"]["bank.rows"].isfinite().all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"SAMPLER": "{NAME: balanced}"}, r"methods\.dimn: SAMPLER is balanced; expected episode"),
        ({"DATALOADER.BATCH_SIZE": "42"}, "episode: found 20 identities; expected at least 21"),
        ({"MEMORY.SIZE": "8"}, "MEMORY.SIZE is set and no loss is a pair loss"),
        ({"METHOD.IDENTITY": "0.5"}, r"IDENTITY has moved; write LOSSES: \[\{NAME: softmax, WEIGHT: 1\.0\}"),
        ({"METHOD.SCALE": "8", "METHOD.TEMPERATURE": "2"}, r"SCALE is 8\.0 and TEMPERATURE 2\.0; expected one of them"),
        ({"SAMPLER": "{NAME: episode, NUM_INSTANCES: 16}"}, "NUM_INSTANCES is 16; expected 2 to 8"),
        ({"METHOD": "{NAME: dimn, SCORNG: dot}"}, r"no option SCORNG; did you mean SCORING\?"),
        ({"METHOD": "{NAME: dimn, SCORING: l2}"}, "SCORING: no l2; there are cosine, dot"),
    ],
)
def test_what_cannot_train_is_refused_before_a_folder_is_made(cfg, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(cfg(overrides))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_source_of_single_pictures_is_refused_or_augmented_and_the_log_counts_them(cfg, tmp_path, tiny_world):
    single = tmp_path / "single"
    for name in ("source_a", "source_b", "target"):
        for part in (tiny_world / name).iterdir():
            (single / name / part.name).mkdir(parents=True)
            for file in part.iterdir():
                if name != "source_b" or file.name.endswith("_c1s1_000000_00.jpg"):
                    os.link(file, single / name / part.name / file.name)
    root = {"DATASETS.ROOT": str(single), "SOLVER.MAX_STEPS": "2"}
    with pytest.raises(ValueError, match=r"one picture per identity in all of domain 1; .* SINGLES augment"):
        runs.train(cfg(root))
    runs.train(cfg({**root, "SAMPLER": "{NAME: episode, SINGLES: augment}"}))
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "10 identities have a single picture: paired with themselves, augmented anew" in log


def test_checkpoint_is_scored_by_either_score_and_either_side(whole, tmp_path):
    folder, trained = whole
    ways = {}
    for scoring in ("cosine", "dot"):
        for gallery in ("mapped", "encoder", "both"):
            words = ["METHOD.SCORING", scoring, "METHOD.GALLERY", gallery]
            ways[scoring, gallery] = runs.score(None, folder / "model_final.pth", words, tmp_path)[-1]["mAP"]
    assert ways["cosine", "mapped"] == trained[-1]["mAP"]
    assert len(set(ways.values())) == 6


def test_rescoring_works_on_two_different_sides(whole, tmp_path):
    words = ["TEST.RERANK", "True", "TEST.QUERY_EXPANSION", "3"]
    rows = runs.score(None, whole[0] / "model_final.pth", words, tmp_path)
    named = [row.get("rescoring", "") for row in rows if row["kind"] == "dataset"]
    assert named == ["", "query expansion", "re-ranking"]


def test_untrained_dimn_is_scored_without_sources(cfg):
    assert runs.score(cfg())[-1]["step"] == 0
