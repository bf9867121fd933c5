"""OSNet: streams of one to four light convolutions, weighed by one gate; small, and made for re-identification."""

from __future__ import annotations

import functools
from collections import OrderedDict
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor, nn

from reid.models.backbones import Backbone

CHANNELS = {1.0: (64, 256, 384, 512), 0.75: (48, 192, 288, 384), 0.5: (32, 128, 192, 256), 0.25: (16, 64, 96, 128)}
FORMS = ("plain", "ibn", "ain", "lct")
INSIDE = ((True, True), (False, True), (True, False))  # of `ain`: which blocks have the InstanceNorm within
MAP = (16, 8)  # of a picture of 256x128


class Osnet(Backbone):
    """forward: (B, 3, H, W) -> (B, 1, 512): one token, the picture's vector after pooling, Linear, BatchNorm and ReLU.

    Names of weights are torchreid's, so its files load key for key; what they hold of a classifier is left out.

    Args:    width: 1.0, 0.75, 0.5 or 0.25.
             form: `plain`; `ibn`, InstanceNorm in the stem and after the sums of the first stage; `ain`, InstanceNorm in the
             stem and, in four of the six blocks, before the sum; `lct`, with InstanceNorm on the input and in the stem, in the
             second block of each stage a gate that normalises groups of channels (LCT), pooling by a depthwise convolution
             over the whole map, so that pictures must be 256x128, and PReLU: (B, 1, 256).
    Source:  Zhou et al. 2019 (plain, ibn) and 2021 (ain: the architecture that they found); Sovrasov and Sidnev 2020, arXiv
             2003.07618 (lct). As their released code has them: at width 0.25 a group of the first stage's LCT is one number,
             so that this gate learns a constant.
    """

    stage_names = ("conv2", "conv3", "conv4")
    variants: ClassVar = {
        f"osnet{'' if form == 'plain' else f'_{form}'}_x{str(width).replace('.', '_')}": {"width": width, "form": form}
        for form, width in product(FORMS, CHANNELS)
    }

    def __init__(self, width: float = 1.0, form: str = "plain") -> None:
        super().__init__()
        if width not in CHANNELS or form not in FORMS:
            raise ValueError(
                f"osnet: found width {width} and form {form}; expected one of {', '.join(map(str, CHANNELS))} and of {', '.join(FORMS)}"
            )
        stem, *wide = CHANNELS[width]
        lct, dim = form == "lct", 256 if form == "lct" else 512
        self.picture_size = (16 * MAP[0], 16 * MAP[1]) if lct else None
        self.in_first = nn.InstanceNorm2d(3, affine=True) if lct else nn.Identity()
        self.conv1 = _conv(3, stem, 7, stride=2, norm=nn.BatchNorm2d if form == "plain" else nn.InstanceNorm2d)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.conv2, self.pool2 = _stage(stem, wide[0], form, 2)
        self.conv3, self.pool3 = _stage(wide[0], wide[1], form, 3)
        self.conv4, _ = _stage(wide[1], wide[2], form, 4)
        self.conv5 = _conv(wide[2], wide[2])
        self.global_avgpool = nn.Conv2d(wide[2], wide[2], MAP, groups=wide[2]) if lct else nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(wide[2], dim), nn.BatchNorm1d(dim), nn.PReLU() if lct else nn.ReLU())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.conv1(self.in_first(images)))
        maps = self.pool3(self.conv3(self.pool2(self.conv2(maps))))
        maps = self.global_avgpool(self.conv5(self.conv4(maps)))
        return self.fc(maps.flatten(1)).unsqueeze(1)


def _stage(num_in: int, num_out: int, form: str, number: int) -> tuple[nn.Sequential, nn.Module]:
    """Two blocks and, but for the last, what halves the map: a part of the stage, of `ain` by itself."""
    inside = INSIDE[number - 2] if form == "ain" else (None, None)
    after = form == "ibn" and number == 2
    blocks = [
        _Block(num_in, num_out, _Gate, inside[0], after),
        _Block(num_out, num_out, _Lct if form == "lct" else _Gate, inside[1], after),
    ]
    halving = nn.Sequential(_conv(num_out, num_out), nn.AvgPool2d(2, stride=2))
    if form == "ain":
        return nn.Sequential(*blocks), halving
    return nn.Sequential(*blocks, *[halving] * (number < 4)), nn.Identity()


class _Block(nn.Module):
    """num_in channels -> num_out. inside: InstanceNorm before the sum in place of BatchNorm, in the names of `ain`; None: plain
    names. after: InstanceNorm after the sum."""

    def __init__(self, num_in: int, num_out: int, gate: type[nn.Module], inside: bool | None, after: bool) -> None:
        super().__init__()
        middle = num_out // 4
        self.conv1 = _conv(num_in, middle)
        if inside is None:
            self.conv2a = _light(middle)
            for letter, depth in (("b", 2), ("c", 3), ("d", 4)):
                self.add_module(f"conv2{letter}", nn.Sequential(*(_light(middle) for _ in range(depth))))
        else:
            lights = [nn.Sequential(*(_light(middle) for _ in range(depth))) for depth in (1, 2, 3, 4)]
            self.conv2 = nn.ModuleList(nn.Sequential(OrderedDict(layers=stream)) for stream in lights)
        self.streams = ("conv2a", "conv2b", "conv2c", "conv2d") if inside is None else [f"conv2.{i}" for i in range(4)]
        self.gate = gate(middle)
        self.conv3 = _conv(middle, num_out, norm=None if inside else nn.BatchNorm2d, active=False)
        self.downsample = _conv(num_in, num_out, active=False) if num_in != num_out else None
        self.IN = nn.InstanceNorm2d(num_out, affine=True) if inside or after else None
        self.after = after
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        first = self.conv1(maps)
        weighed = [self.gate(self.get_submodule(stream)(first)) for stream in self.streams]
        out = self.conv3(functools.reduce(torch.add, weighed))
        if self.IN is not None and not self.after:
            out = self.IN(out)
        out = out + (maps if self.downsample is None else self.downsample(maps))
        if self.IN is not None and self.after:
            out = self.IN(out)
        return self.relu(out)


class _Gate(nn.Module):
    """Each channel times a number in 0..1 by two layers on the averages of all."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(num, num // 16, 1), nn.Conv2d(num // 16, num, 1)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.mean(dim=(2, 3), keepdim=True)
        return maps * torch.sigmoid(self.fc2(torch.relu(self.fc1(pooled))))


class _Lct(nn.Module):
    """The same by the averages normalised within groups of channels; at the start sigmoid(1) for all."""

    def __init__(self, num: int) -> None:
        super().__init__()
        self.gn = nn.GroupNorm(next(groups for groups in (16, 8, 4, 2, 1) if num % groups == 0), num)
        nn.init.zeros_(self.gn.weight)
        nn.init.ones_(self.gn.bias)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.mean(dim=(2, 3), keepdim=True)
        # Not self.gn(pooled), which refuses one picture where a group is one channel.
        grouped = torch.group_norm(pooled, self.gn.num_groups, self.gn.weight, self.gn.bias, self.gn.eps)
        return maps * torch.sigmoid(grouped)


def _conv(
    num_in: int,
    num_out: int,
    kernel: int = 1,
    stride: int = 1,
    norm: type[nn.BatchNorm2d | nn.InstanceNorm2d] | None = nn.BatchNorm2d,
    active: bool = True,
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(num_in, num_out, kernel, stride, kernel // 2, bias=False)
    if norm is not None:
        layers["bn"] = norm(num_out, affine=True)
    if active:
        layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)


def _light(num: int) -> nn.Sequential:
    """A 1x1 convolution and a depthwise 3x3 one, BatchNorm, ReLU."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(num, num, 1, bias=False)
    layers["conv2"] = nn.Conv2d(num, num, 3, padding=1, groups=num, bias=False)
    layers["bn"] = nn.BatchNorm2d(num)
    layers["relu"] = nn.ReLU()
    return nn.Sequential(layers)
