"""The mean and deviation of pixels: they belong to the weights that were made with them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Pixels(NamedTuple):
    """By which a picture is normalised before a network sees it: RGB, of values in 0..1, three numbers each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def check(self) -> Pixels:
        """Itself. Raises ValueError for what is not three finite numbers, or a deviation that is not above 0."""
        for name, values in self._asdict().items():
            if len(values) != 3 or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
                raise ValueError(f"pixels: found {name} {list(values)}, expected one number per channel (RGB)")
        if min(self.std) <= 0:
            raise ValueError(f"pixels: found std {list(self.std)}, expected numbers above 0")
        return self

    def tensors(self) -> dict[str, Tensor]:
        """`mean` and `std`, (3, 1, 1) float32 each."""
        return {
            name: torch.tensor(values, dtype=torch.float32)[:, None, None] for name, values in self._asdict().items()
        }

    @classmethod
    def of(cls, mean: Tensor, std: Tensor) -> Pixels:
        """From tensors of three elements; of float32 the shortest decimals: 0.485, not 0.48500001430511475."""
        return cls(*(tuple(float(str(value)) for value in of.flatten().cpu().numpy()) for of in (mean, std)))

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in self)
        return f"mean {mean}, std {std}"


IMAGENET = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
