"""Domain-generalization person re-identification: train on several labelled sources, score sets never seen."""

import importlib
import os
from typing import Any

__version__ = "0.1.0"


def load(path: str | os.PathLike, device: str = "auto") -> Any:
    """Opens a checkpoint (.pth), the folder of an export or a graph in it, as a `reid.export.model.Model`.

    `embed(pictures) -> (N, D)` and `similarity(a, b) -> (len(a), len(b))`; pictures are paths or uint8 RGB arrays.
    device: of a checkpoint: auto, cpu, cuda or cuda:N. An export runs on the CPU.
    Raises FileNotFoundError, or ValueError saying what does not fit.
    """
    # By name and only now, so that `import reid` costs nothing and an ONNX export is opened without torch.
    if os.fspath(path).endswith(".pth"):
        return importlib.import_module("reid.builder.exports").load(path, device)
    return importlib.import_module("reid.export.model").load(path, device)
