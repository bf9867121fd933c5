"""Scores a method on data sets: each picture is embedded once a side, each trial searched, each figure written to a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.data.records import Dataset, Sample, Trial
from reid.evaluation import metrics, rank
from reid.evaluation.embed import embed
from reid.evaluation.protocol import fingerprint
from reid.evaluation.rank import Ids, Searches
from reid.methods import Method

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
    **embedding: Any,
) -> list[Row]:
    """Scores `method` on every trial of every data set.

    Args:
        protocol: from `protocol.describe`; its fingerprint is in every row.
        role: per data set's name `source` or `target`; `target` where left out.
        step, seed, selection: written into the rows.
        bootstrap: resamples of query identities for 95% intervals (`mAP_low`, `mAP_high`, ...); 0 for none.
        embedding: `transform`, `batch_size`, `workers`, `device`, `autocast`, `flip`: see `embed`.
    Returns:
        Rows of `results.jsonl`: for each data set a `trial` row per trial and one `dataset` row, the mean over trials,
        with `R1_std` and so on where there are several; then, for each metric, one `mean` row over its targets.
    Raises:
        ValueError: no data set, one without trials, an unknown role, or what `embed` and `rank` refuse.
    """
    role = role or {}
    _check(targets, role)
    common = {"fingerprint": fingerprint(protocol), "selection": selection, "step": step, "seed": seed}
    rows: list[Row] = []
    training = method.training
    method.eval()
    try:
        for dataset in targets:
            about = {"dataset": dataset.name, "role": role.get(dataset.name, "target"), "metric": dataset.metric}
            found = _score_dataset(method, dataset, bootstrap, seed, embedding)
            rows += [{**row, **about, **common} for row in found]
    finally:
        method.train(training)
    return rows + [{**row, **common} for row in _means_over_targets(rows)]


def _check(targets: Sequence[Dataset], role: Mapping[str, str]) -> None:
    if not targets:
        raise ValueError("evaluate: found no data set; expected one or more")
    for dataset in targets:
        if not dataset.trials:
            raise ValueError(f"evaluate: {dataset.name} has no trial, it is only a source; expected a set with queries")
        if role.get(dataset.name, "target") not in ROLES:
            raise ValueError(
                f"evaluate: {dataset.name} has the role {role[dataset.name]}; expected {' or '.join(ROLES)}"
            )


# ---- from a data set to its rows


def _score_dataset(
    method: Method, dataset: Dataset, bootstrap: int, seed: int, embedding: dict[str, Any]
) -> Iterable[Row]:
    query_side, gallery_side = _embed_sides(method, dataset, embedding)
    rows, searches, groups = [], [], []
    for number, trial in enumerate(dataset.trials):
        gallery = _gallery(trial)
        try:
            found, figures = _search(dataset, trial, query_side.of(trial.query), gallery_side.of(gallery))
        except ValueError as error:
            raise ValueError(f"{dataset.name}, trial {number}: {error}") from error
        counts = {"num_query": len(trial.query), "num_gallery": len(gallery), "num_valid": int(found.valid.sum())}
        searches.append(found)
        groups.append(np.array([sample.pid for sample in trial.query])[found.valid])
        rows.append(
            {
                "kind": "trial",
                "trial": number,
                **counts,
                **figures,
                "tied": found.tied_fraction,
                **_intervals(searches[-1:], groups[-1:], dataset.metric, bootstrap, seed),
            }
        )
    return [*rows, {**_mean_over_trials(rows), **_intervals(searches, groups, dataset.metric, bootstrap, seed)}]


def _gallery(trial: Trial) -> Sequence[Sample]:
    return trial.query if trial.gallery is None else trial.gallery


def _search(dataset: Dataset, trial: Trial, query: Tensor, gallery: Tensor) -> tuple[Searches, dict[str, float]]:
    alone = trial.gallery is None
    others = _gallery(trial)
    if dataset.metric == "reid":
        scores = rank.score(query, gallery, Ids.of(trial.query), Ids.of(others), skip_same_index=alone)
        figures = {f"R{k}": float(scores.cmc[k - 1]) for k in REID_RANKS}
        return scores.searches, {**figures, "mAP": scores.mAP, "mINP": scores.mINP}
    classes, other_classes = ([sample.pid for sample in samples] for samples in (trial.query, others))
    found = rank.retrieve(query, classes, gallery, other_classes, skip_same_index=alone)
    return found, rank.summary(found, dataset.ks)


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
    for metric in sorted({row["metric"] for row in datasets}):
        these = [row for row in datasets if row["metric"] == metric]
        # Sets may ask for different K; only what all of them have can be averaged.
        names = [name for name in _figures(these[0]) if all(name in row for row in these)]
        figures = {name: float(np.mean([row[name] for row in these])) for name in names}
        yield {
            "kind": "mean",
            "dataset": "mean",
            "role": "target",
            "metric": metric,
            "num_datasets": len(these),
            **figures,
        }


def _figures(row: Row) -> list[str]:
    """The names of a row's figures, in the order of a table."""
    ranks = [f"R{k}" for k in REID_RANKS]
    recalls = sorted(
        (name for name in row if name.startswith("R@") and "_" not in name), key=lambda name: int(name[2:])
    )
    return [name for name in (*ranks, "mAP", "mINP", *recalls, "MAP@R", "RP", "MRR") if name in row]


# ---- from samples to embeddings


class _Side:
    """The embeddings of one side of all trials of a data set, and where each picture's row is."""

    def __init__(self, embeddings: Tensor, places: dict[str, int]) -> None:
        self.embeddings, self.places = embeddings, places

    def of(self, samples: Sequence[Sample]) -> Tensor:
        """(N, D) in the order of `samples`; a view, not a copy, where they stand together."""
        rows = [self.places[sample.path] for sample in samples]
        if rows == list(range(rows[0], rows[0] + len(rows))):
            return self.embeddings[rows[0] : rows[0] + len(rows)]
        return self.embeddings[torch.tensor(rows)]


def _embed_sides(method: Method, dataset: Dataset, embedding: dict[str, Any]) -> tuple[_Side, _Side]:
    """Query side and gallery side; the same object where the method encodes both alike."""
    queries = [sample for trial in dataset.trials for sample in trial.query]
    galleries = [sample for trial in dataset.trials for sample in _gallery(trial)]

    def side(encode: Callable[[Tensor], Tensor], samples: Iterable[Sample]) -> _Side:
        unique = {sample.path: sample for sample in samples}  # in the order in which they first come
        places = {path: place for place, path in enumerate(unique)}
        return _Side(embed(encode, list(unique.values()), title=dataset.name, **embedding), places)

    if method.asymmetric:
        return side(method.encode_query, queries), side(method.encode_gallery, galleries)
    both = side(method.encode_query, queries + galleries)
    return both, both
