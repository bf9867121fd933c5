"""The mapping subnet: from a gallery picture's embedding to the classifier weights of its identity."""

from __future__ import annotations

from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
STARTS = ("identity", "random")


class Mapping(nn.Sequential):
    """h: (B, D) -> (B, D), `depth` fully connected layers; what comes out is raw, its length is the caller's to decide.

    Args:
        dim: D.
        depth: of layers, all D to D; one is the paper's.
        bias: of every layer.
        activation: relu, leaky_relu, gelu or tanh, between the layers; one layer has none.
        start: `identity`: every layer begins as the map that changes nothing. `random`: as PyTorch begins a layer.
    Source: Song et al. 2019 (DIMN), section 3 as others relate it: one fully connected layer. Bias, activation and
    start are not known to us.
    """

    def __init__(
        self, dim: int, depth: int = 1, bias: bool = False, activation: str = "relu", start: str = "identity"
    ) -> None:
        if depth < 1:
            raise ValueError(f"MAPPING_DEPTH is {depth}; expected 1 or more layers")
        if activation not in ACTIVATIONS:
            raise ValueError(f"MAPPING_ACTIVATION: no {activation}; there are {', '.join(ACTIVATIONS)}")
        if start not in STARTS:
            raise ValueError(f"MAPPING_START: no {start}; there are {', '.join(STARTS)}")
        layers: list[nn.Module] = []
        for _ in range(depth):
            linear = nn.Linear(dim, dim, bias=bias)
            if start == "identity":
                nn.init.eye_(linear.weight)
                if bias:
                    nn.init.zeros_(linear.bias)
            layers += [linear, ACTIVATIONS[activation]()]
        super().__init__(*layers[:-1])
