"""A study: rows of one table, each a recipe trained with several seeds, run side by side and resumed where they stopped.

Its file is YAML: SEEDS; optionally CONFIG (a recipe's path, from the file's own folder) and SET ({KEY: value}) for every row;
ROWS, {name: row}. A row may have a CONFIG and a SET of its own, which come after the common one; a row with OF trains
nothing: it scores the weights of the row it names, with its SET on top. A value of a SET may be a range (`space`), which
`search` narrows to one value on SEARCH: {FOLDS: K} parts of the training classes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from tqdm import tqdm

from reid import config, errors, escape, schema
from reid.builder import space
from reid.builder.space import Range
from reid.data import files

# This package, whatever else is installed or lies in the working folder, where `-m` would look first. It ends with its parent.
REID = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r}); "
    "from reid import errors; errors.end_with_stdin(); from reid.commands import main; main()"
)
POLL = 30  # seconds between two looks at a run that another process has in hand


class Row(TypedDict, total=False):
    CONFIG: str
    SET: dict[str, Any]
    OF: str


class Needed(TypedDict):
    SEEDS: list[int]
    ROWS: dict[Any, Any]  # a `Row` each


class Search(TypedDict, total=False):
    FOLDS: int


class Study(Needed, total=False):
    CONFIG: str
    SET: dict[str, Any]
    SEARCH: dict[str, Any]  # a `Search`


@dataclass(frozen=True)
class Job:
    """One run of one row: `words` follow `reid`; `done` is the file that exists once it is finished, beside its results."""

    row: str
    seed: int
    folder: Path
    words: tuple[str, ...]
    done: str
    trains: bool

    @property
    def finished(self) -> bool:
        results = self.folder / "results.jsonl"
        return (self.folder / self.done).exists() and results.exists() and results.stat().st_size > 0


@dataclass(frozen=True)
class Failure:
    """A run that ended otherwise than finished: the last line of what it said, and its status, see `errors.status`."""

    job: Job
    said: str
    status: int

    def __str__(self) -> str:
        return f"{self.job.row}, seed {self.job.seed}: {self.said}"


@dataclass(frozen=True)
class Line:
    """A row as it is to be run: `settings` (KEY VALUE ...) on top of `recipe`, or on the weights of the row `of`."""

    name: str
    folder: Path
    recipe: str
    settings: tuple[str, ...]
    of: str = ""
    space: dict[str, Range] = field(default_factory=dict)

    def train(self, folder: Path, seed: int, settings: Sequence[str] = ()) -> Job:
        """One training in `folder`, with `settings` on top. Raises ValueError for what is no config."""
        words = [*self.settings, *settings, "SEED", str(seed), "OUTPUT_DIR", str(folder)]
        config.load(self.recipe, words)
        words = ["train", "--config", self.recipe, "--resume", *words]
        return Job(self.name, seed, folder, tuple(words), "model_final.pth", trains=True)

    def score(self, folder: Path, seed: int, weights: Path) -> Job:
        words = ["test", "--weights", str(weights), "--output", str(folder), *self.settings, "TEST.CACHE", "False"]
        return Job(self.name, seed, folder, tuple(words), "results.jsonl", trains=False)


@dataclass(frozen=True)
class Table:
    """A study as read. Run folders are `root`, runs/ + the file's path below configs/, + row (+ what was searched) + seed."""

    path: str
    root: Path
    seeds: Sequence[int]
    folds: int
    lines: Sequence[Line]

    def jobs(self, found: Mapping[str, tuple[str, Sequence[str]]] | None = None) -> list[Job]:
        """Every run, in the order of the rows. found: {row: (folder below the row's own, settings)} of what was searched."""
        found = found or {}
        folders = {line.name: line.folder / found.get(line.of or line.name, ("", ()))[0] for line in self.lines}
        jobs = []
        for line in self.lines:
            for seed in self.seeds:
                folder = folders[line.name] / f"seed{seed}"
                if line.of:
                    jobs.append(line.score(folder, seed, folders[line.of] / f"seed{seed}" / "model_final.pth"))
                else:
                    jobs.append(line.train(folder, seed, found.get(line.name, ("", ()))[1]))
        return jobs


def load(path: str | Path, overrides: Sequence[str] = ()) -> list[Job]:
    """Every run of the study in `path`, in the order of its rows; `overrides` (KEY VALUE ...) go to each.

    Raises ValueError or FileNotFoundError for what is no study or no config, before anything runs.
    """
    table = read(path, overrides)
    for line in table.lines:
        if line.space:
            keys = ", ".join(line.space)
            raise ValueError(
                f"{path}: row {line.name} has a range for {keys}; expected --search N, the trials of each row"
            )
    return table.jobs()


def read(path: str | Path, overrides: Sequence[str] = ()) -> Table:
    """The study in `path`, ranges and all. Raises ValueError or FileNotFoundError."""
    file = config.find(path)
    study = _checked(config.mapping(file, str(path)), Study, str(path))
    for name in study["ROWS"]:
        if not isinstance(name, str) or name in ("", ".", "..") or {"/", os.sep, "\0"} & set(name):
            raise ValueError(
                f"{path}: found the row {name!r}; expected a text that can name a folder, without {os.sep}"
            )
    listed = study["ROWS"].items()
    rows = {name: _checked({} if row is None else row, Row, f"{path}: row {name}") for name, row in listed}
    folds = _checked(study.get("SEARCH", {}), Search, f"{path}: SEARCH").get("FOLDS", 4)
    if folds < 2:
        raise ValueError(f"{path}: SEARCH: FOLDS is {folds}; expected 2 or more")
    root = Path(config.default_output_dir(path))
    lines = []
    for name, row in rows.items():
        where = f"{path}: row {name}"
        if "OF" in row:
            trained = [other for other, content in rows.items() if "OF" not in content]
            if row["OF"] not in trained:
                told = escape.line(row["OF"])
                raise ValueError(f"{where} scores {told}, which trains nothing; there are {', '.join(trained)}")
            said = row.get("SET", {})
            ranged = [key for key, value in said.items() if space.is_range(value)]
            if ranged:
                raise ValueError(f"{where} has a range for {', '.join(ranged)} and trains nothing; expected one value")
            lines.append(
                Line(name, root / name, "", (*words({"TEST.REPORT": False, **said}), *overrides), of=row["OF"])
            )
            continue
        recipe = os.path.normpath(config.find(row.get("CONFIG", study.get("CONFIG", "")), file.parent))
        said = {**study.get("SET", {}), **row.get("SET", {})}
        ranges = {key: space.read(said[key], f"{where}: {key}") for key in said if space.is_range(said[key])}
        if twice := [key for key in ranges if key in overrides[::2]]:
            raise ValueError(
                f"{where} has a range for {twice[0]}, and so an override of it means nothing; leave one out"
            )
        fixed = {key: value for key, value in said.items() if key not in ranges}
        lines.append(
            Line(name, root / name, recipe, (*words({"TEST.REPORT": False, **fixed}), *overrides), space=ranges)
        )
    return Table(str(path), root, study["SEEDS"], folds, lines)


def run(jobs: Iterable[Job], *, side_by_side: int = 2, bar: bool = True) -> list[Failure]:
    """Runs what is not finished, `side_by_side` at a time on an equal share of the cores; trained rows before scored ones.

    Returns the failures; the others go on. A run that another process has in hand is left to it, and waited for in the end. Where
    this process is told to end, it tells the runs, which save.
    """
    failures: list[Failure] = []
    waiting = [job for job in jobs if not job.finished]
    threads = str(max(1, files.num_cores() // side_by_side))
    running: list[subprocess.Popen] = []
    with tqdm(total=len(waiting), unit=" runs", disable=not bar) as told, ThreadPoolExecutor(side_by_side) as pool:
        try:
            for trains in (True, False):
                some = [job for job in waiting if job.trains == trains]
                while some:
                    elsewhere = []
                    for job, failure in zip(some, pool.map(lambda job: _run(job, threads, running), some), strict=True):
                        if failure is not None and failure.status == errors.OCCUPIED:
                            elsewhere.append(job)
                            continue
                        failures += [failure] if failure else []
                        told.update()
                    some = elsewhere
                    time.sleep(POLL if some else 0)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            raise
    return failures


def _run(job: Job, threads: str, running: list[subprocess.Popen]) -> Failure | None:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-c", REID, *job.words]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        assert process.stderr is not None
        running.append(process)
        told = process.stderr.read()
        process.wait()  # before its standard input is closed, which would end it
        running.remove(process)
    if process.returncode == 0 and job.finished:
        return None
    said = told.strip().splitlines() or [f"ended with {process.returncode}"]
    return Failure(job, said[-1], process.returncode)


def words(values: Mapping[str, Any]) -> list[str]:
    return [word for key, value in values.items() for word in (key, str(value))]


def _checked(content: Any, hint: Any, where: str) -> Any:
    """`content`, if it is what the TypedDict `hint` says."""
    known = list(get_type_hints(hint))
    for key in content if isinstance(content, dict) else ():
        if key not in known:
            raise ValueError(f"{where}: no key {key}{config.nearest(str(key), known)}; there are {', '.join(known)}")
    try:
        schema.check(content, hint)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return content
