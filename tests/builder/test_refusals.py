"""What can be known before a run is refused before it has a folder, in one line."""

import shutil

import pytest
import tiny_run
import torch

from reid.builder import objects, refusals, runs


@pytest.fixture
def world(tiny_world, tmp_path):
    """A copy of the tiny world that a test may change."""
    return shutil.copytree(tiny_world, tmp_path / "world")


@pytest.fixture
def refused(world, tmp_path):
    def check(match, **overrides):
        cfg = tiny_run.build(world, tmp_path / "run", {"LOSSES": "[softmax]", **overrides})
        with pytest.raises(ValueError, match=match) as error:
            runs.train(cfg)
        assert "\n" not in str(error.value)
        assert not (tmp_path / "run").exists()

    return check


def test_a_target_without_searches(world, refused):
    for part in ("query", "bounding_box_test"):
        shutil.rmtree(world / "target" / part)
    refused("target has no trial, it is only a source")


def test_a_search_that_finds_nobody(world, refused):
    for path in (world / "target" / "bounding_box_test").glob("0*_c*"):
        path.rename(path.with_name(f"9{path.name}"))
    refused("target, trial 0: .*none of 16 queries has a match.*no identity is on both sides")


def test_a_search_within_one_camera(world, refused):
    for part in ("query", "bounding_box_test"):
        for path in (world / "target" / part).glob("*_c2*"):
            path.unlink()
    refused("target, trial 0: .*there is a single camera. TEST.CAMERA_RULE False")


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ({"query": [1, None], "gallery": [1, 2]}, "target, trial 0: .*1 of 2 samples have no camid"),
        ({"query": [1, 1], "gallery": [None, None]}, "target, trial 0: .*camids on one side only"),
    ],
)
def test_cameras_of_some_pictures_only(world, refused, cameras, message):
    rows = ["path,pid,camid,split"]
    for split, part in (("query", "query"), ("gallery", "bounding_box_test")):
        names = sorted(p for p in (world / "target" / part).iterdir() if not p.name.startswith(("-1", "0000")))[:2]
        for path, camid in zip(names, cameras[split], strict=True):
            rows.append(f"{part}/{path.name},1,{'' if camid is None else camid},{split}")
    (world / "target" / "list.csv").write_text("\n".join(rows) + "\n")
    refused(message, **{"DATASETS.TARGETS": "[{NAME: folder, PATH: target, FORM: csv}]"})


@pytest.mark.parametrize("device", ["mps", "xpu", "meta", "cuda:99", "gpu"])
def test_a_device_that_is_not_there(refused, device):
    refused(f"DEVICE is {device}", DEVICE=device)


def test_one_picture_for_each_process(tiny_world, tmp_path, monkeypatch):
    cfg = tiny_run.build(tiny_world, tmp_path / "run", {"LOSSES": "[softmax]", "DATALOADER.BATCH_SIZE": "2"})
    method = objects.method(cfg, num_classes=2, num_samples=4)
    kept = {name: value.clone() for name, value in method.state_dict().items()}
    refusals.check_batch(cfg, method)
    assert all(torch.equal(value, kept[name]) for name, value in method.state_dict().items())
    monkeypatch.setattr(refusals.runtime, "world", lambda: 2)
    with pytest.raises(ValueError, match=r"1 picture\(s\) per process and step .*Expected more than 1 value"):
        refusals.check_batch(cfg, method)


def test_pictures_too_small_for_the_encoder(refused):
    refused(
        r"INPUT.SIZE \[4, 4\], which the encoder cannot take", **{"INPUT.SIZE": "[4, 4]", "MODEL.POOLING": "strips4"}
    )
