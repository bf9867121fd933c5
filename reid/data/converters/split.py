"""A validation split without a class in common with training, out of a set's training part, as a CSV file for `folder`.

The benchmarks of retrieval have none, and choosing by their test part is peeking. These are the classes that
TEST.SELECT source_val keeps apart during a run; as a file the split can be used anywhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reid.data import sources
from reid.data.converters import lists
from reid.data.records import Dataset


def convert(dataset: Dataset, output: str | Path, fraction: float = 0.1, seed: int = 0) -> Path:
    """Writes `fraction` of a set's training classes as what is searched, the rest as what is trained on; no test picture.

    The same file for the same set and seed. Without cameras the pictures of the held classes search each other, else see
    `reid.data.sources.hold_out`. Raises ValueError as that does, and as `lists.convert`.
    """
    (training,), held = sources.hold_out([dataset], fraction, seed)
    return lists.convert(replace(training, trials=held.trials), output)
