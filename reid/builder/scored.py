"""What is scored, and what its rows say of it: a checkpoint, an export, or a method as it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from reid import checkpoint, shipped
from reid.builder import exported, objects
from reid.builder.scoring import notes_of
from reid.data import sources
from reid.methods import Method


@dataclass(frozen=True)
class Scored:
    """output: the folder of the rows, unless another is asked for. sources: of its protocol; None: none. trained_by: so many
    processes; 0: not known."""

    method: Method
    output: Path
    sources: list[dict[str, Any]] | None = None
    notes: list[str] = field(default_factory=list)
    trained_by: int = 0
    step: int = 0


def of_export(graphs: exported.Exported) -> Scored:
    training, folder = graphs.card["training"], graphs.folder
    output = folder.with_name(f"{folder.absolute().name}-test")
    return Scored(graphs, output, training["protocol"]["sources"], [], training.get("processes", 1), training["step"])


def untrained(cfg: CfgNode) -> Scored:
    source_sets = objects.datasets(cfg, cfg.DATASETS.SOURCES) if cfg.LOSSES else []
    train_set = sources.join(source_sets) if source_sets else None
    num_classes, num_samples = (train_set.num_classes, len(train_set)) if train_set else (0, 0)
    method = objects.method(cfg, num_classes=num_classes, num_samples=num_samples)
    return Scored(method, Path(cfg.OUTPUT_DIR, "test"), notes=notes_of(source_sets))


def of_checkpoint(cfg: CfgNode, content: dict[str, Any], path: str | Path) -> Scored:
    num_classes = sum(len(pids) for pids in content["label_map"].values())
    with checkpoint.opening(path):
        method = objects.method(cfg, num_classes=num_classes, num_samples=content["num_samples"], weights="none")
    checkpoint.load_state(method, checkpoint.weights(content, path, average=cfg.TEST.EMA), path)
    objects.check_pixels(cfg, method)
    output, step = shipped.place(path) / "test", content["progress"]["step"]
    return Scored(method, output, content["protocol"]["sources"], content["notes"], content["processes"], step)
