"""The demo: drawn pedestrians, a small encoder from scratch, domains never seen, an export, a picture of what it finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from reid import escape
from reid.builder import exports, objects, runs
from reid.builder.page import sheet
from reid.data.loader import read_image
from reid.data.records import Dataset
from reid.data.walkers.floor import pixels
from reid.evaluation import rank
from reid.evaluation.rank import Ids

LINE = "| {:16} | {:>18} | {:>18} | {:>18} |"


def run(cfg: CfgNode) -> list[dict[str, Any]]:
    """Trains as `cfg` says, or takes up what an earlier demo left; returns the trained encoder's rows."""
    folder = Path(cfg.OUTPUT_DIR)
    untrained = runs.score(cfg)
    trained = runs.train(cfg, resume=True) or runs.score(None, folder / "model_final.pth")
    exports.export(folder / "model_final.pth", folder / "export")
    targets = objects.targets(cfg)
    if cfg.TEST.REPORT:
        sheet.write(folder, folder / "ranked.png")
    print("\nRank-1 / mAP in percent, on drawn people of places never trained on:\n")
    print(LINE.format("place", "16x4 pixels", "untrained encoder", "trained encoder"))
    print(LINE.format("-" * 16, "-" * 17 + ":", "-" * 17 + ":", "-" * 17 + ":"))
    floors = [_floor(dataset) for dataset in targets]
    floors.append({key: sum(row[key] for row in floors) / len(floors) for key in ("R1", "mAP")})
    for name, floor in zip([*(dataset.name for dataset in targets), "mean"], floors, strict=True):
        cells = [floor, _row(untrained, name), _row(trained, name)]
        print(LINE.format(escape.line(name), *(f"{100 * cell['R1']:.1f} / {100 * cell['mAP']:.1f}" for cell in cells)))
    print(f"""
weights            {folder / "model_final.pth"}
model for others   {folder / "export"}  (model.onnx, card.md)
ranked results     {folder / "ranked.png"}  (query, then what it found; wrong ones are dashed)
results as a page  {folder / "run.html"}
log and results    {folder / "log.txt"}, {folder / "results.jsonl"}""")
    return trained


def _row(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (row for row in rows if row["dataset"] == name and row["kind"] != "trial")
    return found


def _floor(dataset: Dataset) -> dict[str, float]:
    """What the pictures' own pixels score: the row any encoder must beat."""
    (trial,) = dataset.trials
    assert trial.gallery is not None, "targets of the demo have galleries"
    query, gallery = (pixels(read_image(sample.path) for sample in side) for side in (trial.query, trial.gallery))
    scores = rank.score(query, gallery, Ids.of(trial.query), Ids.of(trial.gallery))
    return {"R1": float(scores.cmc[0]), "mAP": scores.mAP}
