"""Checkpoints of VERSION 1: `tests/version1` holds two, and the rows that the code which wrote them printed of them.

Each is a run of 20 steps on the tiny world at MODEL.DIM 8. All but the largest weights of its convolutions were set to 0
before it was saved and scored, so that the file is small.
"""

import json
import lzma
from pathlib import Path

import pytest
import torch

import reid
from reid import checkpoint, config, version1
from reid.builder import exports, objects, runs

KEPT = Path(__file__).resolve().parents[1] / "version1"


@pytest.fixture(params=["baseline", "dimn"])
def old(request, tmp_path) -> Path:
    path = tmp_path / "model_final.pth"
    path.write_bytes(lzma.decompress((KEPT / f"{request.param}.pth.xz").read_bytes()))
    return path.rename(tmp_path / f"{request.param}.pth")


def changed(path: Path, **changes) -> Path:
    """The same file with other content, as version 1 wrote it."""
    torch.save({**torch.load(path, weights_only=True), **changes}, path)
    return path


def test_it_is_scored_as_it_was(old, tiny_world):
    rows = runs.score(None, old, ["DATASETS.ROOT", str(tiny_world)])
    expected = json.loads((KEPT / "rows.json").read_text())[old.stem]
    assert [{name: row[name] for name in kept} for row, kept in zip(rows, expected, strict=True)] == expected


def test_it_is_loaded_exported_and_used_as_weights(old, tiny_world, tmp_path):
    model = reid.load(old, device="cpu")
    pictures = sorted((tiny_world / "target" / "query").iterdir())[:3]
    card = exports.export(old, tmp_path / "export", formats=("torchscript",))
    exported = reid.load(tmp_path / "export").embed(pictures, side="gallery")
    assert abs(exported - model.embed(pictures, side="gallery")).max() < 1e-5
    assert card["training"]["method"]["NAME"] == old.stem
    encoder = objects.encoder(config.load(None, ["MODEL.BACKBONE.NAME", "tiny", "MODEL.BACKBONE.WEIGHTS", str(old)]))
    saved = torch.load(old, weights_only=True)["model"]
    assert torch.equal(encoder.backbone.state_dict()["stem.0.weight"], saved["encoder.backbone.stem.0.weight"])


def test_no_run_goes_on_from_it(old, tiny_world, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    text = torch.load(old, weights_only=True)["config"]
    (run / "config.yaml").write_text(text)
    old.rename(run / "model_last.pth")
    cfg = config.parse(text, {"OUTPUT_DIR": str(run), "DATASETS.ROOT": str(tiny_world)})
    with pytest.raises(ValueError, match=r"model_last\.pth is of version 1.*scored, exported and used as weights"):
        runs.train(cfg, resume=True)


def test_keys_and_names_are_todays(old):
    model = checkpoint.load(old)["model"]
    was = torch.load(old, weights_only=True)["model"]
    if old.stem == "baseline":
        assert was.keys() - model.keys() == {"unusable"}
        return
    assert torch.equal(model["losses.softmax.weight"], was["classifier.weight"])
    assert torch.equal(model["mapping.outer"], was["mapping.0.weight"])
    assert torch.equal(model["bank.stored"], was["bank.seen"])
    assert torch.equal(model["bank.visited"], was["bank.seen"])
    cfg = config.parse(checkpoint.load(old)["config"])
    assert cfg.LOSSES == [{"NAME": "softmax", "WEIGHT": 0.5, "LABEL_SMOOTHING": 0.1}]
    assert dict(cfg.METHOD) == {"NAME": "dimn", "NORMALIZE_MAPPED": True, "FIRST_VISIT": "blend"}


@pytest.mark.parametrize("name", ["mapping.0.bias", "mapping.2.weight"])
def test_a_mapping_of_more_than_one_matrix_is_refused(old, name):
    model = torch.load(old, weights_only=True)["model"]
    changed(old, model={**model, name: torch.zeros(8)})
    with pytest.raises(ValueError, match=rf"cannot be opened: its METHOD dimn has {name}.*score it with what wrote it"):
        checkpoint.load(old)


def test_what_is_malformed_is_one_line(old):
    for name in ("config", "protocol", "label_map", "model"):
        whole = old.read_bytes()
        changed(old, **{name: 4})
        with pytest.raises(ValueError, match=f"malformed: {name} is of type int"):
            checkpoint.load(old)
        old.write_bytes(whole)


def test_configs_are_translated_where_they_are_of_version_1():
    new = {"INPUT": {"SIZE": [8, 4]}, "METHOD": {"NAME": "dimn"}, "LOSSES": []}
    assert version1.config(new) is new
    old = {"INPUT": {"FLIP": 0.5}, "METHOD": {"NAME": "dimn", "IDENTITY": 0.0, "MAPPING_START": "random"}, "LOSSES": []}
    old["TEST"] = {"FROZEN": ["MODEL.DIM", "INPUT.PAD", "INPUT.FLIP"]}
    found = version1.config(old)
    assert found["METHOD"] == {"NAME": "dimn", "FIRST_VISIT": "blend"}
    assert found["LOSSES"] == []
    assert found["TEST"]["FROZEN"] == ["MODEL.DIM", "INPUT.AUGMENT"]
    steps = [{"NAME": "flip", "PROB": 0.5}, {"NAME": "crop", "PAD": 10}]
    for block in ({"TEST": []}, {"METHOD": None}, {"TEST": {"FROZEN": 3}}, {"INPUT": {"FLIP": 1, "COLOR_JITTER": 3}}):
        with pytest.raises(ValueError, match="of VERSION 1, but it holds what no run of it says"):
            version1.config({**old, **block})
    assert found["INPUT"] == {"AUGMENT": steps}
