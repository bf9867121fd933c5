"""Embeddings of cameras: against timm's own steps with the addition written out, in whole runs, and what is refused."""

import logging

import pytest
import torch
from tiny_run import build

import reid
from reid import checkpoint
from reid.builder import exports, runs
from reid.models.encoder import Encoder

IMAGES = torch.rand(4, 3, 32, 16, generator=torch.Generator().manual_seed(0))
CAMIDS = torch.tensor([2, 0, 2, 1])


@pytest.mark.parametrize("name", ["test_vit", "test_vit2", "eva02_tiny_patch14_224"])
@torch.no_grad()
def test_every_token_has_that_of_its_pictures_camera_or_the_mean(name):
    encoder = Encoder(name, sie=3, neck=False, features=("tokens",), size=(32, 16))
    network = encoder.backbone
    drop, cameras = network.pos_drop
    cameras.embeddings.normal_()
    for training in (True, False):
        given = encoder.train(training)(IMAGES, camids=CAMIDS)["tokens"]
        rows = []
        for image, camera in zip(IMAGES, CAMIDS.tolist(), strict=True):
            own = cameras.embeddings[camera] if training else sum(cameras.embeddings) / 3

            def added(module, inputs, output, own=own):
                return output + 3 * own

            network.pos_drop = drop
            handle = drop.register_forward_hook(added)
            rows.append(network(encoder.normalise(image[None]))[0])
            handle.remove()
            network.pos_drop = torch.nn.Sequential(drop, cameras)
        torch.testing.assert_close(given, torch.stack(rows), atol=1e-5, rtol=1e-5)


def test_without_it_nothing_changes_and_with_it_only_cameras_that_were_seen_learn():
    torch.manual_seed(0)
    plain = Encoder("test_vit", size=(32, 16))
    torch.manual_seed(0)
    again = Encoder("test_vit", size=(32, 16), sie=0)
    assert all(
        torch.equal(one, other)
        for one, other in zip(plain.state_dict().values(), again.state_dict().values(), strict=True)
    )
    encoder = Encoder("test_vit", size=(32, 16), sie=3)
    encoder(IMAGES, camids=torch.tensor([0, 2, 2, 0]))["before"].square().sum().backward()
    assert encoder.backbone.pos_drop[1].embeddings.grad.abs().sum(1).bool().tolist() == [True, False, True]


def test_what_cannot_be_is_refused():
    for name in ("resnet18", "tiny", "swin_tiny_patch4_window7_224"):
        with pytest.raises(ValueError, match=r"found SIE 3, expected one of timm's ViTs"):
            Encoder(name, sie=3)
    encoder = Encoder("test_vit", size=(32, 16), sie=3)
    with pytest.raises(ValueError, match=r"SIE: found pictures without cameras, expected a METHOD that tells"):
        encoder(IMAGES)
    with pytest.raises(IndexError):
        encoder(IMAGES, camids=torch.tensor([0, 1, -1, 2]))


def test_a_run_goes_on_exactly_is_scored_by_the_mean_and_exported(tiny_world, tmp_path, caplog):
    """Two sources of two cameras each."""
    caplog.set_level(logging.INFO, logger="reid")
    more = {
        "MODEL.BACKBONE.NAME": "test_vit",
        "MODEL.BACKBONE.SIE": "4",
        "LOSSES": "[softmax, triplet]",
        "SOLVER.MAX_STEPS": "4",
    }
    more |= {
        "SOLVER.CHECKPOINT_STEPS": "2",
        "SOLVER.KEEP": "9",
        "SOLVER.OPTIMIZER": "adamw",
        "SOLVER.LAYER_DECAY": "0.5",
    }
    rows, _ = (runs.train(build(tiny_world, tmp_path / name, more)) for name in ("a", "b"))
    (tmp_path / "b" / "model_last.pth").write_bytes((tmp_path / "b" / "model_step2.pth").read_bytes())
    runs.train(build(tiny_world, tmp_path / "b", more), resume=True)
    one, other = (checkpoint.load(tmp_path / name / "model_last.pth")["model"] for name in ("a", "b"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    embeddings = one["encoder.backbone.pos_drop.1.embeddings"]
    assert embeddings.shape == (4, 64)
    again = runs.score(None, tmp_path / "a" / "model_final.pth")
    assert [(row["dataset"], row["mAP"]) for row in again] == [(row["dataset"], row["mAP"]) for row in rows]
    exports.export(tmp_path / "a" / "model_final.pth", tmp_path / "export", formats=["pt2"])
    paths = [str(path) for path in sorted((tiny_world / "target" / "query").iterdir())]
    ours, theirs = (
        reid.load(place).embed(paths) for place in (tmp_path / "a" / "model_final.pth", tmp_path / "export")
    )
    torch.testing.assert_close(torch.from_numpy(ours), torch.from_numpy(theirs), atol=1e-5, rtol=0)
    Encoder("test_vit", weights=tmp_path / "a" / "model_final.pth", size=(32, 16))
    assert "pos_drop (1)" in caplog.text.rpartition("left out: ")[2]
    for number in ("3", "5"):
        with pytest.raises(
            ValueError, match=rf"MODEL\.BACKBONE\.SIE is {number}; found 4 cameras in the sources, expected"
        ):
            runs.train(build(tiny_world, tmp_path / "c", {**more, "MODEL.BACKBONE.SIE": number}))
    assert not (tmp_path / "c").exists()
