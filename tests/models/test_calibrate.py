"""Statistics of BatchNorm from a pass over pictures."""

import pytest
import torch
from torch import nn

from reid.models.backbones.tiny import Tiny
from reid.models.calibrate import calibrating


def test_one_layer_ends_with_the_statistics_of_all_rows():
    layer = nn.BatchNorm1d(3).double()
    rows = 5 + 2 * torch.randn(40, 3, dtype=torch.float64)
    with calibrating(layer):
        for part in rows.split([7, 13, 20]):
            layer(part)
    assert torch.allclose(layer.running_mean, rows.mean(0))
    assert torch.allclose(layer.running_var, rows.var(0))
    layer.eval()
    assert torch.allclose(layer(rows).mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-9)


def test_maps_count_every_place():
    layer = nn.BatchNorm2d(2)
    maps = torch.randn(6, 2, 4, 3)
    with calibrating(layer):
        layer(maps[:2])
        layer(maps[2:])
    assert torch.allclose(layer.running_mean, maps.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(layer.running_var, maps.transpose(0, 1).flatten(1).var(1), atol=1e-6)


def test_it_normalises_by_the_batch_even_where_the_network_is_told_to_score():
    torch.manual_seed(0)
    network = Tiny()
    images = torch.rand(16, 3, 32, 16)
    expected = network.train()(images)
    network = Tiny()
    torch.manual_seed(0)
    network = Tiny().train()
    with calibrating(network), torch.no_grad():
        network.eval()
        assert torch.allclose(network(images), expected, atol=1e-6)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.training and m.momentum == 0.1 for m in norms)
    assert all(int(m.num_batches_tracked) == 0 for m in norms)
    assert any((m.running_mean != 0).any() for m in norms)


def test_what_saw_nothing_stays_and_an_error_restores_the_layers():
    network = nn.ModuleList([nn.BatchNorm1d(2), nn.BatchNorm1d(2)])

    def stop_half_way():
        with calibrating(network):
            network[0](torch.randn(8, 2))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_half_way()
    assert all(torch.equal(layer.running_mean, torch.zeros(2)) for layer in network)
    assert all(not layer._forward_pre_hooks and layer.momentum == 0.1 for layer in network)
