"""The scoring of a run: a method in its present state on the sets of a config, row by row into `results.jsonl`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from yacs.config import CfgNode

from reid import runtime
from reid.builder import objects, page, registry
from reid.data.records import Dataset
from reid.evaluation import kept, protocol, report
from reid.evaluation.evaluate import check_method, check_targets, evaluate
from reid.evaluation.kept.form import Kept
from reid.methods import Method
from reid.run_folder import RunFolder

Rows = list[dict[str, Any]]


class Scorer:
    """Scores a method in its present state; called with the step, as the trainer does at the end of some epochs."""

    def __init__(
        self,
        cfg: CfgNode,
        method: Method,
        targets: list[Dataset],
        validation: list[Dataset],
        run: RunFolder,
        rules: dict[str, Any],
        source_notes: list[str],
        device: torch.device,
        trained_by: int,  # processes; 0: not known, or not trained
        keep: bool,
    ):
        self.method, self.run, self.targets, self.validation = method, run, targets, validation
        self.rules, self.source_notes, self.trained_by = rules, source_notes, trained_by
        self.selection, self.keeps_page = cfg.TEST.SELECT, cfg.TEST.REPORT
        self.last_step: int | None = None  # of a training: its page is of that scoring alone
        self.rows: Rows = []
        self.rows_say: dict[str, Any] = {}  # of what is scored, besides
        extras: dict[str, Any] = {
            "rerank": cfg.TEST.RERANK,
            "query_expansion": cfg.TEST.QUERY_EXPANSION,
            "clustering": cfg.TEST.CLUSTERING,
            "open_set": cfg.TEST.OPEN_SET,
        }
        check_method(method, [*targets, *validation], **extras)
        check_targets([*targets, *validation], {}, open_set=bool(cfg.TEST.OPEN_SET))
        self.evaluate: Callable[..., Rows] = partial(
            evaluate,
            method,
            transform=objects.test_transform(cfg),
            batch_size=cfg.TEST.BATCH_SIZE,
            workers=cfg.DATALOADER.WORKERS,
            device=device,
            protocol=rules,
            seed=cfg.SEED,
            selection=cfg.TEST.SELECT,
            bootstrap=cfg.TEST.BOOTSTRAP,
            starts=cfg.TEST.CLUSTERING_STARTS,
            **extras,
            cache=run / "embeddings" if keep else None,
        )

    def __call__(self, step: int) -> float | None:
        """Returns what checkpoints are chosen by, None where the last one is the result.

        Scores the targets, unless held-out identities choose: then the targets are looked at once, after the choice.
        """
        if self.selection == "source_val":
            score = _mean(self._score(self.validation, step, role={d.name: "source" for d in self.validation}))
            runtime.log.info("step %d: %.1f on what was held out", step, 100 * score)
            return score
        self.score_targets(step)
        return _mean(self.rows) if self.selection == "oracle" else None

    def score_targets(self, step: int) -> None:
        sets: list[Kept] = []
        final = self.last_step in (None, step) or self.selection != "last"
        observe = (
            (lambda *what: sets.append(kept.look(*what))) if self.keeps_page and final and self.run.writes else None
        )
        self.rows = self._score(self.targets, step, observe=observe)
        if observe:
            page.keep(self.run.path, self.rows, sets)
        runtime.log.info("step %d\n%s", step, report.table(self.rows))

    def _score(self, datasets: list[Dataset], step: int, **options: Any) -> Rows:
        """The rows, each with the notes of the data behind it; the means also with the protocol in words."""
        rows = self.evaluate(datasets, step=step, **options)
        notes = {dataset.name: [*self.source_notes, *dataset.notes] for dataset in datasets}
        notes["mean"] = [*self.source_notes, *notes_of(datasets)]
        for row in rows:
            row |= {"processes": self.trained_by, **self.rows_say}
            if notes[row["dataset"]]:
                row["notes"] = notes[row["dataset"]]
            if row["kind"] == "mean":
                row["protocol"] = protocol.readable(self.rules)
        self.run.append("results.jsonl", rows)
        return rows


def _mean(rows: Rows) -> float:
    """The mean over data sets of mAP, or of MAP@R where a set is scored as retrieval."""
    values = [float(row["mAP"] if "mAP" in row else row["MAP@R"]) for row in rows if row["kind"] == "dataset"]
    return sum(values) / len(values)


def notes_of(datasets: Sequence[Dataset]) -> list[str]:
    return [note for dataset in datasets for note in dataset.notes]


def rules_of(cfg: CfgNode, source_sets: Sequence[Dataset], targets: Sequence[Dataset]) -> dict[str, Any]:
    """The protocol, with whatever TEST.FROZEN adds to it."""
    about = {"flip": cfg.TEST.FLIP, "selection": cfg.TEST.SELECT}
    return protocol.describe(source_sets, targets, **about, **registry.frozen(cfg))
