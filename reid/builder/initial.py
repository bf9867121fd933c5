"""A run that starts from the encoder of another model: MODEL.INIT, `reid train --init MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from reid import checkpoint, config
from reid.builder import registry
from reid.models.encoder import Encoder

PICTURES = ("SIZE", "INTERPOLATION", "TEST_CROP")


def keys(path: str) -> dict[str, Any]:
    """{dotted key: value} by which a config has the encoder of the checkpoint `path`, takes its pictures and starts from it.

    Raises FileNotFoundError, or ValueError for what is no checkpoint.
    """
    own = config.parse(checkpoint.load(path)["config"])
    found = {f"INPUT.{key}": own.INPUT[key] for key in PICTURES}
    found |= {f"MODEL.BACKBONE.{key}": value for key, value in own.MODEL.BACKBONE.items()}
    found |= {f"MODEL.{key}": value for key, value in own.MODEL.items() if key != "BACKBONE"}
    return {**found, "MODEL.BACKBONE.WEIGHTS": "none", "MODEL.INIT": path}


def load(encoder: Encoder, path: str) -> None:
    """Puts the encoder of the checkpoint `path` into another, whole: backbone, reduction and neck.

    Raises FileNotFoundError, or ValueError naming what does not fit.
    """
    content = checkpoint.load(path)
    state = checkpoint.weights(content, path, average=config.parse(content["config"]).TEST.EMA)
    prefix = "encoder."
    own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    checkpoint.load_state(encoder, own, path)


def notes(cfg: CfgNode) -> list[str]:
    """What a run's checkpoint must say of the model that it starts from: what that one was trained on, and its terms."""
    if not cfg.MODEL.INIT:
        return []
    content = checkpoint.load(cfg.MODEL.INIT)
    cards = [
        registry.card(registry.entry(entry, "DATASETS.SOURCES")["NAME"])
        for entry in config.parse(content["config"]).DATASETS.SOURCES
    ]
    terms = "; ".join(dict.fromkeys(f"{card.title}: {card.terms}" for card in cards))
    return [f"starts from {Path(cfg.MODEL.INIT).name}, trained on {terms}", *content["notes"]]
