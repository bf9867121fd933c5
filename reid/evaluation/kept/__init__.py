"""What a page shows of a scoring and its rows do not say: each query's outcome, ranked lists, cameras, scores, a map.

It is taken while embeddings are at hand, and is small: no vector is kept. All but the outcomes is of a set's first trial.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid.data.records import Dataset, Trial
from reid.evaluation.kept import sums
from reid.evaluation.kept.form import Kept, Outcome
from reid.evaluation.kept.lists import ranked
from reid.evaluation.kept.looked import scores_of, spread
from reid.evaluation.rank import Searches
from reid.evaluation.sides import Sides, gallery_of

CELLS = 1 << 24  # scores that are looked at again, of whole queries: about a second, 64 MB


def look(sides: Sides, dataset: Dataset, searches: Sequence[Searches]) -> Kept:
    """What there is to keep of a data set whose trials came out as `searches`."""
    trial, found = dataset.trials[0], searches[0]
    valid = np.flatnonzero(found.valid)
    some = spread(valid, max(1, CELLS // len(gallery_of(trial))))
    looked = scores_of(sides, dataset, trial, some)
    lacking = []
    cameras = sums.cameras(trial, looked)
    if cameras is None:
        lacking.append(f"No errors by cameras: they are not known, or more than {sums.CAMERAS}.")
    if not looked.one_scale:
        lacking.append("No distribution of scores: those of different queries cannot be compared.")
    if not sides.method.inner_product:
        lacking.append("No map of embeddings and no activations: the score is no inner product of two vectors.")
    lists = ranked(sides, dataset, found)
    if sides.method.inner_product and not any(each["activation"] for each in lists):
        lacking.append("No activations: the encoder's last features have no places in the picture.")
    return {
        "dataset": dataset.name,
        "metric": dataset.metric,
        "title": dataset.card.title,
        "terms": dataset.card.terms,
        "may_show": dataset.card.may_show,
        "trials": [_outcome(*pair) for pair in zip(dataset.trials, searches, strict=True)],
        "num_looked": len(some),
        "ranked": lists,
        "cameras": cameras,
        "scores": sums.distribution(looked) if looked.one_scale else None,
        "map": sums.embedding_map(sides, trial, valid) if sides.method.inner_product else None,
        "lacking": lacking,
    }


def _outcome(trial: Trial, found: Searches) -> Outcome:
    pids = np.array([sample.pid for sample in trial.query])
    valid = found.valid
    return {"ap": found.ap[valid].tolist(), "first": found.first[valid].tolist(), "pid": pids[valid].tolist()}
