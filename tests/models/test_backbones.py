"""Backbones by name, their maps and their last stride."""

import pytest
import torch
from torch import nn

from reid.models import backbones
from reid.models.backbones import Backbone


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "num_features", "total_stride"),
    [
        ("mobilenetv2_100", 1280, 32),
        ("mobilenetv2_140", 1792, 32),
        ("resnet18", 512, 32),
        ("resnet50", 2048, 32),
        ("resnet101", 2048, 32),
        ("mobilenetv3_small_050", 1024, 32),  # its head's convolution comes after what timm calls its features
        ("tiny", 128, 8),
    ],
)
def test_last_stride_1_doubles_the_map_and_leaves_the_parameters(name, num_features, total_stride):
    as_published, doubled = backbones.build(name), backbones.build(name, last_stride=1)
    assert as_published.num_features == doubled.num_features == num_features
    assert num_parameters(as_published) == num_parameters(doubled)
    doubled.load_state_dict(as_published.state_dict())
    images = torch.rand(1, 3, 64, 32)
    with torch.no_grad():
        assert as_published.eval()(images).shape == (1, num_features, 64 // total_stride, 32 // total_stride)
        assert doubled.eval()(images).shape == (1, num_features, 128 // total_stride, 64 // total_stride)


def test_last_stride_1_only_changes_the_convolutions_of_the_last_halving():
    strides = [
        {
            path: conv.stride
            for path, conv in backbones.build("resnet18", last_stride=last).named_modules()
            if hasattr(conv, "stride")
        }
        for last in (2, 1)
    ]
    changed = [path for path in strides[0] if strides[0][path] != strides[1][path]]
    assert changed == ["layer4.0.conv1", "layer4.0.downsample.0"]


def test_building_leaves_training_mode_and_statistics_alone():
    backbone = backbones.build("resnet18", last_stride=1)
    assert all(module.training for module in backbone.modules())
    assert backbone.bn1.num_batches_tracked == 0


def test_tiny_is_under_a_million_parameters_and_channels_last():
    tiny = backbones.build("tiny").to(memory_format=torch.channels_last)
    assert num_parameters(tiny) < 1_000_000
    maps = tiny(torch.rand(2, 3, 64, 32).contiguous(memory_format=torch.channels_last))
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_tiny_learns_to_tell_pictures_apart():
    torch.manual_seed(0)
    tiny, head = backbones.build("tiny"), nn.Linear(128, 8)
    images, classes = torch.rand(8, 3, 8, 4).repeat_interleave(4, 2).repeat_interleave(4, 3), torch.arange(8)
    optimiser = torch.optim.SGD([*tiny.parameters(), *head.parameters()], lr=0.05, momentum=0.9)
    for _ in range(20):
        noisy = images + 0.05 * torch.randn_like(images)
        loss = nn.functional.cross_entropy(head(tiny(noisy).mean((2, 3))), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet_50", "resnet50"), ("MobileNetV2", "mobilenetv2_100"), ("tinny", "tiny"), ("xxxxxxxxxxxx", "list_models")],
)
def test_unknown_name_is_answered_with_near_ones(name, near):
    with pytest.raises(ValueError, match=rf"no '{name}'.*{near}"):
        backbones.build(name)


@pytest.mark.parametrize("name", ["resnet18.a1_in1k", "timm:resnet18", "timm:resnet18.tv_in1k"])
def test_timms_names_with_a_tag_or_a_prefix_are_that_network(name):
    torch.manual_seed(0)
    expected = backbones.build("resnet18").state_dict()
    torch.manual_seed(0)
    found = backbones.build(name).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


class Patches(Backbone):
    """Tokens of 16x16 patches behind two that stand for none; or, if `axes` is not 3, something nobody knows."""

    num_prefix_tokens = 2
    axes = 3

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 12, 16, 16)
        self.prefix = nn.Parameter(torch.randn(2, 12))

    def forward(self, images):
        patches = self.conv(images).flatten(2).mT
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), patches], dim=1)
        return tokens if self.axes == 3 else tokens.mean(1)


def test_a_class_may_give_tokens():
    backbone = backbones.build(Patches)
    assert (backbone.gives_tokens, backbone.num_features) == (True, 12)
    assert not backbones.build("tiny").gives_tokens
    with pytest.raises(
        ValueError, match=r"test_backbones:Patches: last_stride 1 needs a feature map, and it gives tokens"
    ):
        backbones.build(Patches, last_stride=1)


def test_what_is_neither_a_map_nor_tokens_is_refused(monkeypatch):
    monkeypatch.setattr(Patches, "axes", 2)
    with pytest.raises(ValueError, match=r"Patches: gives \(1, 12\).*\(1, C, 2w, w\) or tokens \(1, T, C\)$"):
        backbones.build(Patches)
    monkeypatch.setattr(Patches, "axes", 3)
    monkeypatch.setattr(Patches, "num_prefix_tokens", 34)  # of 2 + 8 * 4: no patch would be left
    with pytest.raises(ValueError, match=r"Patches: gives \(1, 34, 12\)"):
        backbones.build(Patches)


def test_names_are_the_files_of_the_folder():
    assert "tiny" in backbones.names()
    assert not [name for name in backbones.names() if name.startswith("_")]
    for name in backbones.names():
        assert isinstance(backbones.build(name), Backbone)


@pytest.mark.parametrize("name", ["gmixer_12_224", "vgg11"])
def test_networks_without_a_feature_map_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}.*use another one"):
        backbones.build(name)


def test_last_stride_1_is_refused_where_pooling_halves():
    with pytest.raises(ValueError, match=r"resnet18d.*layer4.0.downsample.0 \(AvgPool2d\); use 2"):
        backbones.build("resnet18d", last_stride=1)


def test_last_stride_1_is_refused_where_the_map_does_not_double():
    with pytest.raises(ValueError, match=r"convnext_atto.*expected a map \(1, 320, 8, 4\), found .*; use 2"):
        backbones.build("convnext_atto", last_stride=1)


def test_last_stride_is_1_or_2():
    with pytest.raises(ValueError, match="found 3, expected 1 or 2"):
        backbones.build("tiny", last_stride=3)
