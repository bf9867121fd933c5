"""A small CNN that learns from scratch in minutes on two CPU cores: the backbone of the demo and of the tests."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.backbones import Backbone


class Tiny(Backbone):
    """Six 3x3 convolutions: a stem, a convolution and two residual blocks, each of the first three at half the size.

    forward: (B, 3, H, W) -> (B, 128, H/8, W/8); 64x32 pictures are what it is meant for. 0.54M parameters. On two
    threads of a server's CPU `benchmarks/train_step.py` trains on 1,450 such pictures per second in steps of 64, with the
    encoder about it, a classifier of 751 identities and other work on the machine.

    The stem normalises each picture by itself and the rest the batch: statistics of style (colour, contrast) live in
    early layers, and taking them out there is what helps on unseen domains.
    Source: Pan et al. 2018 (IBN-Net), but with all, not half, of the stem's channels instance-normalised: as fast as
    BatchNorm, where the split and concatenation of the halves cost 7% of a step.
    """

    def __init__(self) -> None:
        super().__init__()
        # 32x16 maps are bound by memory, not arithmetic: 24 channels here, and no residual block before 16x8.
        self.stem = _conv(3, 24, nn.InstanceNorm2d(24, affine=True), stride=2)
        self.conv = _conv(24, 64, nn.BatchNorm2d(64), stride=2)
        self.block1 = _Residual(64, 128, stride=2)
        self.block2 = _Residual(128, 128)

    def forward(self, images: Tensor) -> Tensor:
        maps = F.relu(self.conv(F.relu(self.stem(images))))  # (B, 64, H/4, W/4)
        return self.block2(self.block1(maps))


class _Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, num_in: int, num_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(num_in, num_out, nn.BatchNorm2d(num_out), stride)
        self.conv2 = _conv(num_out, num_out, nn.BatchNorm2d(num_out))
        self.shortcut: nn.Module = nn.Identity()
        if num_in != num_out or stride != 1:
            shortcut = nn.Conv2d(num_in, num_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(num_out))
        self.act = nn.ReLU()  # a layer, so that conversions of norms see where the sum ends

    def forward(self, maps: Tensor) -> Tensor:
        return self.act(self.conv2(F.relu(self.conv1(maps))) + self.shortcut(maps))


def _conv(num_in: int, num_out: int, norm: nn.Module, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False), norm)
