"""Joins sources into one training set: classes, domains, cameras made distinct; and keeps identities apart to validate."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reid.data import records
from reid.data.records import Card, Dataset, Sample, Trial
from reid.data.samplers import Sampler

LabelMap = dict[str, list[int]]


@dataclass(frozen=True, repr=False)
class TrainSet:
    """The sources as one set of N samples; equal for equal data, whatever the process or its hash seed.

    samples: N, source after source, each in the order of its data set.
    classes, domains, camids: (N,) int64. classes 0..C-1 over sorted (domain, pid); domains 0..M-1 in the order of
        `names`; camids 0.. over sorted (domain, camid), -1 where the source has none.
    """

    samples: tuple[Sample, ...]
    classes: np.ndarray
    domains: np.ndarray
    camids: np.ndarray
    names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """C."""
        return int(self.classes.max()) + 1

    @property
    def num_domains(self) -> int:
        """M."""
        return len(self.names)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        """One line a source: `<market1501 train 751 ids 12,936 imgs 6 cams>`."""
        lines = []
        for domain, name in enumerate(self.names):
            own = [self.samples[i] for i in np.flatnonzero(self.domains == domain)]
            lines.append(f"<{records.summary(f'{name} train', own)}>")
        return "\n".join(lines)

    def label_map(self) -> LabelMap:
        """Source name -> its pids in the order of their classes; sources in the order of their domains.

        Plain Python, for the checkpoint: row c of a classifier belongs to the c-th pid of these lists joined.
        """
        pids: list[set[int]] = [set() for _ in self.names]
        for sample, domain in zip(self.samples, self.domains.tolist(), strict=True):
            pids[domain].add(sample.pid)
        return {name: sorted(own) for name, own in zip(self.names, pids, strict=True)}

    def check_label_map(self, saved: Mapping[str, Sequence[int]]) -> None:
        """Raises ValueError showing the differences where a checkpoint's classes are not those of this set."""
        ours = self.label_map()
        if list(saved) != list(ours):
            raise ValueError(
                f"label map: found the sources {', '.join(ours)}; the checkpoint was trained on {', '.join(saved)}: "
                "give DATASETS.SOURCES the same sets in the same order"
            )
        differences = [_difference(name, ours[name], saved[name]) for name in ours if ours[name] != list(saved[name])]
        if differences:
            raise ValueError(
                f"label map: {'; '.join(differences)}: use the data and the options the checkpoint was trained with"
            )


def _difference(name: str, ours: Sequence[int], saved: Sequence[int]) -> str:
    new, missing = sorted({*ours} - {*saved}), sorted({*saved} - {*ours})
    parts = [f"found {len(ours):,} ids of {name}, expected {len(saved):,} as in the checkpoint"]
    for word, pids in (("new", new), ("missing", missing)):
        if pids:
            parts.append(f"{word}: {', '.join(map(str, pids[:5]))}{', ...' if len(pids) > 5 else ''}")
    return " ".join([parts[0], *(f"({part})" for part in parts[1:])])


def join(datasets: Sequence[Dataset]) -> TrainSet:
    """One training set out of several sources; domain m is the m-th of them.

    Raises ValueError for no source, a source without training pictures, or two of one name.
    """
    names = [dataset.name for dataset in datasets]
    if not datasets or len(set(names)) < len(names):
        raise ValueError(
            f"sources: found [{', '.join(names)}]; expected one or more sets, each once: correct DATASETS.SOURCES"
        )
    for dataset in datasets:
        if not dataset.train:
            raise ValueError(
                f"sources: {dataset.name} has no training pictures; expected some: it can only be a target, "
                "or another option of it gives a training part"
            )
    samples = [sample for dataset in datasets for sample in dataset.train]
    domains = np.repeat(np.arange(len(datasets)), [len(dataset.train) for dataset in datasets])
    people = list(zip(domains.tolist(), (sample.pid for sample in samples), strict=True))
    cameras = [(d, sample.camid) for d, sample in zip(domains.tolist(), samples, strict=True)]
    known = [(d, camid) for d, camid in cameras if camid is not None]
    class_of = {person: index for index, person in enumerate(sorted(set(people)))}
    camid_of: dict[tuple[int, int | None], int] = {camera: index for index, camera in enumerate(sorted(set(known)))}
    return TrainSet(
        tuple(samples),
        np.array([class_of[person] for person in people], np.int64),
        domains.astype(np.int64),
        np.array([camid_of.get(camera, -1) for camera in cameras], np.int64),
        tuple(names),
    )


def describe(sampler: Sampler, train_set: TrainSet) -> list[str]:
    """For the log: how often each source's pictures are seen, counted over the batches of epoch 0."""
    batches = [draw.indices for draw in sampler.draws(0)]
    seen = np.bincount(train_set.domains[np.concatenate(batches)], minlength=train_set.num_domains)
    have = np.bincount(train_set.domains, minlength=train_set.num_domains)
    lines = [f"{len(batches):,} batches of {len(batches[0])} an epoch; each picture is seen, on average:"]
    for name, times, share in zip(train_set.names, seen / have, seen / seen.sum(), strict=True):
        lines.append(f"  {name} {times:.2f} times per epoch ({100 * share:.1f}% of what is seen)")
    return [*lines, *sampler.notes]


# ---- validation without a target


def hold_out(
    datasets: Sequence[Dataset], fraction: float, seed: int, fold: Sequence[int] = ()
) -> tuple[list[Dataset], Dataset]:
    """Keeps whole identities of every source apart: (the sources without them, a validation set of one trial a source).

    In the trial of a retrieval set each picture searches the others, as in its test. In others every camera of an identity
    gives one query, the rest is the gallery; so that each query has a match, a camera with one picture gives none, unless
    no camera has more. Without cameras each identity gives one query. Identities seen once, or by one of the known cameras
    only, have no match to find and stay in training; a source with too few others gives no trial.
    Args:
        fraction: of each source's identities, above 0 and below 1; at least one is taken.
        seed: which; the same for the same data.
        fold: (k, K): in place of a fraction the k-th of K parts, 0 <= k < K. They are as equal as can be, disjoint, and
            together all identities that have a match to find.
    Raises ValueError where the fraction or the fold is outside, or where no source can give a trial.
    """
    if not fold and not 0 < fraction < 1:
        raise ValueError(f"hold_out: found the fraction {fraction}; expected one above 0 and below 1")
    if fold and not (len(fold) == 2 and 0 <= fold[0] < fold[1] >= 2):
        raise ValueError(f"hold_out: found the fold {list(fold)}; expected [k, K] with 0 <= k < K and K of 2 or more")
    rule: dict[str, Any] = {"fold": list(fold)} if fold else {"fraction": fraction}
    training, trials, held = [], [], []
    for domain, dataset in enumerate(datasets):
        people: dict[int, list[Sample]] = defaultdict(list)
        for sample in dataset.train:
            people[sample.pid].append(sample)
        able = [pid for pid in sorted(people) if _can_match(people[pid])]
        number = max(1, round(fraction * len(people)))
        part, least = (slice(fold[0], None, fold[1]), 1) if fold else (slice(number), number)
        chosen = set(np.random.default_rng((seed, domain)).permutation(able)[part].tolist())
        if len(chosen) < least or len(chosen) == len(people):
            training.append(dataset)
            continue
        rest = [sample for sample in dataset.train if sample.pid not in chosen]
        variant = {**dataset.variant, "held_out": {"ids": len(chosen), **rule, "seed": seed}}
        training.append(replace(dataset, train=rest, variant=variant))
        own = [people[pid] for pid in sorted(chosen)]
        alike = dataset.metric == "retrieval"
        trials.append(Trial([sample for samples in own for sample in samples]) if alike else _trial(own))
        held.append(f"{len(chosen)} ids of {dataset.name}")
    if not trials:
        raise ValueError(
            "hold_out: found no source with enough identities that have a match to find (two pictures, and two cameras "
            "where cameras are known); expected one: set a smaller fraction, or select by the last epoch"
        )
    return training, Dataset(
        name="source_val",
        root=Path(os.path.commonpath([dataset.root for dataset in datasets])),
        train=[],
        trials=trials,
        card=Card(f"identities kept apart: {', '.join(held)}", "those of the sources", "docs/design.md"),
        metric="retrieval" if all(dataset.metric == "retrieval" for dataset in datasets) else "reid",
        variant={**rule, "seed": seed, "sources": [dataset.name for dataset in datasets]},
    )


def _can_match(samples: Sequence[Sample]) -> bool:
    camids = {sample.camid for sample in samples}
    return len(samples) > 1 and (len(camids) > 1 or camids == {None})


def _trial(people: Sequence[Sequence[Sample]]) -> Trial:
    """One trial of the held identities; see `hold_out` for which picture is a query."""
    query, gallery = [], []
    for samples in people:
        cameras: dict[int | None, list[Sample]] = defaultdict(list)
        for sample in samples:
            cameras[sample.camid].append(sample)
        firsts = {own[0] for own in cameras.values() if len(own) > 1} or {samples[0]}
        query += [sample for sample in samples if sample in firsts]
        gallery += [sample for sample in samples if sample not in firsts]
    return Trial(query, gallery)
