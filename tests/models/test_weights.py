"""Weights from files and from the hub: what fits is loaded whole, the rest is refused by name."""

import logging
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from reid.models import backbones, weights
from reid.models.encoder import Encoder

IMAGES = torch.rand(2, 3, 64, 32)


def randomised(network: nn.Module) -> nn.Module:
    """Every tensor of the state differs from what a new network has; running variances stay positive."""
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_mean", "bias")):
            tensor.normal_(std=0.1)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return network.eval()


def saved(tmp_path: Path, state: object, name: str = "weights.pth") -> Path:
    torch.save(state, tmp_path / name)
    return tmp_path / name


@torch.no_grad()
def assert_same_maps(name: str, path: Path, expected: nn.Module) -> None:
    torch.testing.assert_close(backbones.build(name, weights=path).eval()(IMAGES), expected(IMAGES))


@pytest.mark.parametrize("nest", ["bare", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_timms_names_load_from_any_nest(tmp_path, nest, prefix):
    expected = randomised(timm.create_model("resnet18", num_classes=0, global_pool=""))
    state = {prefix + key: tensor for key, tensor in expected.state_dict().items()}
    path = saved(tmp_path, state if nest == "bare" else {"epoch": 3, nest: state})
    assert_same_maps("resnet18", path, expected)


def test_safetensors_load(tmp_path):
    expected = randomised(backbones.build("tiny"))
    save_file(expected.state_dict(), tmp_path / "weights.safetensors")
    assert_same_maps("tiny", tmp_path / "weights.safetensors", expected)


BESIDE = {
    "bottleneck.weight": torch.ones(3),
    "classifier.weight": torch.ones(5, 3),
    "encoder_k.conv1.weight": torch.ones(1),
}


@pytest.mark.parametrize(
    ("prefix", "beside"),
    [
        ("base.", True),
        ("model.", True),
        ("net.", True),
        ("module.encoder_q.", True),
        ("module.module.", False),
        ("model.base._orig_mod.", False),
        ("a_name.of_theirs.", False),
    ],
)
def test_what_others_call_the_network_comes_off(tmp_path, prefix, beside):
    expected = randomised(backbones.build("tiny"))
    state = {prefix + key: tensor for key, tensor in expected.state_dict().items()}
    assert_same_maps("tiny", saved(tmp_path, state | (BESIDE if beside else {})), expected)


@pytest.mark.parametrize("core", [b"core", b"_core"])
def test_numbers_of_numpy_beside_the_tensors_are_read(tmp_path, core):
    expected = randomised(backbones.build("tiny"))
    scores = {"rank1": np.float64(0.5), "mAP": np.float32(0.25), "epoch": np.int64(3), "best": np.bool_(True)}
    path = saved(tmp_path, {"state_dict": expected.state_dict(), **scores})
    other = tmp_path / "other.pth"
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(other, "w") as written:  # numpy 1 and 2 have other names for it
        for name in read.namelist():
            written.writestr(
                name, re.sub(rb"numpy\._?core\.multiarray", b"numpy." + core + b".multiarray", read.read(name))
            )
    assert_same_maps("tiny", other, expected)


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_our_own_checkpoints_load(tmp_path, prefix):
    encoder = Encoder("tiny", dim=16)
    randomised(encoder.backbone)
    state = {prefix + key: tensor for key, tensor in encoder.state_dict().items()} | {
        "losses.0.weight": torch.rand(5, 16)
    }
    path = saved(tmp_path, {"model": state, "step": 12, "config": "MODEL: ..."})
    assert_same_maps("tiny", path, encoder.backbone)


@torch.no_grad()
@pytest.mark.parametrize("width", [1.0, 1.4])
def test_torchvisions_mobilenetv2_gives_torchvisions_features(tmp_path, width, caplog):
    theirs = randomised(torchvision.models.mobilenet_v2(width_mult=width))
    path = saved(tmp_path, theirs.state_dict())
    with caplog.at_level(logging.INFO, logger="reid"):
        ours = backbones.build(f"mobilenetv2_{width * 100:.0f}", weights=path).eval()
    torch.testing.assert_close(ours(IMAGES), theirs.features(IMAGES), atol=1e-4, rtol=1e-4)
    assert "left out: classifier.1.weight, classifier.1.bias" in caplog.text
    assert len(caplog.records) == 1


@torch.no_grad()
def test_torchvisions_resnet_gives_torchvisions_features(tmp_path):
    theirs = randomised(torchvision.models.resnet18())
    ours = backbones.build("resnet18", weights=saved(tmp_path, theirs.state_dict())).eval()
    features = nn.Sequential(*list(theirs.children())[:-2])
    torch.testing.assert_close(ours(IMAGES), features(IMAGES), atol=1e-4, rtol=1e-4)


def test_the_counters_of_old_files_may_be_missing(tmp_path):
    state = {key: t for key, t in backbones.build("tiny").state_dict().items() if "num_batches" not in key}
    found = backbones.build("tiny", weights=saved(tmp_path, state)).state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_last_stride_does_not_change_which_weights_fit(tmp_path):
    path = saved(tmp_path, backbones.build("resnet18").state_dict())
    assert backbones.build("resnet18", weights=path, last_stride=1).num_features == 512


def test_what_does_not_fit_is_named(tmp_path):
    state = backbones.build("tiny").state_dict()
    state["stem.0.weight"] = torch.rand(32, 3, 3, 3)
    state["block3.conv.weight"] = torch.rand(2)
    del state["conv.0.weight"]
    state["block1.conv1.0.weight"] = torch.full_like(state["block1.conv1.0.weight"], torch.nan)
    with pytest.raises(ValueError, match="do not fit backbone tiny") as caught:
        backbones.build("tiny", weights=saved(tmp_path, state))
    for part in (
        "stem.0.weight is (32, 3, 3, 3), expected (24, 3, 3, 3)",
        "missing conv.0.weight",
        "unexpected block3.conv.weight",
        "block1.conv1.0.weight holds values that are not finite",
    ):
        assert part in str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path):
    path = saved(tmp_path, torchvision.models.mobilenet_v2().state_dict())
    with pytest.raises(ValueError, match=r"mobilenetv2_140: conv_stem.weight is \(32, 3, 3, 3\).*and \d+ more"):
        backbones.build("mobilenetv2_140", weights=path)
    with pytest.raises(ValueError, match="do not fit backbone resnet18"):
        backbones.build("resnet18", weights=path)


class Hostile:
    """Touches a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("plain", [True, False])
def test_code_in_a_file_is_refused_and_never_runs(tmp_path, plain):
    path, touched = tmp_path / "hostile.pth", tmp_path / "touched"
    if plain:
        path.write_bytes(pickle.dumps({"state_dict": Hostile(touched)}, protocol=2))
    else:
        saved(tmp_path, {"state_dict": Hostile(touched)}, "hostile.pth")
    with pytest.raises(ValueError, match=r"hostile.pth: refused") as caught:
        backbones.build("tiny", weights=path)
    assert not touched.exists()
    # Torch advises to unpickle the file all the same.
    assert not re.search("weights_only|trust|torch.load|\n", str(caught.value))


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    state, path = backbones.build("tiny").state_dict(), tmp_path / name
    if name.endswith(".pth"):
        torch.save(state, path)
    else:
        save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=f"{name}: refused, the file is damaged"):
        backbones.build("tiny", weights=path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"a": "b"}}, torch.rand(3)])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match="found no tensors by name"):
        backbones.build("tiny", weights=saved(tmp_path, content))


def test_a_nest_that_holds_itself_ends(tmp_path):
    endless: dict = {"epoch": 3}
    endless["model"] = endless
    with pytest.raises(ValueError, match="found no tensors by name"):
        weights.read(saved(tmp_path, endless))


def test_a_missing_file_says_what_may_stand_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.pth. Expected none, timm, timm:<tag>"):
        backbones.build("tiny", weights=tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match="no file imagenet"):
        backbones.build("tiny", weights="imagenet")


def test_without_a_network_the_hub_says_so_and_nothing_starts(monkeypatch):
    create = timm.create_model

    def offline(name, *, pretrained=False, **options):
        if pretrained:
            raise OSError("Name or service not known\nand a long trace")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        ConnectionError, match=r"tried to fetch resnet18.a1_in1k .*service not known.*give its path"
    ) as caught:
        backbones.build("resnet18", weights="timm:a1_in1k")
    assert "\n" not in str(caught.value)


def test_the_hub_is_asked_for_the_tag(monkeypatch):
    asked = {}

    def online(name, **options):
        asked.update(options, name=name)
        return timm.models.resnet.resnet18(num_classes=0, global_pool="")

    monkeypatch.setattr(timm, "create_model", online)
    backbones.build("resnet18", weights="timm")
    assert asked == {"name": "resnet18", "pretrained": True, "num_classes": 0, "global_pool": ""}
    for name, tag in (("resnet18", ":a1_in1k"), ("resnet18.a1_in1k", ""), ("timm:resnet18.a1_in1k", ":a1_in1k")):
        asked.clear()
        backbones.build(name, weights=f"timm{tag}")
        assert asked["name"] == "resnet18.a1_in1k"


def test_an_unknown_tag_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"weights timm:nope: found no such weights for resnet18.*a1_in1k"):
        backbones.build("resnet18", weights="timm:nope")
    with pytest.raises(ValueError, match=r"backbone resnet18.nope: found no such weights for resnet18.*a1_in1k"):
        backbones.build("resnet18.nope")


@pytest.mark.parametrize("weights", ["timm", "timm:a1_in1k"])
def test_the_hub_has_no_weights_of_a_network_that_is_not_timms(weights):
    with pytest.raises(
        ValueError, match=f"weights {weights}.*: tiny is none of timm's networks; expected none, or a file"
    ):
        backbones.build("tiny", weights=weights)


def test_two_tags_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"timm:tv_in1k: found another tag in the backbone's name resnet18.a1_in1k"):
        backbones.build("resnet18.a1_in1k", weights="timm:tv_in1k")


@torch.no_grad()
@pytest.mark.data
def test_imagenet_weights_tell_pictures_apart(imagenet_weights):
    backbone = backbones.build("mobilenetv2_100", weights=imagenet_weights, last_stride=1).eval()
    maps = backbone(IMAGES)
    assert maps.shape == (2, 1280, 4, 2)
    assert 0 < maps.mean() < 6
    assert backbone.bn1.running_var.std() > 0
