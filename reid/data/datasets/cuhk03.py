"""CUHK03: five pairs of cameras, 1,467 people, each seen by the two views of one pair; boxes by a detector or by hand.

Counts: detected 14,097 images, of which train 7,365, query 1,400, gallery 5,332; labelled 14,096, of which train 7,368,
query 1,400, gallery 5,328; train 767 ids, query 700 ids.
Quirks: labelled boxes are easier than detected ones, so BOXES says which.
PROTOCOL new is the split of Zhong et al. (CVPR 2017) into 767 and 700 people. PROTOCOL classic is the release's own 20
splits into 1,367 and 100 people. As the test people of one classic split are trained on in the others, SPLIT 0 gives the 20
trials and nothing to train on; SPLIT 1 to 20 gives that split's training people and its one trial. Classic galleries are
single-shot: one picture per person, from view 2. No list says which; here it is picture number (split modulo how many there
are), so that it changes from split to split and never from run to run.
The cameras are the two views, numbered 1 and 2 in every pair. The repacked form has new numbers for the people of both
halves; see `_halves`. In the other pid 20_017 is number 17 of camera pair 2.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from reid.data import records
from reid.data.datasets import _halves, _market
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card(
    title="CUHK03 (Li et al.: DeepReID: deep filter pairing neural network for person re-identification, CVPR 2014)",
    terms="given on request by its makers, under the terms they set",
    page="http://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    status="on request",
)
BOXES = {"detected": "detected", "labelled": "labeled"}  # -> as it is written on disk
PROTOCOLS = ("new", "classic")
COUNTS = {
    "detected": {"train images": 7_365, "query images": 1_400, "gallery images": 5_332},
    "labelled": {"train images": 7_368, "query images": 1_400, "gallery images": 5_328},
}
COUNTS_NEW = {"train ids": 767, "query ids": 700}
SPLITS, TEST_IDS = 20, 100
COUNTS_ALL = {
    "detected": {"ids": 1_467, "images": 14_097},
    "labelled": {"ids": 1_467, "images": 14_096},
}
TREE = (
    "cuhk03-np/{detected,labeled}/ in Market-1501's form; or cuhk03/ with images_{detected,labeled}/ (pictures named "
    "<pair>_<person>_<view>_<picture>.png, as 1_001_1_01.png; `reid convert cuhk03` takes them out of "
    "cuhk03_release/cuhk-03.mat), cuhk03_new_protocol_config_{detected,labeled}.mat for the new protocol and cuhk03_release/cuhk-03.mat for the "
    "classic one"
)
_NAME = re.compile(r"([1-5])_(\d{1,4})_([12])_\d+")


def load(
    root: str | Path,
    *,
    check_counts: bool = True,
    boxes: str = "detected",
    protocol: str = "new",
    split: int = 0,
    all: bool = False,
) -> Dataset:
    """Reads the set.

    Args:
        boxes: detected or labelled.
        protocol: new (767 and 700 people) or classic (1,367 and 100, from the extracted pictures only).
        split: of the classic protocol; 0 for all 20 trials without a training part, 1 to 20 for one of them with its own.
        all: all 1,467 people are trained on, whatever the protocol, and nothing is left to score.
    Raises FileNotFoundError where the set, a list or a listed picture is missing; ValueError where an option is unknown or
    the set differs from what was published; ImportError where the classic protocol is wanted and h5py is not installed.
    """
    _check_options(boxes, protocol, split)
    on_disk = BOXES[boxes]
    candidates = [f"cuhk03/images_{on_disk}", f"CUHK03/images_{on_disk}"]
    if protocol == "new" or all:
        # First, as this form has its split in it.
        candidates = [f"cuhk03-np/{on_disk}", f"CUHK03-NP/{on_disk}", f"cuhk03/cuhk03-np/{on_disk}", *candidates]
    folder = records.find(root, candidates, dataset="cuhk03", card=CARD, tree=TREE)
    repacked = folder.name == on_disk
    if all:
        samples = [s for part in _halves.split(folder) for s in part] if repacked else list(_extracted(folder).values())
        found = {"ids": len({sample.pid for sample in samples}), "images": len(samples)}
        notes = records.check_counts(f"cuhk03, {boxes}", found, COUNTS_ALL[boxes], check_counts)
        return Dataset("cuhk03", folder, samples, [], CARD, variant={"boxes": boxes, "all": True}, notes=notes)
    if protocol == "classic":
        return _classic(folder, boxes, split, check_counts)
    train, query, gallery = _halves.split(folder) if repacked else _new(folder, on_disk)
    found = _market.count(train, query, gallery)
    notes = records.check_counts(f"cuhk03, {boxes}", found, COUNTS[boxes] | COUNTS_NEW, check_counts)
    variant = {"boxes": boxes, "protocol": "new", "all": False}
    return Dataset("cuhk03", folder, train, [Trial(query, gallery)], CARD, variant=variant, notes=notes)


def _check_options(boxes: str, protocol: str, split: int) -> None:
    if boxes not in BOXES:
        raise ValueError(f"cuhk03: found BOXES {boxes!r}; expected {' or '.join(BOXES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"cuhk03: found PROTOCOL {protocol!r}; expected {' or '.join(PROTOCOLS)}")
    if split < 0 or (split and protocol == "new"):
        raise ValueError(f"cuhk03: found SPLIT {split} with PROTOCOL {protocol}; expected 0, or 1 to 20 with classic")


def _extracted(folder: Path) -> dict[str, Sample]:
    """Name without suffix -> sample, sorted; the published lists say .png whatever the pictures were extracted to."""
    samples = {}
    for path in records.images(folder):
        match = _NAME.fullmatch(path.stem)
        if match is None:
            raise ValueError(
                f"{path}: found this name; expected <pair>_<person>_<view>_<picture>.png, as 1_001_1_01.png"
            )
        samples[path.stem] = Sample(str(path), int(match[1]) * 10_000 + int(match[2]), int(match[3]))
    return samples


def _new(folder: Path, on_disk: str) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """train, query and gallery as the lists of Zhong et al. have them."""
    import scipy.io  # takes 0.2 s, for this form only

    file = folder.parent / f"cuhk03_new_protocol_config_{on_disk}.mat"
    if not file.is_file():
        raise FileNotFoundError(
            f"cuhk03: found no {file}; expected it beside {folder.name}/: "
            "get it from https://github.com/zhunzhong07/person-re-ranking, or set PROTOCOL classic"
        )
    try:
        config = scipy.io.loadmat(file)
        names = [Path(str(cell[0])).stem for cell in config["filelist"].ravel()]
        parts = [[names[i - 1] for i in config[f"{part}_idx"].ravel()] for part in ("train", "query", "gallery")]
    except Exception as error:  # a damaged file makes scipy raise anything from TypeError to zlib.error
        raise ValueError(f"{file}: found no lists that can be read ({error!r}); get the file again") from error
    samples = _extracted(folder)
    missing = [name for part in parts for name in part if name not in samples]
    if missing:
        raise FileNotFoundError(
            f"{file}: found {len(missing):,} of its {sum(map(len, parts)):,} pictures missing in {folder}, the first "
            f"{missing[0]}; expected all of them: extract the pictures again"
        )
    train, query, gallery = ([samples[name] for name in sorted(part)] for part in parts)
    return train, query, gallery


def _classic(folder: Path, boxes: str, split: int, strict: bool) -> Dataset:
    samples = list(_extracted(folder).values())
    testsets = _testsets(folder.parent / "cuhk03_release" / "cuhk-03.mat")
    pids = {sample.pid for sample in samples}
    found = {"ids": len(pids), "images": len(samples), "splits": len(testsets)}
    found |= {f"test ids of split {number}": len(people & pids) for number, people in enumerate(testsets, start=1)}
    expected = dict.fromkeys(found, TEST_IDS) | COUNTS_ALL[boxes] | {"splits": SPLITS}
    notes = records.check_counts(f"cuhk03, {boxes}", found, expected, strict)
    if split > len(testsets):
        raise ValueError(f"cuhk03: found SPLIT {split}; expected 0 to {len(testsets)}")
    numbers = [split] if split else range(1, len(testsets) + 1)
    trials = [_trial(samples, testsets[number - 1], number) for number in numbers]
    train = [sample for sample in samples if sample.pid not in testsets[split - 1]] if split else []
    variant = {"boxes": boxes, "protocol": "classic", "split": split, "all": False}
    return Dataset("cuhk03", folder, train, trials, CARD, variant=variant, notes=notes)


def _testsets(file: Path) -> list[set[int]]:
    """The people (pids) of each published test set."""
    if not file.is_file():
        raise FileNotFoundError(
            f"cuhk03: found no {file}; expected it, as it holds the test sets of the classic protocol"
        )
    try:
        import h5py  # optional, for this form only
    except ImportError as error:
        raise ImportError("cuhk03: the classic protocol needs h5py: pip install h5py") from error
    with h5py.File(file, "r") as mat:
        tables = [mat[reference][()].T for reference in mat["testsets"][()].ravel()]  # (people, 2): pair, person
    return [{int(pair) * 10_000 + int(person) for pair, person in table} for table in tables]


def _trial(samples: Iterable[Sample], people: set[int], number: int) -> Trial:
    """View 1 of the test people searched for in one picture of each in view 2."""
    query = []
    views: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.pid in people and sample.camid == 1:
            query.append(sample)
        elif sample.pid in people:
            views[sample.pid].append(sample)
    return Trial(query, [pictures[number % len(pictures)] for _, pictures in sorted(views.items())])
