"""Domain-generalization person re-identification: train on several labelled sources, score sets never seen."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Each is imported when it is first asked for, so that `import reid` costs nothing and an ONNX export is opened without torch.
if TYPE_CHECKING:
    from reid import losses as losses
    from reid.config import Overrides
    from reid.evaluation.rank import Ids as Ids
    from reid.evaluation.rank import score as score
    from reid.export.model import Model

__version__ = "0.1.0"
__all__ = ["Ids", "load", "losses", "score", "train"]


def load(path: str | os.PathLike, device: str = "auto") -> Model:
    """Opens a shipped model by its name, a checkpoint (.pth), the folder of an export or a graph in it, as a `reid.export.model.Model`.

    `embed(pictures) -> (N, D)` and `similarity(a, b) -> (len(a), len(b))`; pictures are paths or uint8 RGB arrays. `encoder`
    is a checkpoint's torch module.
    device: of a checkpoint: auto, cpu, cuda or cuda:N. An export runs on the CPU.
    Raises FileNotFoundError, or ValueError saying what does not fit.
    """
    name = os.fspath(path)
    if name.endswith(".pth") or name in importlib.import_module("reid.shipped").MODELS:
        return importlib.import_module("reid.builder.exports").load(path, device)
    return importlib.import_module("reid.export.model").load(path, device)


def train(
    config: str | os.PathLike | None = None,
    overrides: Overrides = (),
    *,
    init: str | os.PathLike | None = None,
    resume: bool = False,
) -> list[dict[str, Any]]:
    """Trains as the file `config` and the `overrides` on top of it say; returns the rows of the last scoring.

    config: a .yaml, `configs/...` of the package among them; None: the defaults of `reid.config`.
    overrides: {KEY: value}, such as {"SOLVER.LR": 1e-3, "LOSSES": ["softmax", "triplet"]}, or the words of a command line.
    init: a checkpoint or a shipped model whose encoder it starts from, with that one's MODEL and INPUT.SIZE.
    resume: go on from the last checkpoint in OUTPUT_DIR, exactly.
    Raises ValueError or OSError, in one line, for what cannot be run, before anything is written.
    """
    between = importlib.import_module("reid.builder.initial").keys(os.fspath(init)) if init is not None else None
    cfg = importlib.import_module("reid.config").load(config, overrides, between=between)
    return importlib.import_module("reid.builder.runs").train(cfg, resume=resume)


def __getattr__(name: str) -> Any:
    if name == "losses":
        return importlib.import_module("reid.losses")
    if name in ("Ids", "score"):
        return getattr(importlib.import_module("reid.evaluation.rank"), name)
    raise AttributeError(f"module 'reid' has no attribute {name!r}; it offers {', '.join(__all__)}")
