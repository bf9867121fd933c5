"""From a finished run to a model that comes with the package: see `reid.shipped`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from reid import checkpoint, config, shipped
from reid.evaluation import report
from reid.evaluation.summary import last_scoring
from reid.export.card import sha256

OF_A_MACHINE = ("OUTPUT_DIR", "DATASETS.ROOT", "DATASETS.WALKERS_ROOT", "DEVICE")


def ship(run: str | Path, name: str) -> tuple[Path, str]:
    """Writes the `model_final.pth` of a run as `name` into the package; returns the file, and its sha256 for `shipped.MODELS`.

    Losses and their classes stay behind, and matrices are kept in half precision; the average of weights, where one was scored, stands in for the last ones; paths of
    this machine become the defaults; the rows of the last scoring go with it, for the card of an export.
    Raises FileNotFoundError, or ValueError for a run that was not scored.
    """
    path = Path(run) / "model_final.pth"
    content = checkpoint.load(path)
    cfg = config.parse(content["config"])
    rows = list(last_scoring(report.read(Path(run) / "results.jsonl"), "target"))
    standard = config.load()
    elsewhere: dict[str, Any] = {key: config.values(standard, [key])[key] for key in OF_A_MACHINE}
    state = checkpoint.weights(content, path, average=cfg.TEST.EMA)
    content["model"] = {key: _half(value) for key, value in state.items() if not key.startswith("losses.")}
    content["label_map"] = {}
    content.pop("average", None)
    elsewhere |= {"TEST.EMA": False, "LOSSES": []}
    content["config"] = config.dump(config.parse(content["config"], elsewhere))
    content["results"] = [row for row in rows if row["kind"] in ("dataset", "mean")]
    file = shipped.FOLDER / f"{name}.pth"
    checkpoint.save(file, content)
    return file, sha256(file)


def _half(value: object) -> object:
    """Of what is trained only matrices: statistics and scales have a range that half precision does not."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 1:
        return value.half()
    return value
