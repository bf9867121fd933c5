"""InstanceNorm on the input: each channel of each picture by its own mean and deviation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models.norms import Conversion


class Input(Conversion):
    """Stands in for the pixels' mean and deviation, which takes a camera's cast and contrast away.

    For training from scratch: weights made with a mean and deviation of pixels do not expect it.

    Args:    affine: with a scale and a shift that learn, a channel each.
    Source:  Sovrasov and Sidnev 2020, arXiv 2003.07618, with affine and 1e-5; here 1e-4 is added to the variance, that of
             2.5 grey levels: an almost constant picture stays quiet, a constant one gives 0.
    """

    def __init__(self, affine: bool = False) -> None:
        self.affine = affine

    def convert(self, network: nn.Module) -> list[str]:
        if hasattr(network, "input_norm"):
            raise ValueError("found it twice, expected it once")
        network.input_norm = InputNorm(self.affine)
        return ["the input"]


class InputNorm(nn.Module):
    """(B, 3, H, W) float32 of any range -> the same, each channel of each picture of mean 0 and deviation 1."""

    def __init__(self, affine: bool) -> None:
        super().__init__()
        self.affine = affine
        if affine:
            self.weight = nn.Parameter(torch.ones(3, 1, 1))
            self.bias = nn.Parameter(torch.zeros(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        variance, mean = torch.var_mean(images, dim=(2, 3), correction=0, keepdim=True)  # (B, 3, 1, 1)
        images = (images - mean) * torch.rsqrt(variance + 1e-4)
        return images * self.weight + self.bias if self.affine else images
