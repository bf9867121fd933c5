"""What a data set is once it has been read: samples, trials, a card; and how pictures are found and read on disk.

Everything here is plain Python, so listing a data set imports neither torch nor OpenCV.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import os
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from reid import escape

LARGEST = 2**63 - 1  # of a pid or a camid
# Told of each folder that is listed, and of what the listing did not take: `passed_over.noticing`.
not_taken: ContextVar[Callable[[str, list[str]], None] | None] = ContextVar("not_taken", default=None)
IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
    ]
)


class Sample(NamedTuple):
    """One picture.

    path: where it lies; a member of an archive is `archive.zip/member`.
    pid: the identity number of its data set; never -1 (junk is not loaded).
    camid: the camera number of its data set, or None where the set has no cameras.
    """

    path: str
    pid: int
    camid: int | None


@dataclass(frozen=True)
class Trial:
    """One search to be scored. Without a gallery each query searches the other queries, itself excluded by index.

    together: of each query the pictures, itself among them, whose mean row searches in its stead for rows of results of their
        own: those of its track, or all of its person by its camera. Empty: none.
    """

    query: Sequence[Sample]
    gallery: Sequence[Sample] | None = None
    together: Sequence[Sequence[Sample]] = ()

    @property
    def sides(self) -> list[Sequence[Sample]]:
        """The lists of the search: queries, gallery, and what each query is together with."""
        return [self.query, self.gallery or (), *self.together]


@dataclass(frozen=True)
class Card:
    """What a person must know before using a set: who made it, under what terms, whether it is still offered.

    may_show: the terms are known, and let its pictures be shown to others."""

    title: str
    terms: str
    page: str
    status: str = "available"  # available | on request | gated | withdrawn
    notice: str = ""  # dated, for withdrawn sets
    may_show: bool = False


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data set as its file in `reid/data/datasets/` reads it.

    root: the folder all paths lie below; digests use paths relative to it.
    train: samples to train on. trials: searches to score; empty for a set that is only a source.
    metric: `reid` (CMC, mAP, mINP; junk rule) or `retrieval` (R@K, MAP@R, RP).
    variant: every choice that changes the lists (labelled or detected, with or without distractors, ...), by name;
        it becomes part of the protocol.
    notes: facts a reader of the results must see (a count that is off, a withdrawn set).
    held_out: a search among classes that are in no other list, by which a threshold for the unknown is chosen; see
        `reid.evaluation.open_set`.
    """

    name: str
    root: Path
    train: Sequence[Sample]
    trials: Sequence[Trial]
    card: Card
    metric: str = "reid"
    ks: tuple[int, ...] = (1, 2, 4, 8)
    variant: dict[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    held_out: Trial | None = None

    @property
    def searches(self) -> list[Trial]:
        """The trials and what is held out."""
        return [*self.trials, *([] if self.held_out is None else [self.held_out])]

    def __post_init__(self) -> None:
        if not self.name or {"/", os.sep} & set(self.name):
            raise ValueError(f"found a data set called {self.name!r}; expected a name that files can begin with")

        self._check()

    def _check(self) -> None:
        """Raises ValueError for a number that none can be, and for a picture that is of two people or twice in one list."""
        of: dict[str, int] = {}
        for trial in self.searches:
            alike = len(trial.together) == len(trial.query)
            if trial.together and not (alike and all(map(operator.contains, trial.together, trial.query))):
                raise ValueError(
                    f"{self.name}: found {len(trial.together)} groups of {len(trial.query)} queries; expected one for each, "
                    "with the query in it"
                )
        for samples in (self.train, *(side for trial in self.searches for side in trial.sides)):
            if len({sample.path for sample in samples}) < len(samples):
                path, number = Counter(sample.path for sample in samples).most_common(1)[0]
                raise ValueError(f"{path}: found {number} times in one list of {self.name}; expected each picture once")
            for path, pid, camid in samples:
                if not 0 <= pid <= LARGEST or not (camid is None or 0 <= camid <= LARGEST):
                    raise ValueError(
                        f"{path}: found the person {pid} and the camera {camid}; expected numbers of 0 to {LARGEST}"
                    )
                if of.setdefault(path, pid) != pid:
                    raise ValueError(
                        f"{path}: found as the persons {of[path]} and {pid}; expected one: correct the list"
                    )

    def __repr__(self) -> str:
        name = escape.line(self.name)
        parts = [summary(f"{name} train", self.train)] if self.train else [name]
        for trial in self.trials:
            gallery = "the rest" if trial.gallery is None else f"{len(trial.gallery):,}"
            parts.append(f"{len(trial.query):,} queries in {gallery}")
        return f"<{', '.join(parts)}>"


def summary(title: str, samples: Iterable[Sample]) -> str:
    """For the log: `market1501 train 751 ids 12,936 imgs 6 cams`."""
    samples = list(samples)
    pids = {sample.pid for sample in samples}
    camids = {sample.camid for sample in samples} - {None}
    cams = f" {len(camids)} cams" if camids else " no cams"
    return f"{title} {len(pids):,} ids {len(samples):,} imgs{cams}"


# ---- finding a set, and what lies in it


class Absent(FileNotFoundError):
    """Nothing of a data set lies below any root; a set of which a part is missing raises FileNotFoundError itself."""


def find(root: str | Path, candidates: Sequence[str], *, dataset: str, card: Card, tree: str) -> Path:
    """The first of `candidates` that exists below `root`, as an absolute path.

    Args:
        root: one folder, or several joined by `os.pathsep`, searched in order.
        candidates: relative folders, the likeliest first; `*` stands for any part of a name.
        tree: what the folder should hold, shown when nothing is found.
    Raises Absent naming every path tried, the tree expected and the page that offers the set.
    """
    bases = [Path(part).expanduser().absolute() for part in str(root).split(os.pathsep) if part]
    tried = [(base, candidate) for base in bases for candidate in candidates]
    for base, candidate in tried:
        matches = sorted(base.glob(candidate)) if "*" in candidate else [base / candidate]
        for path in matches:
            if path.exists():
                return path
    paths = ", ".join(str(base / candidate) for base, candidate in tried)
    raise Absent(
        f"{dataset}: found none of {paths}; expected {tree}. How to get it: {card.page} ({card.status}); "
        "or set DATASETS.ROOT to where it is"
    )


def images(folder: str | Path) -> list[Path]:
    """The pictures directly in `folder`, sorted by name; hidden files and what macOS leaves behind (`._x`) are not.

    Raises FileNotFoundError where the folder is missing.
    """
    return _listing(folder, lambda entry: is_image(entry.name))


def folders(folder: str | Path) -> list[Path]:
    """The folders directly in `folder`, sorted by name, hidden ones left out. Raises as `images`."""
    return _listing(folder, lambda entry: not entry.name.startswith((".", "__MACOSX")) and entry.is_dir())


def is_image(name: str) -> bool:
    """Whether a file's name is that of a picture to be read."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122


def _listing(folder, wanted) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: found no such folder; unpack the data set again, whole")
    names: list[str] = []
    others: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            (names if wanted(entry) else others).append(entry.name)
    names.sort()
    if tell := not_taken.get():
        tell(str(folder), others)
    for name in names:
        if any("\udc80" <= letter <= "\udcff" for letter in name):  # how Python spells a byte that it cannot decode
            raise ValueError(
                f"{folder}: found the name {os.fsencode(name)!r}, which is not UTF-8; expected one that is: rename it"
            )
    return [folder / name for name in names]


def below(root: str | Path, relative: str) -> Path:
    """`root / relative` for a path that was read from a list, a CSV file or an archive.

    Links that the disk's owner has laid are followed. Raises ValueError where the path would leave `root`.
    """
    posix = PurePosixPath(relative.replace("\\", "/"))
    if not relative or posix.is_absolute() or ".." in posix.parts or PureWindowsPath(relative).drive:
        raise ValueError(
            f"found the path {relative!r}; expected one that stays below {root}: correct the list it is in"
        )
    return Path(root) / posix


def members(archive: str | Path) -> list[str]:
    """The pictures in a zip file, sorted, as names inside it; hidden ones left out.

    Raises ValueError for a member that is a link or whose name leaves the archive.
    """
    names = []
    for info in _archive(str(archive), os.getpid()).infolist():
        below(archive, info.filename)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError(
                f"{archive}: found the link {info.filename!r}; expected plain files: do not use this archive"
            )
        hidden = any(part.startswith((".", "__MACOSX")) for part in info.filename.split("/"))
        if is_image(info.filename.rpartition("/")[2]) and not hidden:
            names.append(info.filename)
    return sorted(names)


# ---- reading


def read(path: str) -> bytes:
    """The bytes of a file, or of a member of an archive (`archive.zip/member`).

    Safe in forked processes and in threads. Raises FileNotFoundError, or ValueError for a damaged archive.
    """
    archive, dot_zip, member = path.partition(".zip/")
    if not dot_zip or not os.path.isfile(archive + ".zip"):  # noqa: PTH113, a Path costs 4 us per picture
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    try:
        # The process number is part of the key: after a fork two processes would move one file position.
        return _archive(archive + ".zip", os.getpid()).read(member)
    except KeyError:
        raise FileNotFoundError(f"{path}: found no such member in the archive") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: found a damaged archive ({error}); get it again") from error


@functools.lru_cache(maxsize=16)
def _archive(path: str, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


# ---- what a set must be


def digest(samples: Iterable[Sample], root: str | Path) -> str:
    """sha256 of the list: path relative to `root`, pid and camid of every sample, in order.

    Equal wherever the set lies. Raises ValueError for a sample outside `root`.
    """
    prefix = Path(root).as_posix().rstrip("/") + "/"
    sha = hashlib.sha256()
    for sample in samples:
        path = sample.path.replace(os.sep, "/")
        if not path.startswith(prefix):
            raise ValueError(f"found the sample {sample.path}; expected every sample below {root}")
        sha.update(f"{path[len(prefix) :]}\t{sample.pid}\t{sample.camid}\n".encode())
    return sha.hexdigest()


def check_counts(dataset: str, found: Mapping[str, int], expected: Mapping[str, int], strict: bool) -> tuple[str, ...]:
    """Compares what was found with what was published; both map a name such as `train images` to a number.

    Raises ValueError for any difference; with strict=False the same sentence is returned, for `Dataset.notes`.
    """
    off = [f"{found[what]:,} {what}, expected {n:,}" for what, n in expected.items() if found[what] != n]
    if not off:
        return ()
    line = f"{dataset}: found {'; found '.join(off)}"
    if strict:
        raise ValueError(
            f"{line}. The archive may be cut short or of another version: unpack it again, "
            "or pass DATASETS.CHECK_COUNTS False (check_counts=False)"
        )
    return (line,)


def refuse_withdrawn(dataset: str, card: Card, allow: bool) -> str:
    """Stops the use of a set that its makers have withdrawn, unless it is allowed explicitly.

    Returns the notice to be kept in `Dataset.notes`; empty for a set that is still offered. Raises ValueError.
    """
    if card.status != "withdrawn":
        return ""
    if not allow:
        raise ValueError(
            f"{dataset}: withdrawn by its makers. {card.notice} Leave it out; only to audit old numbers "
            "pass DATASETS.ALLOW_WITHDRAWN True"
        )
    return f"{dataset} is withdrawn: {card.notice}"
