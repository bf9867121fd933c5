"""Scores a method on data sets: each picture is embedded once a side, each trial searched, each figure written to a row."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid import processes
from reid.data.records import Dataset, Trial
from reid.evaluation import metrics, rank
from reid.evaluation import open_set as unknown
from reid.evaluation.ids import relevance
from reid.evaluation.protocol import fingerprint
from reid.evaluation.rank import Ids, Searches
from reid.evaluation.relevance import Relevance
from reid.evaluation.sides import Sides, gallery_of
from reid.evaluation.ways import Expansion, Reranking, Together, Unmapped, Way
from reid.methods import Method

logger = logging.getLogger(__name__)

Row = dict[str, Any]
ROLES = ("source", "target")
REID_RANKS = (1, 5, 10)


def evaluate(
    method: Method,
    targets: Sequence[Dataset],
    *,
    protocol: Mapping[str, Any],
    role: Mapping[str, str] | None = None,
    step: int = 0,
    seed: int = 0,
    selection: str = "last",
    bootstrap: int = 0,
    rerank: bool = False,
    query_expansion: int = 0,
    clustering: bool = False,
    starts: int = 1,
    open_set: Sequence[float] = (),
    cache: Path | None = None,
    observe: Callable[[Sides, Dataset, Sequence[Searches]], None] | None = None,
    **embedding: Any,
) -> list[Row]:
    """Scores `method` on every trial of every data set.

    Args:
        protocol: from `protocol.describe`; its fingerprint is in every row.
        role: per data set's name `source` or `target`; `target` where left out.
        step, seed, selection: written into the rows.
        bootstrap: resamples of query identities for 95% intervals (`mAP_low`, `mAP_high`, ...); 0 for none.
        rerank: also score with k-reciprocal re-ranking, k1 20, k2 6, weight 0.3 as published.
        query_expansion: also score with each query averaged with so many pictures it finds first; 0 for not.
        clustering: also `NMI` and `AMI` of retrieval sets: do the gallery's pictures, without one all pictures, fall into
            as many clusters as classes by k-means? starts: of k-means.
        open_set: false alarm rates, at each of which the detection and identification rate is given, `DIR@0.01`; see
            `reid.evaluation.open_set`.
        cache: folder in which embeddings are kept and found again; None to keep none. See `reid.evaluation.cache`.
        observe: called once for each data set, with what came of each query of its trials, plainly scored.
        embedding: `transform`, `batch_size`, `workers`, `device`, `autocast`: see `embed`.
    Returns:
        Rows of `results.jsonl`: for each data set a `trial` row per trial and one `dataset` row, the mean over trials,
        with `R1_std` and so on where there are several; then, for each metric, one `mean` row over its targets. Rows of
        several pictures a query, re-ranking, query expansion and shortlists say so in `rescoring`, which other rows do not have. Rows of a method that
        maps the gallery's vectors have `changed`: the share of queries whose first match would stand at another rank
        without that.
    Raises:
        ValueError: no data set, one without trials, an unknown role, or what `check_method`, `embed` and `rank` refuse.
    """
    role = role or {}
    check_targets(targets, role, open_set=bool(open_set))
    check_method(
        method, targets, rerank=rerank, query_expansion=query_expansion, clustering=clustering, open_set=open_set
    )
    common = {"fingerprint": fingerprint(protocol), "selection": selection, "step": step, "seed": seed}
    ways: list[Way] = [
        Way(),
        *([Expansion(num=query_expansion)] if query_expansion else []),
        *([Reranking()] if rerank else []),
    ]
    rows: list[Row] = []
    training = method.training
    method.eval()
    try:
        for dataset in targets:
            about = {"dataset": dataset.name, "role": role.get(dataset.name, "target"), "metric": dataset.metric}
            own = [*ways[:1], *([Together()] if _together(dataset) else []), *ways[1:]]
            both = len(ways) > 1 or method.maps_gallery
            sides = Sides(method, dataset, embedding, both=both, folder=cache)
            extras = bootstrap, starts if clustering else 0, open_set
            rows += [{**row, **about, **common} for row in _score_dataset(sides, dataset, own, *extras, seed, observe)]
    finally:
        method.train(training)
    return rows + [{**row, **common} for row in _means_over_targets(rows)]


def _together(dataset: Dataset) -> bool:
    return all(trial.together for trial in dataset.trials)


def check_method(
    method: Method,
    targets: Sequence[Dataset] = (),
    *,
    rerank: bool = False,
    query_expansion: int = 0,
    clustering: bool = False,
    open_set: Sequence[float] = (),
) -> None:
    """Raises ValueError where a method's scores do not allow what is asked for."""
    name = type(method).__name__
    for key, wanted, off in (("QUERY_EXPANSION", query_expansion, 0), ("CLUSTERING", clustering, False)):
        if wanted and not method.inner_product:
            raise ValueError(
                f"TEST.{key} is {wanted}: it averages vectors, and a score of {name} is no inner product of two; "
                f"expected {off}"
            )
    for dataset in targets:
        if _together(dataset) and not method.inner_product:
            raise ValueError(
                f"{dataset.name} has several pictures a query: their vectors are averaged, and a score of {name} is no inner "
                "product of two; expected a set without MULTI_QUERY"
            )
    if open_set and method.rescoring:
        raise ValueError(
            f"TEST.OPEN_SET is {list(open_set)}: one threshold serves all queries, and scores of {name} are right on shortlists "
            f"only ({method.rescoring}); expected []"
        )
    if rerank and method.rescoring:
        raise ValueError(
            f"TEST.RERANK is True: it needs all scores, and those of {name} are right on shortlists only "
            f"({method.rescoring}); expected False"
        )


def check_targets(targets: Sequence[Dataset], role: Mapping[str, str], *, open_set: bool = False) -> None:
    """Raises ValueError where no embeddings whatever could be scored: no data set, a set without queries, a search that finds
    nobody, camids of some pictures only; with `open_set` queries of one class."""
    if not targets:
        raise ValueError("evaluate: found no data set; expected one or more")
    for dataset in targets:
        if not dataset.trials:
            raise ValueError(f"evaluate: {dataset.name} has no trial, it is only a source; expected a set with queries")
        if role.get(dataset.name, "target") not in ROLES:
            raise ValueError(
                f"evaluate: {dataset.name} has the role {role[dataset.name]}; expected {' or '.join(ROLES)}"
            )
        for number, trial in enumerate(dataset.trials):
            with _named(dataset, number):
                rank.expect_match(relevance_of(dataset, trial))
                if open_set:
                    unknown.expect_both(*_pids(trial))


def relevance_of(dataset: Dataset, trial: Trial) -> Relevance:
    """Who is to be found by whom in a trial of `dataset`."""
    others, alone = gallery_of(trial), trial.gallery is None
    if dataset.metric == "reid":
        return relevance((len(trial.query), len(others)), Ids.of(trial.query), Ids.of(others), skip_same_index=alone)
    return Relevance(*_pids(trial), skip_same_index=alone)


def _pids(trial: Trial) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the queries and of the gallery."""
    query, gallery = (np.array([sample.pid for sample in side]) for side in (trial.query, gallery_of(trial)))
    return query, gallery


@contextlib.contextmanager
def _named(dataset: Dataset, number: int) -> Iterator[None]:
    """A ValueError within says which search it was."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{dataset.name}, trial {number}: {error}") from error


# ---- from a data set to its rows


def _score_dataset(
    sides: Sides,
    dataset: Dataset,
    ways: Sequence[Way],
    bootstrap: int,
    starts: int,
    open_set: Sequence[float],
    seed: int,
    observe: Callable[[Sides, Dataset, Sequence[Searches]], None] | None,
) -> Iterator[Row]:
    """The rows of a data set: all of one way of scoring, then all of the next."""
    threshold = None if dataset.held_out is None else unknown.best_threshold(_answers(sides, dataset.held_out))
    for way in ways:
        rows, searches, groups = [], [], []
        for number, trial in enumerate(dataset.trials):
            with _named(dataset, number):
                found, figures = _search(sides, dataset, trial, way)
            if not way.name and not found.valid.all():
                _tell_left_out(dataset.name, number, trial, found)
            searches.append(found)
            groups.append(np.array([sample.pid for sample in trial.query])[found.valid])
            if sides.method.maps_gallery and not way.name:
                plain, _ = _search(sides, dataset, trial, Unmapped())
                figures["changed"] = float((plain.first != found.first)[found.valid].mean())
            if starts and dataset.metric == "retrieval" and not way.name:
                figures |= _clusters(sides, trial, starts, seed)
            if not way.name and open_set:
                search = way.apply(sides, trial)
                figures |= unknown.dir_at_far(search, relevance_of(dataset, trial), *_pids(trial), open_set)
            if not way.name and threshold is not None:
                figures["MAP@5"] = unknown.map_at_5(_answers(sides, trial), threshold)
                figures["refused_below"] = threshold
            sizes = {"num_query": len(trial.query), "num_gallery": len(gallery_of(trial))}
            sizes["num_valid"] = int(found.valid.sum())
            ends = _intervals(searches[-1:], groups[-1:], dataset.metric, bootstrap, seed)
            rows.append({"kind": "trial", "trial": number, **sizes, **figures, "tied": found.tied_fraction, **ends})
        if observe and not way.name:
            observe(sides, dataset, searches)
        ends = _intervals(searches, groups, dataset.metric, bootstrap, seed)
        rescoring = way.name or sides.method.rescoring
        named = {"rescoring": rescoring} if rescoring else {}
        for row in (*rows, {**_mean_over_trials(rows), **ends}):
            yield {**row, **named}


def _tell_left_out(name: str, number: int, trial: Trial, found: Searches) -> None:
    """Which queries have no match, how many, and why."""
    lost = [sample for sample, valid in zip(trial.query, found.valid.tolist(), strict=True) if not valid]
    known = {sample.pid for sample in gallery_of(trial)}
    absent = sum(sample.pid not in known for sample in lost)
    logger.warning(
        "%s, trial %d: %d of %d queries have no match and are left out: %d of people who are not in the gallery, %d of people "
        "seen there by the query's own camera only (TEST.CAMERA_RULE False counts those). The first: %s",
        *(name, number, len(lost), len(trial.query), absent, len(lost) - absent),
        ", ".join(sample.path for sample in lost[:3]),
    )


def _search(sides: Sides, dataset: Dataset, trial: Trial, way: Way) -> tuple[Searches, dict[str, float]]:
    alone, others = trial.gallery is None, gallery_of(trial)
    similarity = way.apply(sides, trial)
    if dataset.metric == "reid":
        ids = Ids.of(trial.query), Ids.of(others)
        scores = rank.score(similarity, None, *ids, skip_same_index=alone)
        figures = {f"R{k}": float(scores.cmc[k - 1]) for k in REID_RANKS}
        return scores.searches, {**figures, "mAP": scores.mAP, "mINP": scores.mINP}
    classes, other_classes = ([sample.pid for sample in samples] for samples in (trial.query, others))
    found = rank.retrieve(similarity, classes, None, other_classes, skip_same_index=alone)
    return found, rank.summary(found, dataset.ks)


def _answers(sides: Sides, trial: Trial) -> unknown.Answers:
    return unknown.answers(Way().apply(sides, trial), *_pids(trial))


def _clusters(sides: Sides, trial: Trial, starts: int, seed: int) -> dict[str, float]:
    from reid.evaluation import clustering  # brings in faiss, for this alone

    others = gallery_of(trial)
    rows, pids = sides.gallery(others), [sample.pid for sample in others]
    return processes.from_first(lambda: clustering.agreement(rows, pids, starts=starts, seed=seed))


def _intervals(
    searches: Sequence[Searches], groups: Sequence[NDArray], metric: str, bootstrap: int, seed: int
) -> dict[str, float]:
    if not bootstrap:
        return {}
    first: list[NDArray] = [found.hit(1)[found.valid] for found in searches]
    if metric == "reid":
        values = {"R1": first, "mAP": [found.ap[found.valid] for found in searches]}
    else:
        values = {"R@1": first, "MAP@R": [found.map_at_r[found.valid] for found in searches]}
    ends: dict[str, float] = {}
    for name, per_query in values.items():
        low, high = metrics.intervals(per_query, groups, resamples=bootstrap, seed=seed)
        ends |= {f"{name}_low": low, f"{name}_high": high}
    return ends


def _mean_over_trials(rows: Sequence[Row]) -> Row:
    """The `dataset` row; a spread (the sample's standard deviation) is there exactly where there are several trials."""
    figures = _figures(rows[0])
    mean: Row = {"kind": "dataset", "num_trials": len(rows)}
    mean |= {name: round(np.mean([row[name] for row in rows])) for name in ("num_query", "num_gallery", "num_valid")}
    mean |= {name: float(np.mean([row[name] for row in rows])) for name in (*figures, "tied")}
    if len(rows) > 1:
        mean |= {f"{name}_std": float(np.std([row[name] for row in rows], ddof=1)) for name in figures}
    return mean


def _means_over_targets(rows: Sequence[Row]) -> Iterable[Row]:
    datasets = [row for row in rows if row["kind"] == "dataset" and row["role"] == "target"]
    kinds = dict.fromkeys((row["metric"], row.get("rescoring")) for row in datasets)  # each once, in their order
    for metric, rescoring in kinds:
        these = [row for row in datasets if (row["metric"], row.get("rescoring")) == (metric, rescoring)]
        # Sets may ask for different K; only what all of them have can be averaged.
        names = [name for name in _figures(these[0]) if all(name in row for row in these)]
        figures = {name: float(np.mean([row[name] for row in these])) for name in names}
        about = {"kind": "mean", "dataset": "mean", "role": "target", "metric": metric, "num_datasets": len(these)}
        yield {**about, **figures, **({"rescoring": rescoring} if rescoring else {})}


def _figures(row: Row) -> list[str]:
    """The names of a row's figures, in the order of a table."""
    ranks = [f"R{k}" for k in REID_RANKS]
    rates = sorted(name for name in row if name.startswith("DIR@") and "_" not in name)
    recalls = sorted(
        (name for name in row if name.startswith("R@") and "_" not in name), key=lambda name: int(name[2:])
    )
    return [
        name
        for name in (*ranks, "mAP", "mINP", *recalls, "MAP@R", "RP", "MRR", "MAP@5", "NMI", "AMI", *rates, "changed")
        if name in row
    ]
