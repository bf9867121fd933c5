"""BatchNorm's running statistics can be found, and held still while it goes on as it does."""

import pytest
import torch
from torch import nn

from reid.models import norms
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics
from reid.models.norms.ibn_a import HalfAndHalf


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.named_buffers()}


@pytest.mark.parametrize("backbone", ["tiny", "mobilenetv2_050"])
@pytest.mark.parametrize("frozen", [False, True])
def test_held_statistics_stay_and_features_do_not_change(backbone, frozen):
    torch.manual_seed(0)
    encoder = Encoder(backbone, freeze_bn=frozen).train()
    images = torch.randint(256, (4, 3, 32, 16), dtype=torch.uint8)
    before = statistics(encoder)
    with hold_statistics(encoder):
        held = encoder(images)["after"]
    assert all(torch.equal(value, before[name]) for name, value in statistics(encoder).items())
    assert torch.equal(held, encoder(images)["after"])
    moved = [name for name, value in statistics(encoder).items() if not torch.equal(value, before[name])]
    assert moved, "and afterwards they follow again"


def test_an_error_within_lets_them_go():
    layer = nn.BatchNorm1d(2)
    with pytest.raises(ZeroDivisionError), hold_statistics(layer):
        _ = 1 / 0
    assert layer.track_running_stats


def test_statistics_are_found_and_which_of_them_a_forward_moves():
    untracked = nn.BatchNorm2d(4, track_running_stats=False)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), untracked, nn.BatchNorm2d(4))
    network[3].eval()
    own = [[id(layer.running_mean), id(layer.running_var)] for layer in (network[1], network[3])]
    assert [id(value) for value in norms.statistics(network)] == own[0] + own[1]
    assert [id(value) for value in norms.statistics(network, moving=True)] == own[0]
    assert norms.statistics(network.eval(), moving=True) == []


def test_ibn_a_in_one_go_holds_its_statistics_too():
    layer = HalfAndHalf(nn.BatchNorm2d(4)).train()
    maps = torch.randn(3, 4, 5, 2).to(memory_format=torch.channels_last)
    before = statistics(layer)
    with hold_statistics(layer):
        held = layer(maps)
    assert all(torch.equal(value, before[name]) for name, value in statistics(layer).items())
    assert torch.equal(held, layer(maps))
    assert not torch.equal(layer.BN.running_mean, before["BN.running_mean"])
