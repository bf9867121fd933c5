"""Poolings: a feature map (B, C, h, w), or tokens (B, T, C), of any float dtype to (B, num_parts * C) float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pool(nn.Module):
    """num_parts: how many vectors of C channels are concatenated."""

    num_parts = 1


class Average(Pool):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3), dtype=torch.float32)


class Max(Pool):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.amax(dim=(2, 3)).float()


class AverageMax(Pool):
    """The average plus the maximum of each channel, as Proxy-Anchor's code pools."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3), dtype=torch.float32) + maps.amax(dim=(2, 3)).float()


class GeM(Pool):
    """Generalised mean with one learned power: 1 is the average, infinity the maximum; it starts at 3.

    Values below 1e-6 count as 1e-6, for a power of 0 or less has no gradient.
    Source:  Radenovic et al. 2018, eq. 4, with the power shared by all channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, maps: Tensor) -> Tensor:
        powers = maps.float().clamp(min=1e-6) ** self.power
        return powers.mean(dim=(2, 3)) ** (1 / self.power)


class Strips(Pool):
    """Averages over horizontal strips of equal height, from top to bottom; they overlap by a row where the map's height
    is not a multiple of their number."""

    def __init__(self, num_parts: int) -> None:
        super().__init__()
        self.num_parts = num_parts

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[2] < self.num_parts:
            raise ValueError(
                f"pooling strips{self.num_parts}: found a map {maps.shape[2]} high, expected at least {self.num_parts}; "
                "use fewer strips, higher pictures or last_stride 1"
            )
        strips = F.adaptive_avg_pool2d(maps.float(), (self.num_parts, 1))  # (B, C, parts, 1)
        return strips.squeeze(3).transpose(1, 2).flatten(1)  # (B, parts * C)


class ClassToken(Pool):
    """The first token of the prefix."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0].float()


class TokenAverage(Pool):
    """The average of the patches' tokens, which come after the prefix."""

    def __init__(self, num_prefix_tokens: int) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, self.num_prefix_tokens :].mean(dim=1, dtype=torch.float32)


class ClassAndAverage(Pool):
    """The class token, and the average of the patches' tokens behind it."""

    num_parts = 2

    def __init__(self, num_prefix_tokens: int) -> None:
        super().__init__()
        self.both = nn.ModuleList([ClassToken(), TokenAverage(num_prefix_tokens)])

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.cat([pool(tokens) for pool in self.both], dim=1)


class TokenStrips(Strips):
    """Strips of the map that the patches' tokens make, `grid` rows and columns of them; those of the prefix are left out."""

    def __init__(self, num_parts: int, grid: tuple[int, int], num_prefix_tokens: int) -> None:
        super().__init__(num_parts)
        self.grid, self.num_prefix_tokens = tuple(grid), num_prefix_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens[:, self.num_prefix_tokens :].mT.unflatten(2, self.grid))


def build(
    name: str,
    num_prefix_tokens: int | None = None,
    grid: tuple[int, int] | None = None,
    class_token: bool = True,
) -> Pool:
    """Of maps `avg`, `max`, `avg+max`, `gem`, or `strips` with a number of 1 or more, such as `strips4`; of tokens,
    where `num_prefix_tokens` is given, `avg`, with a class token `cls` and `cls+avg`, and with a `grid` of (rows, columns)
    `strips4`. class_token: whether the prefix, if there is one, begins with it."""
    count = name.removeprefix("strips")
    strips = int(count) if name.startswith("strips") and count.isdecimal() else 0
    if num_prefix_tokens is not None:
        if name == "avg":
            return TokenAverage(num_prefix_tokens)
        class_token = class_token and num_prefix_tokens > 0
        if name in ("cls", "cls+avg") and class_token:
            return ClassToken() if name == "cls" else ClassAndAverage(num_prefix_tokens)
        if strips and grid:
            return TokenStrips(strips, grid, num_prefix_tokens)
        known = "avg, cls or cls+avg" if class_token else "avg: there is no class token"
        known += ", or strips with a number, such as strips4" if grid else ""
        raise ValueError(f"pooling: found {name!r} for a backbone that gives tokens, expected {known}")
    simple: dict[str, type[Pool]] = {"avg": Average, "max": Max, "avg+max": AverageMax, "gem": GeM}
    if name in simple:
        return simple[name]()
    if strips:
        return Strips(strips)
    raise ValueError(
        f"pooling: found {name!r}, expected avg, max, avg+max, gem or strips with a number, such as strips4"
    )
