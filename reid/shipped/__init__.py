"""The models that come with the package, by name: `reid.load("walkers-tiny")`. docs/models.md says what each is.

A file here is a checkpoint like any other, without its losses and with its matrices in half precision;
`reid ship` makes it from a run. A name stands wherever the path of a checkpoint does.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

MODELS = {  # name -> sha256 of the file
    "walkers-tiny": "f691e2b11c2c241bbfbb37b0dfa37bd6143f844945b62dcd44f57a86c043ebbc",
}
FOLDER = Path(__file__).parent


def find(path: str | os.PathLike) -> Path:
    """The file of a model of MODELS, whose digest is checked; any other path as it is.

    Raises ValueError where the file is another than the one that was shipped.
    """
    name = os.fspath(path)
    if name not in MODELS:
        return Path(path)
    file = FOLDER / f"{name}.pth"
    found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no such file"
    if found != MODELS[name]:
        raise ValueError(
            f"the shipped model {name}: found {found[:16]} at {file}; expected the sha256 {MODELS[name][:16]}: install the package again"
        )
    return file


def place(path: str | os.PathLike) -> Path:
    """Where what is made of a checkpoint goes: beside it, or for a model of MODELS into runs/<its name>."""
    file = find(path)
    return Path("runs", file.stem) if file.parent == FOLDER else file.parent


def known() -> str:
    """For the answer to a path that leads nowhere."""
    return f"or one of the shipped models: {', '.join(MODELS)}"
