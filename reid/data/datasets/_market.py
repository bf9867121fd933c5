"""Reads any folder in Market-1501's form: the file's name begins `<pid>_c<camid>`, three folders make a set."""

from __future__ import annotations

import re
from pathlib import Path

from reid.data import records
from reid.data.records import Sample

JUNK, DISTRACTOR = -1, 0
PARTS = ("bounding_box_train", "query", "bounding_box_test")
TREE = "bounding_box_train/, query/ and bounding_box_test/ with pictures named <pid>_c<camid>..., as 0002_c1s1_000451_03.jpg"
# `\d+`: with one digit cameras 10 to 15 would all become camera 1.
_NAME = re.compile(r"(-?\d+)_c(\d+)")


def read(folder: Path) -> list[Sample]:
    """The pictures of one folder, sorted, without junk (pid -1); distractors (pid 0) included.

    Raises ValueError for a picture whose name has another form, FileNotFoundError where the folder is missing.
    """
    samples = []
    for path in records.images(folder):
        match = _NAME.match(path.name)
        if match is None:
            raise ValueError(f"{path}: found this name; expected <pid>_c<camid>..., as 0002_c1s1_000451_03.jpg")
        pid, camid = int(match[1]), int(match[2])
        if pid != JUNK:
            samples.append(Sample(str(path), pid, camid))
    return samples


def people(samples: list[Sample]) -> list[Sample]:
    """Without distractors, which are no identity and are neither trained on nor searched for."""
    return [sample for sample in samples if sample.pid != DISTRACTOR]


def split(root: Path) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """train, query and gallery of a set of three folders; distractors only in the gallery."""
    train, query, gallery = (read(root / part) for part in PARTS)
    return people(train), people(query), gallery


def count(train: list[Sample], query: list[Sample], gallery: list[Sample]) -> dict[str, int]:
    """What `records.check_counts` compares with the published numbers."""
    return {
        "train ids": len({sample.pid for sample in train}),
        "train images": len(train),
        "query ids": len({sample.pid for sample in query}),
        "query images": len(query),
        "gallery images": len(gallery),
    }
