"""Which pictures and people stand where they should not: twice in a list, on both sides of a search, trained on and scored.

A set may have them for good reason, so they are noted and not refused; what no list can mean, a path twice or of two
people, is refused when a `Dataset` is made.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from reid import escape
from reid.data.looks import Look
from reid.data.records import Dataset, Sample, Trial

Copies = Mapping[str, str]  # path: the first path of the same bytes, see `looks.copies`


def paths(datasets: Iterable[Dataset]) -> set[str]:
    """Of all pictures that are trained on, searched with and searched for."""
    return {sample.path for dataset in datasets for samples in lists(dataset) for sample in samples}


def lists(dataset: Dataset) -> list[Sequence[Sample]]:
    """The training list, and those of every search."""
    return [dataset.train, *(side for trial in dataset.searches for side in trial.sides)]


def noted(
    sources: Sequence[Dataset], targets: Sequence[Dataset], copies: Copies
) -> tuple[list[Dataset], list[Dataset]]:
    """The same sets, each with what was found of its training pictures (sources) or of its searches (targets) in its notes.

    A picture that is trained on and scored, or twice among the sources, is noted by the later one; people that are trained
    on and searched for are compared within one set alone, the same folder, as another numbers its people anew.
    """
    trained: dict[str, Sample] = {}
    found_sources, found_targets = [], []
    for dataset in sources:
        lines = _within("training pictures", [dataset.train], copies)
        lines += _in(dataset.train, trained, copies, "also those of a source before it")
        trained |= {copies.get(sample.path, sample.path): sample for sample in dataset.train}
        found_sources.append(with_notes(dataset, lines))
    for dataset in targets:
        searches = [[*trial.query, *(trial.gallery or ())] for trial in dataset.searches]
        lines = _within("pictures of a search", searches, copies)
        lines += _both_sides(dataset.searches, copies)
        lines += _in([sample for search in searches for sample in search], trained, copies, "trained on")
        own = {sample.pid for source in sources if source.root == dataset.root for sample in source.train}
        found_targets.append(with_notes(dataset, [*lines, *_people(dataset, own)]))
    return found_sources, found_targets


def shared(dataset: Dataset, earlier: Iterable[Dataset], copies: Copies) -> Dataset:
    """The same set with a note for each of `earlier` that has pictures of it."""
    lines = []
    own = [sample for samples in lists(dataset) for sample in samples]
    for other in earlier:
        theirs = {copies.get(sample.path, sample.path): sample for samples in lists(other) for sample in samples}
        lines += _in(own, theirs, copies, f"in {other.name} too")
    return with_notes(dataset, lines)


def known_people(dataset: Dataset, pids: Collection[int]) -> Dataset:
    """The same target with a note where its people are among `pids`, which a set of its name was trained on."""
    return with_notes(dataset, _people(dataset, pids))


def known_pictures(dataset: Dataset, looks: Mapping[str, Look], numbers: Collection[int]) -> Dataset:
    """The same target with a note where its pictures, by their `looks`, are among the `Look.number`s of a training set."""
    everything = {
        sample.path for trial in dataset.searches for side in (trial.query, trial.gallery or ()) for sample in side
    }
    found = {path: path for path in everything if looks[path].number in numbers}
    if not found:
        return dataset
    line = f"{len(found):,} of {len(everything):,} pictures are trained on by their sizes and last bytes, the first {_pair(found)}"
    return with_notes(dataset, [line])


def with_notes(dataset: Dataset, lines: Iterable[str]) -> Dataset:
    """The same set with `lines` as further notes that begin with its name."""
    new = [f"{dataset.name}: {line}" for line in lines]
    return dataclasses.replace(dataset, notes=(*dataset.notes, *new)) if new else dataset


def _within(what: str, searches: Iterable[Sequence[Sample]], copies: Copies) -> list[str]:
    """Copies of one picture among the pictures of a list, and those of them that are of two people."""
    same: dict[str, str] = {}
    two: dict[str, str] = {}
    everything: set[str] = set()
    for samples in searches:
        everything |= {sample.path for sample in samples}
        groups: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if sample.path in copies:
                groups[copies[sample.path]].append(sample)
        for first, *others in groups.values():
            for other in others:
                same[other.path] = first.path
                if other.pid != first.pid:
                    two[other.path] = first.path
    lines = (
        [f"{len(same):,} of {len(everything):,} {what} are copies of others, the first {_pair(same)}"] if same else []
    )
    return lines + ([f"{len(two):,} of these copies are of another person, the first {_pair(two)}"] if two else [])


def _both_sides(trials: Iterable[Trial], copies: Copies) -> list[str]:
    """Queries that are in their own gallery and no junk there, which are found with a score of 1."""
    found: dict[str, str] = {}
    queries: set[str] = set()
    for trial in trials:
        queries |= {sample.path for sample in trial.query}
        gallery: dict[str, list[Sample]] = defaultdict(list)
        for sample in trial.gallery or ():
            gallery[copies.get(sample.path, sample.path)].append(sample)
        for query in trial.query:
            for other in gallery.get(copies.get(query.path, query.path), ()):
                if query.camid is None or (query.pid, query.camid) != (other.pid, other.camid):
                    found[query.path] = other.path
    return (
        [f"{len(found):,} of {len(queries):,} queries are in the gallery too, the first {_pair(found)}"]
        if found
        else []
    )


def _in(samples: Iterable[Sample], trained: Mapping[str, Sample], copies: Copies, what: str) -> list[str]:
    everything = {sample.path for sample in samples}
    found = {path: trained[key].path for path in everything if (key := copies.get(path, path)) in trained}
    return [f"{len(found):,} of {len(everything):,} pictures are {what}, the first {_pair(found)}"] if found else []


def _people(dataset: Dataset, trained: Collection[int]) -> list[str]:
    searched = {sample.pid for trial in dataset.searches for sample in trial.query}
    both = sorted(searched & {*trained})
    if not both:
        return []
    return [f"{len(both):,} of {len(searched):,} people that are searched for are trained on, the first {both[0]}"]


def _pair(found: Mapping[str, str]) -> str:
    """The first of {path: path of the same picture}, as two names, or one where they are the same file."""
    path, other = min(found.items())
    if path == other:
        return escape.line(os.path.basename(path))  # noqa: PTH119
    above = os.path.commonpath([os.path.dirname(path), os.path.dirname(other)])  # noqa: PTH120
    return escape.line(f"{os.path.relpath(path, above)} = {os.path.relpath(other, above)}")
