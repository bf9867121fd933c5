"""An export in a method's place, so that it is scored as its checkpoint is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from reid.export import card as cards
from reid.export import model as models
from reid.export import runners
from reid.methods import Method


def is_one(path: str | Path) -> bool:
    """Whether `path` is an export, or a graph of one, and no checkpoint."""
    return Path(path).is_dir() or Path(path).suffix in [form.suffix for form in runners.FORMATS.values()]


class Exported(Method):
    """The sides of an export on the CPU; it cannot be trained, and has no encoder that could be looked into.

    Raises FileNotFoundError or ValueError as `reid.export.model.load`.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.folder = Path(path) if Path(path).is_dir() else Path(path).parent
        self.card = cards.read(self.folder)
        self.model = models.load(path)
        self.encoder = nn.Identity()
        self.asymmetric = self.model.asymmetric
        self.told = f"{self.model!r}, {self.model.identity()['sha256']}"  # kept embeddings are told apart by it

    def __repr__(self) -> str:
        return repr(self.model)

    def encode_query(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.model.sides["query"](images.numpy()))

    def encode_gallery(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.model.sides["gallery"](images.numpy()))

    def config(self, cfg: CfgNode) -> CfgNode:
        """`cfg` with pictures as the card wants them, on the CPU. Raises ValueError for another device."""
        if cfg.DEVICE not in ("auto", "cpu"):
            raise ValueError(f"DEVICE: found {cfg.DEVICE}; an export runs on the CPU: leave it out")
        found, inputs = cfg.clone(), self.card["input"]
        found.defrost()
        found.DEVICE = "cpu"
        found.INPUT.SIZE, found.INPUT.INTERPOLATION = list(inputs["size"]), inputs["interpolation"]
        found.INPUT.TEST_CROP, found.TEST.FLIP = float(inputs["crop"]), self.card["output"]["flip"]
        found.freeze()
        return found

    def rows_say(self) -> dict[str, Any]:
        """What every row of its results says besides: the precision where it is not float32."""
        return {"precision": self.card["precision"]["name"]} if "precision" in self.card else {}
