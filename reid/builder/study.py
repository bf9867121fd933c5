"""A study: rows of one table, each a recipe trained with several seeds, run side by side and resumed where they stopped.

Its file is YAML: SEEDS; optionally CONFIG (a recipe's path, from the file's own folder) and SET ({KEY: value}) for every row;
ROWS, {name: row}. A row may have a CONFIG and a SET of its own, which come after the common one; a row with OF trains
nothing: it scores the weights of the row it names, with its SET on top.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

from tqdm import tqdm

from reid import config, schema
from reid.data import files

# This package, whatever else is installed or lies in the working folder, where `-m` would look first.
REID = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r}); from reid.commands import main; main()"


class Row(TypedDict, total=False):
    CONFIG: str
    SET: dict[str, Any]
    OF: str


class Needed(TypedDict):
    SEEDS: list[int]
    ROWS: dict[Any, Any]  # a `Row` each


class Study(Needed, total=False):
    CONFIG: str
    SET: dict[str, Any]


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


def load(path: str | Path, overrides: Sequence[str] = ()) -> list[Job]:
    """Every run of the study in `path`, in the order of its rows; `overrides` (KEY VALUE ...) go to each.

    Run folders are runs/ + the file's path below configs/ + row + seed.
    Raises ValueError or FileNotFoundError for what is no study or no config, before anything runs.
    """
    file = config.find(path)
    study = _checked(config.mapping(file, str(path)), Study, str(path))
    for name in study["ROWS"]:
        if not isinstance(name, str) or name in ("", ".", "..") or {"/", os.sep, "\0"} & set(name):
            raise ValueError(
                f"{path}: found the row {name!r}; expected a text that can name a folder, without {os.sep}"
            )
    listed = study["ROWS"].items()
    rows = {name: _checked({} if row is None else row, Row, f"{path}: row {name}") for name, row in listed}
    root = Path(config.default_output_dir(path))
    jobs = []
    for name, row in rows.items():
        for seed in study["SEEDS"]:
            folder = root / name / f"seed{seed}"
            if "OF" in row:
                trained = [other for other, content in rows.items() if "OF" not in content]
                if row["OF"] not in trained:
                    raise ValueError(
                        f"{path}: row {name} scores {row['OF']}, which trains nothing; there are {', '.join(trained)}"
                    )
                weights = root / row["OF"] / f"seed{seed}" / "model_final.pth"
                words = ["test", "--weights", str(weights), "--output", str(folder)]
                words += ["TEST.REPORT", "False", *_words(row.get("SET", {})), *overrides, "TEST.CACHE", "False"]
            else:
                recipe = os.path.normpath(config.find(row.get("CONFIG", study.get("CONFIG", "")), file.parent))
                settings = _words({"TEST.REPORT": False, **study.get("SET", {}), **row.get("SET", {})})
                settings += overrides
                settings += ["SEED", str(seed), "OUTPUT_DIR", str(folder)]
                config.load(recipe, settings)
                words = ["train", "--config", recipe, "--resume", *settings]
            done = "results.jsonl" if "OF" in row else "model_final.pth"
            jobs.append(Job(name, seed, folder, tuple(words), done, trains="OF" not in row))
    return jobs


def run(jobs: Iterable[Job], *, side_by_side: int = 2) -> list[str]:
    """Runs what is not finished, `side_by_side` at a time on an equal share of the cores; trained rows before scored ones.

    Returns the failures, one line each; the others go on. Where this process is told to end, it tells the runs, which save.
    """
    failures: list[str] = []
    waiting = [job for job in jobs if not job.finished]
    threads = str(max(1, files.num_cores() // side_by_side))
    running: list[subprocess.Popen] = []
    with tqdm(total=len(waiting), unit=" runs") as bar, ThreadPoolExecutor(side_by_side) as pool:
        try:
            for trains in (True, False):
                some = [job for job in waiting if job.trains == trains]
                for failure in pool.map(lambda job: _run(job, threads, running), some):
                    failures += failure
                    bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            raise
    return failures


def _run(job: Job, threads: str, running: list[subprocess.Popen]) -> list[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-c", REID, *job.words]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        running.append(process)
        told = process.communicate()[1]
        running.remove(process)
    if process.returncode == 0 and job.finished:
        return []
    said = told.strip().splitlines() or [f"ended with {process.returncode}"]
    return [f"{job.row}, seed {job.seed}: {said[-1]}"]


def _words(values: dict[str, Any]) -> list[str]:
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
