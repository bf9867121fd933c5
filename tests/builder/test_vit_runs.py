"""A ViT of timm's in whole runs: trained at the size of the config, scored, gone on with at another size, exported."""

import json

import numpy as np
import pytest
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
    assert "pictures of 40x28: 3x2 patches of 16x16" in (folder / "log.txt").read_text()
    again = runs.score(None, folder / "model_final.pth")
    assert [(row["dataset"], row["mAP"]) for row in again] == [(row["dataset"], row["mAP"]) for row in rows]
    exports.export(folder / "model_final.pth", tmp_path / "export")
    card = json.loads((tmp_path / "export" / "card.json").read_text())
    assert card["input"]["size"] == [40, 28]
    paths = [str(path) for path in sorted((tiny_world / "target" / "query").iterdir())]
    ours, theirs = (reid.load(place).embed(paths) for place in (folder / "model_final.pth", tmp_path / "export"))
    assert ours.shape == (len(paths), 128)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_its_weights_start_a_run_at_another_size_if_their_grid_is_known(run, tiny_world, tmp_path):
    """That of 3x2 is neither a square nor twice as high as wide, so it is refused."""
    first = {**VIT, "MODEL.BACKBONE.STRIDE": "0", "INPUT.SIZE": "[32, 16]", "SOLVER.MAX_STEPS": "1"}
    runs.train(build(tiny_world, tmp_path / "a", first))
    weights = {"MODEL.BACKBONE.WEIGHTS": str(tmp_path / "a" / "model_final.pth"), "SOLVER.MAX_STEPS": "1"}
    runs.train(build(tiny_world, tmp_path / "b", {**VIT, **weights}))
    assert "embeddings of places resampled from 2x1 to 3x2" in (tmp_path / "b" / "log.txt").read_text()
    state = checkpoint.load(tmp_path / "b" / "model_final.pth")["model"]
    assert state["encoder.backbone.pos_embed"].shape == (1, 7, 64)
    weights["MODEL.BACKBONE.WEIGHTS"] = str(run[0] / "model_final.pth")
    with pytest.raises(ValueError, match=r"pos_embed is \(1, 7, 64\), expected \(1, 3, 64\)"):
        runs.train(build(tiny_world, tmp_path / "c", {**first, **weights}))
