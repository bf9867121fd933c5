"""The mapping subnet: layers, options, and a start that changes nothing."""

import pytest
import torch

from reid.models.mapping import Mapping


def test_one_layer_by_default_and_it_starts_as_the_identity():
    mapping = Mapping(5)
    x = torch.randn(3, 5)
    assert [tuple(p.shape) for p in mapping.parameters()] == [(5, 5)]
    assert torch.equal(mapping(x), x)


def test_random_start_is_that_of_a_linear_layer():
    torch.manual_seed(0)
    mapping = Mapping(5, start="random", bias=True)
    torch.manual_seed(0)
    linear = torch.nn.Linear(5, 5)
    x = torch.randn(3, 5)
    assert torch.equal(mapping(x), linear(x))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_activation_stands_between_the_layers_and_not_behind_the_last(depth, bias):
    mapping = Mapping(4, depth=depth, bias=bias, activation="tanh", start="random")
    x = torch.randn(6, 4)
    expected = x
    for i in range(depth):
        expected = mapping[2 * i](expected if i == 0 else torch.tanh(expected))
    assert torch.equal(mapping(x), expected)
    assert len(list(mapping.parameters())) == depth * (1 + bias)
