"""Reads the split files that are kept in `reid/data/splits/`, beside the script that made them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

SPLITS = Path(__file__).parents[1] / "splits"


def read(name: str) -> tuple[list, str]:
    """(the ten draws of `<name>.json`, the first 8 digits of the file's sha256, which belong into the variant)."""
    # As text: a checkout may have turned the line ends, which changes no split.
    text = (SPLITS / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(text)["test"], short_hash(text)


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
