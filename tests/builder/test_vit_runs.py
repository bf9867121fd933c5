"""A ViT of timm's in whole runs: trained at the size of the config, scored, gone on with at another size, exported."""

import json

import numpy as np
import pytest
import torch
from tiny_run import build

import reid
from reid import checkpoint
from reid.builder import exports, runs

VIT = {
    "MODEL.BACKBONE.NAME": "test_vit",
    "MODEL.BACKBONE.STRIDE": "12",
    "MODEL.POOLING": "cls+avg",
    "INPUT.SIZE": "[40, 28]",
    "LOSSES": "[softmax, triplet]",
    "TEST.FLIP": "true",
    "SOLVER.MAX_STEPS": "4",
}


@pytest.fixture(scope="module")
def run(tiny_world, tmp_path_factory):
    """A run's folder, with its rows."""
    folder = tmp_path_factory.mktemp("vit") / "run"
    return folder, runs.train(build(tiny_world, folder, VIT))


def test_it_is_scored_and_exported_at_the_size_of_the_config(run, tiny_world, tmp_path):
    folder, rows = run
    again = runs.score(None, folder / "model_final.pth")
    assert [(row["dataset"], row["mAP"]) for row in again] == [(row["dataset"], row["mAP"]) for row in rows]
    exports.export(folder / "model_final.pth", tmp_path / "export")
    card = json.loads((tmp_path / "export" / "card.json").read_text())
    assert card["input"]["size"] == [40, 28]
    paths = [str(path) for path in sorted((tiny_world / "target" / "query").iterdir())]
    ours, theirs = (reid.load(place).embed(paths) for place in (folder / "model_final.pth", tmp_path / "export"))
    assert ours.shape == (len(paths), 128)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_its_weights_start_a_run_at_another_size_if_their_grid_is_known(run, tiny_world, tmp_path, caplog):
    """That of 3x2 is neither a square nor twice as high as wide, so it is refused."""
    first = {**VIT, "MODEL.BACKBONE.STRIDE": "0", "INPUT.SIZE": "[32, 16]", "SOLVER.MAX_STEPS": "1"}
    runs.train(build(tiny_world, tmp_path / "a", first))
    weights = {"MODEL.BACKBONE.WEIGHTS": str(tmp_path / "a" / "model_final.pth"), "SOLVER.MAX_STEPS": "1"}
    runs.train(build(tiny_world, tmp_path / "b", {**VIT, **weights}))
    assert "pictures of 40x28: 3x2 patches of 16x16" in caplog.text
    assert "embeddings of places resampled from 2x1 to 3x2" in caplog.text
    state = checkpoint.load(tmp_path / "b" / "model_final.pth")["model"]
    assert state["encoder.backbone.pos_embed"].shape == (1, 7, 64)
    weights["MODEL.BACKBONE.WEIGHTS"] = str(run[0] / "model_final.pth")
    with pytest.raises(ValueError, match=r"pos_embed is \(1, 7, 64\), expected \(1, 3, 64\)"):
        runs.train(build(tiny_world, tmp_path / "c", {**first, **weights}))


def test_a_run_with_all_that_goes_with_depth_goes_on_exactly(tiny_world, tmp_path):
    """Rates by depth, blocks left out and blocks run again."""
    depth = {"SOLVER.OPTIMIZER": "adamw", "SOLVER.LAYER_DECAY": "0.5", "MODEL.BACKBONE.DROP_PATH": "0.3"}
    depth |= {"MODEL.BACKBONE.RECOMPUTE": "true", "SOLVER.CHECKPOINT_STEPS": "2", "SOLVER.KEEP": "9"}
    for name in ("a", "b"):
        runs.train(build(tiny_world, tmp_path / name, {**VIT, **depth}))
    (tmp_path / "b" / "model_last.pth").write_bytes((tmp_path / "b" / "model_step2.pth").read_bytes())
    runs.train(build(tiny_world, tmp_path / "b", {**VIT, **depth}), resume=True)
    one, other = (checkpoint.load(tmp_path / name / "model_last.pth")["model"] for name in ("a", "b"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert (tmp_path / "a" / "metrics.jsonl").read_text() == (tmp_path / "b" / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"found LAYER_DECAY 0\.5 and no blocks in the backbone"):
        runs.train(build(tiny_world, tmp_path / "c", {"SOLVER.LAYER_DECAY": "0.5", "LOSSES": "[softmax]"}))
    assert not (tmp_path / "c").exists()
