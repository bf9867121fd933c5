"""Sets whose training and test halves number their people separately: number 7 is one person here, another there.

They have no distractors, so 0 is a person like any other; but scoring takes pid 0 for Market-1501's distractors, which
match nothing. Both are settled by a start for each half: pid 10_007 is number 7 of the training half, 20_007 of the test
half.
"""

from __future__ import annotations

from pathlib import Path

from reid.data.datasets import _market
from reid.data.records import Sample

TRAIN, TEST = 10_000, 20_000


def split(root: Path) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """train, query and gallery of a set that was repacked into Market-1501's three folders."""
    train, query, gallery = (_market.read(root / part) for part in _market.PARTS)
    return _shifted(train, TRAIN), _shifted(query, TEST), _shifted(gallery, TEST)


def _shifted(samples: list[Sample], start: int) -> list[Sample]:
    high = [sample for sample in samples if sample.pid >= TRAIN]
    if high:
        raise ValueError(f"{high[0].path}: found the person {high[0].pid}; expected a number below {TRAIN}")
    return [Sample(path, start + pid, camid) for path, pid, camid in samples]
