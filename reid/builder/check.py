"""What is on disk of a data set: found, counted, every picture decoded. It imports no torch, so a quick look is quick."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from tqdm import tqdm
from yacs.config import CfgNode

from reid import escape
from reid.builder import registry
from reid.data import files, looks, overlap, pictures, records
from reid.data.records import Card, Dataset

WHOLE, BROKEN, ABSENT = "whole", "not whole", "absent"
FAISS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")  # builds that unpack into the folder `faiss`
CHUNK = 64  # pictures handed to a process at a time


@dataclass(frozen=True)
class Report:
    """What was found of one set. `str` gives all of it; `brief` one line, for a list of sets that may well be absent."""

    name: str
    state: str
    card: Card
    problems: tuple[str, ...] = ()
    dataset: Dataset | None = None
    num_pictures: int = 0
    decoded: bool = False

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.state}", *self.problems]
        if self.dataset is not None:
            how = "all decoded" if self.decoded else "their ends looked at, none decoded"
            options = ", ".join(f"{key} {value}" for key, value in self.dataset.variant.items())
            lines.append(f"{self.dataset!r}{f'; {options}' if options else ''}")
            lines.append(f"{self.num_pictures:,} pictures below {self.dataset.root}, {how}")
            told = "\n".join(self.problems)
            lines += [f"note: {note}" for note in self.dataset.notes if note not in told]
        lines.append(f"{self.card.title}; {self.card.status}: {self.card.page}; terms: {self.card.terms}")
        if self.card.notice:
            lines.append(self.card.notice)
        return "\n  ".join(map(escape.line, lines))

    def brief(self) -> str:
        return escape.line(f"{self.name}: {self.state}; {self.card.status}: {self.card.page}")


def known() -> list[str]:
    """Every set that can be read by its name alone; `folder` and its like need to be told more."""
    needed = inspect.Parameter.empty
    return [
        name
        for name in registry.names("data/datasets")
        if all(p.default is not needed for p in registry.options("data/datasets", name).values())
    ]


def check(cfg: CfgNode, entries: Sequence[str | dict[str, Any]], *, decode: bool = True) -> Iterator[Report]:
    """Looks at each of `entries`, which are written as in DATASETS.TARGETS, one after the other.

    decode: whether every picture is decoded, on all cores; otherwise only its first and last bytes are looked at.
    Raises ValueError, before anything is read, for an unknown name or option.
    """
    readers = [
        tuple(registry.dataset(cfg, entry, check_counts=strict) for strict in (True, False)) for entry in entries
    ]
    earlier: list[Report] = []
    seen: dict[str, looks.Look] = {}
    for entry, (strict, lenient) in zip(entries, readers, strict=True):
        earlier.append(_report(registry.entry(entry, "DATASETS")["NAME"], strict, lenient, decode, earlier, seen))
        yield earlier[-1]


def _report(
    name: str,
    strict: Callable[[], Dataset],
    lenient: Callable[[], Dataset],
    decode: bool,
    earlier: Sequence[Report],
    seen: dict[str, looks.Look],
) -> Report:
    """seen: the looks at all pictures of the sets before, to which this one's are added."""
    card = registry.card(name)
    problems = []
    try:
        dataset = strict()
    except records.Absent as error:
        return Report(name, ABSENT, card, (str(error),))
    except (ValueError, OSError, ImportError) as error:
        problems.append(str(error))
        try:  # where only the counts are off there is still a list of pictures to go through
            dataset = lenient()
        except (ValueError, OSError, ImportError):
            return Report(name, BROKEN, card, tuple(problems))
    found = looks.look(overlap.paths([dataset]))
    problems += looks.faults(found)
    if decode:
        problems += _undecodable([path for path, look in found.items() if not look.fault], name)
    before = [report.dataset for report in earlier if report.dataset is not None]
    seen |= found
    copies = looks.copies(seen)
    (source,), (target,) = overlap.noted([dataset], [dataset], copies)
    notes = dict.fromkeys((*source.notes, *target.notes, *overlap.shared(dataset, before, copies).notes))
    dataset = dataclasses.replace(dataset, notes=tuple(notes))
    return Report(name, BROKEN if problems else WHOLE, card, tuple(problems), dataset, len(found), decode)


# ---- decoding, in processes of their own


def _undecodable(paths: Sequence[str], title: str) -> list[str]:
    """Pictures that do not decode whole, each as one line `path: reason`."""
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    lines = []
    # Spawned, not forked: the bar has a thread of its own, and a fork beside threads may hang.
    spawn = multiprocessing.get_context("spawn")
    with (
        tqdm(total=len(paths), desc=escape.line(title), unit=" pictures", leave=False) as bar,
        ProcessPoolExecutor(min(files.num_cores(), len(chunks) or 1), spawn) as pool,
    ):
        for chunk, found in zip(chunks, pool.map(_decode, chunks), strict=True):
            lines += found
            bar.update(len(chunk))
    return lines


def _decode(paths: Sequence[str]) -> list[str]:
    return [f"{path}: {reason}" for path in paths if (reason := _damage(path))]


def _damage(path: str) -> str:
    """Why a picture does not decode whole; empty if it does."""
    try:
        image, said = pictures.hear(records.read(path))
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    if image is None:
        return f"cannot be decoded{f' ({said})' if said else ''}"
    return f"decodes with damage ({said})" if said else ""


def builds_of_faiss() -> str:
    """Names the builds of faiss that are installed where there are several; else empty."""
    found = []
    for name in FAISS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    if len(found) < 2:
        return ""
    names = " ".join(build.partition(" ")[0] for build in found)
    return (
        f"found {' and '.join(found)}, which lie in one folder, so that the files of one are the other's; expected one: "
        f"pip uninstall {names}, then install the one you want"
    )
