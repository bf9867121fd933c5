"""Everything that decides a figure besides the model, as a plain dict, and the fingerprint two figures must share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from reid.data import records
from reid.data.records import Dataset, Sample, Trial

SELECTIONS = ("last", "source_val", "oracle")


def describe(
    sources: Sequence[Dataset], targets: Sequence[Dataset], *, flip: bool = False, selection: str = "last", **rules: Any
) -> dict[str, Any]:
    """The protocol of a run: what was trained on, what is scored, by which rules. Nothing but what JSON can hold.

    Args:
        sources, targets: in the order of the config, which is part of the protocol no more than the folder they lie in.
        flip: whether embeddings are averaged over the mirror image.
        selection: which weights are scored: `last`, chosen on held-out identities of the sources (`source_val`), or
            chosen by the targets themselves (`oracle`).
        rules: whatever else changes figures (re-ranking, query expansion), by name.
    Raises:
        ValueError: an unknown selection, or a sample outside its data set's root.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"protocol: no selection {selection}; there are {', '.join(SELECTIONS)}")
    return {
        "sources": sorted((_source(dataset) for dataset in sources), key=_canonical),
        "targets": sorted((_target(dataset) for dataset in targets), key=_canonical),
        "rules": {
            "junk": "same pid and camid",
            "distractor": "pid 0 never matches",
            "average_precision": "mean of precision at each match",
            "ties": "within 1e-6, against the query",
            "score": "inner product",
            "flip": flip,
            "selection": selection,
            **rules,
        },
    }


def fingerprint(protocol: Mapping[str, Any]) -> str:
    """The first 8 hex digits of the sha256 of the protocol's sorted JSON."""
    return _hash(protocol)


def readable(protocol: Mapping[str, Any]) -> list[str]:
    """The protocol in words, a line per data set and a line per rule; two protocols that differ, differ in a line.

    `lists` is the hash of the names, persons and cameras of a set's lists, so it tells two splits apart.
    """
    lines = []
    for part in protocol["sources"]:
        train = part["train"]
        lines.append(f"source {_titled(part)}: {train['ids']:,} ids, {train['images']:,} images, lists {_hash(train)}")
    for part in protocol["targets"]:
        trials = part["trials"]
        sizes = " or ".join(sorted({_size(trial) for trial in trials}))
        number = f"{len(trials)} trial{'s' if len(trials) > 1 else ''}"
        lines.append(f"target {_titled(part)}: {number}, {sizes}, {part['metric']}, lists {_hash(trials)}")
    return lines + [f"{name}: {value}" for name, value in protocol["rules"].items()]


def _titled(part: Mapping[str, Any]) -> str:
    """`cuhk03 (all=True, boxes=detected)`."""
    variant = ", ".join(f"{name}={value}" for name, value in sorted(part["variant"].items()))
    return f"{part['name']} ({variant})" if variant else part["name"]


def _size(trial: Mapping[str, Any]) -> str:
    gallery = trial["gallery"]
    return f"{trial['query']['images']:,} in {gallery if isinstance(gallery, str) else format(gallery['images'], ',')}"


def _hash(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:8]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _source(dataset: Dataset) -> dict[str, Any]:
    return {"name": dataset.name, "variant": dataset.variant, "train": _list(dataset.train, dataset)}


def _target(dataset: Dataset) -> dict[str, Any]:
    trials = [_trial(trial, dataset) for trial in dataset.trials]
    held_out = {} if dataset.held_out is None else {"held_out": _trial(dataset.held_out, dataset)}
    return {"name": dataset.name, "variant": dataset.variant, "metric": dataset.metric, "trials": trials, **held_out}


def _trial(trial: Trial, dataset: Dataset) -> dict[str, Any]:
    gallery = "the other queries" if trial.gallery is None else _list(trial.gallery, dataset)
    return {"query": _list(trial.query, dataset), "gallery": gallery}


def _list(samples: Sequence[Sample], dataset: Dataset) -> dict[str, Any]:
    return {
        "ids": len({sample.pid for sample in samples}),
        "images": len(samples),
        "cameras": len({sample.camid for sample in samples} - {None}),
        "digest": records.digest(samples, dataset.root),
    }
