"""What a data set is once it has been read: samples, trials, a card; and how pictures are found and read on disk.

Everything here is plain Python, so listing a data set imports neither torch nor OpenCV.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


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
    """One search to be scored. Without a gallery each query searches the other queries, itself excluded by index."""

    query: Sequence[Sample]
    gallery: Sequence[Sample] | None = None


@dataclass(frozen=True)
class Card:
    """What a person must know before using a set: who made it, under what terms, whether it is still offered."""

    title: str
    terms: str
    page: str
    status: str = "available"  # available | on request | gated | withdrawn
    notice: str = ""  # dated, for withdrawn sets


@dataclass(frozen=True)
class Dataset:
    """A data set as its file in `reid/data/datasets/` reads it.

    root: the folder all paths lie below; digests use paths relative to it.
    train: samples to train on. trials: searches to score; empty for a set that is only a source.
    metric: `reid` (CMC, mAP, mINP; junk rule) or `retrieval` (R@K, MAP@R, RP).
    variant: every choice that changes the lists (labelled or detected, with or without distractors, ...), by name;
        it becomes part of the protocol.
    notes: facts a reader of the results must see (a count that is off, a withdrawn set).
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
