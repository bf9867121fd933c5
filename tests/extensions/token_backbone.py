"""A toy: a transformer of two blocks as a backbone; a class token, then one token a patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.models.backbones import Backbone

GRID = (8, 4)  # the patches that places are learned for; for other sizes they are resampled


class Tokens(Backbone):
    """(B, 3, H, W) -> (B, 1 + H/8 * W/8, 32): patches of 8x8 pixels, learned places, two pre-norm blocks of four heads."""

    num_prefix_tokens = 1

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, 32))
        self.places = nn.Parameter(0.02 * torch.randn(1, 32, *GRID))
        self.blocks = nn.Sequential(_Block(32, 4), _Block(32, 4))
        self.norm = nn.LayerNorm(32)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images)
        places = F.interpolate(self.places, maps.shape[2:], mode="bilinear", antialias=False)
        tokens = (maps + places).flatten(2).mT  # (B, T, 32)
        tokens = torch.cat([self.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return self.norm(self.blocks(tokens))


class _Block(nn.Module):
    """Each token looks at all; then each is thought over by itself."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.ask, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        # (B, T, 3 * width) -> three of (B, heads, T, width / heads)
        asked = self.ask(self.norms[0](tokens)).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(*asked)
        tokens = tokens + self.join(seen.transpose(1, 2).flatten(2))
        return tokens + self.think(self.norms[1](tokens))
