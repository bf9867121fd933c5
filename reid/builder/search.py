"""An equal search for every row of a study: N trials each on class-disjoint folds of the study's own training classes.

Trials live in Optuna's storage, so any number of processes that run the same command on it share one search. A trial trains
once a fold, with that fold of the classes kept apart (TEST.FOLD) and no targets; its value is the mean of what source_val goes
by, mAP or MAP@R. The targets are scored by the final runs alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from reid import checkpoint, config, errors, runtime
from reid.builder import recipes, refusals, study, trials
from reid.builder.study import Job, Line, Table
from reid.builder.trials import Trials
from reid.evaluation import tables
from reid.evaluation.protocol import fingerprint

POLL = 5  # seconds between two looks at what other processes do
WORST = 0.0  # of mAP and of MAP@R


@dataclass(frozen=True)
class Found:
    """What a search has found for a row: the best of its trials, the first where several are."""

    tag: str  # name of the folder below the row's own
    options: Mapping[str, Any]
    value: float
    failed: int  # trials that gave nothing: their options were refused, or diverged

    @property
    def settings(self) -> list[str]:
        return study.words(self.options)


def check(table: Table) -> None:
    """Raises ValueError for a study without ranges, and where an option does not take all that its range holds."""
    if not any(line.space for line in table.lines):
        raise ValueError(
            f"{table.path}: found no range in any row, so there is nothing to search; expected one, such as "
            "SOLVER.LR: {low: 1e-5, high: 1e-2, log: true}, or the command without --search"
        )
    for line in table.lines:
        for key, wanted in line.space.items():
            where = f"{table.path}: row {line.name}: {key}"
            for value in wanted.probes():
                try:
                    cfg = config.load(line.recipe, [*line.settings, key, str(value)])
                    refusals.check_options(cfg)
                except ValueError as error:
                    raise ValueError(f"{where}: {wanted}: {error}") from None
            if frozen := [each for each in cfg.TEST.FROZEN if key == each or key.startswith(f"{each}.")]:
                raise ValueError(
                    f"{where} is searched and part of the protocol (TEST.FROZEN has {frozen[0]}), so rows could share no "
                    "table; take it out of TEST.FROZEN"
                )
            if cfg.TEST.SELECT == "oracle":
                raise ValueError(f"{where} is searched, and TEST.SELECT oracle peeks at the targets; expected another")


def run(
    table: Table, num_trials: int, storage: str = "", *, side_by_side: int = 2, begin: bool = True
) -> dict[str, Found]:
    """Takes part in the search until each row has `num_trials` finished trials; all who take part get the same answer.

    storage: URL of a database; empty: an SQLite file in the study's folder. begin: False looks only at what is finished.
    Raises ValueError for what `check` refuses and for a row none of whose trials gave a value; OSError for a storage that
    cannot be reached; whatever else ends a trial that is not its options' fault.
    """
    check(table)
    if not storage:
        table.root.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{table.root / 'search.db'}"
    with trials.opened(storage) as kept:
        rows = [_Row(table, line, kept, num_trials, side_by_side) for line in table.lines if line.space]
        while begin and (left := [row for row in rows if not row.trials.done]):
            able = next((row for row in left if row.trials.look_for_room()), None)
            if able is None:
                time.sleep(POLL)
            else:
                able.take_one()
        return {row.line.name: row.best() for row in rows if row.trials.done}


def table(
    of: Table, jobs: Sequence[Job], found: Mapping[str, Found], num_trials: int, role: str, metrics: Sequence[str]
) -> tables.Table:
    """What is finished of `jobs` as a table with each row's trials and best options; it says the search's fingerprint."""
    told = {line.name: ["0", "-", "as written"] for line in of.lines}
    for name, each in found.items():
        failed = f" ({each.failed} failed)" if each.failed else ""
        told[name] = [f"{num_trials}{failed}", f"{100 * each.value:.1f}", _readable(each.options)]
    made = []
    for line in of.lines:
        if folders := [job.folder for job in jobs if job.row == line.name and job.finished]:
            made.append(replace(recipes.read(folders, role)[0], name=line.name))
    plain = tables.table(made, metrics=metrics)
    of_line = {line.name: told[line.of or line.name] for line in of.lines}
    lines = [[*cells, *of_line[recipe.name]] for cells, recipe in zip(plain.lines, made, strict=True)]
    said = (
        f"search {fingerprint({name: each.tag for name, each in found.items()})}: {num_trials} trials per row on {of.folds} "
        "class-disjoint folds of the training classes; held out: the mean over the folds, by which the options were chosen"
    )
    return tables.Table([*plain.head, "Trials", "Held out", "Best options"], lines, [*plain.footer, said])


def _readable(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {f'{value:.4g}' if isinstance(value, float) else value}" for key, value in options.items())


# ---- one row


class _Row:
    """The search of one row, as this process takes part in it."""

    def __init__(self, table: Table, line: Line, storage: Any, num: int, side_by_side: int):
        self.table, self.line, self.side_by_side = table, line, side_by_side
        cfg = config.load(line.recipe, [*line.settings, "SEED", str(table.seeds[0])])
        self.ends_last = cfg.TEST.SELECT == "last"
        self.tag = _tag(table, line, cfg, num)
        self.folder = line.folder / self.tag
        self.trials = Trials(storage, self.folder.as_posix(), table.seeds[0], num)

    def take_one(self) -> None:
        if folder := self.trials.take_one(self._try):
            for path in (self.folder / folder).rglob("model_*.pth"):
                path.unlink()  # they were only needed to go on with

    def _try(self, trial: Any, folder: str) -> float:
        options = {key: wanted.suggest(trial, key) for key, wanted in self.line.space.items()}
        jobs = [self._job(self.folder / folder, fold, options) for fold in range(self.table.folds)]
        failures = study.run(jobs, side_by_side=self.side_by_side, bar=False)
        told = f"{self.line.name}, trial {trial.number} ({_readable(options)})"
        others = [failure for failure in failures if failure.status != errors.OF_OPTIONS]
        if others:
            raise ValueError(f"{told}: {others[0].said.removeprefix('error: ')}")
        if failures:
            runtime.log.warning("%s counts as the worst: %s", told, failures[0].said)
            trial.set_user_attr("failed", failures[0].said)
            return WORST
        value = sum(_score(job.folder) for job in jobs) / len(jobs)
        runtime.log.info("%s: %.1f held out", told, 100 * value)
        return value

    def _job(self, folder: Path, fold: int, options: Mapping[str, Any]) -> Job:
        apart: dict[str, Any] = {
            "DATASETS.TARGETS": [],
            "TEST.SELECT": "source_val",
            "TEST.FOLD": [fold, self.table.folds],
        }
        # Where the final runs keep the last weights, a trial is judged by its last too.
        apart |= {"TEST.EVERY": 0} if self.ends_last else {}
        return self.line.train(folder / f"fold{fold}", self.table.seeds[0], study.words({**options, **apart}))

    def best(self) -> Found:
        finished = self.trials.finished
        failed = [trial.user_attrs["failed"] for trial in finished if "failed" in trial.user_attrs]
        if len(failed) == len(finished):
            raise ValueError(f"{self.line.name}: none of {len(failed)} trials gave a value; the first: {failed[0]}")
        best = max(finished, key=lambda trial: (trial.value, -trial.number))
        return Found(self.tag, {key: best.params[key] for key in self.line.space}, best.value, len(failed))


def _score(folder: Path) -> float:
    """What the weights of a run were chosen by."""
    return checkpoint.load(folder / "model_best.pth")["progress"]["best"]


def _tag(table: Table, line: Line, cfg: CfgNode, num: int) -> str:
    """The folder of a search, named after all that decides what it chooses: the config, the space, the folds, the trials."""
    said = {key: value for key, (_, value) in config.differences(config.defaults(), cfg).items()}
    space = {key: vars(wanted) for key, wanted in line.space.items()}
    return f"search-{fingerprint({'config': said, 'space': space, 'folds': table.folds, 'trials': num})}"
