"""Sums over many queries: errors by cameras, the distribution of scores, a map of embeddings."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from reid.data.records import Trial
from reid.evaluation.counting import tie_width
from reid.evaluation.kept.form import Cameras, Distribution, Map
from reid.evaluation.kept.looked import Looked, spread
from reid.evaluation.sides import Sides, gallery_of

CAMERAS = 16  # more make no table that is read
BINS = 60
PERSONS, PICTURES, OTHERS = 12, 15, 300  # of the map: persons with a letter, pictures of each, dots


def cameras(trial: Trial, looked: Looked) -> Cameras | None:
    gallery, queries = gallery_of(trial), [trial.query[i] for i in looked.queries]
    if any(sample.camid is None for sample in (*queries, *gallery)):
        return None
    asking, answering = (np.array([sample.camid for sample in side]) for side in (queries, gallery))
    rows, columns = np.unique(asking).tolist(), np.unique(answering).tolist()
    if max(len(rows), len(columns)) > CAMERAS:
        return None
    asked, wrong = np.zeros((2, len(rows), len(columns)), dtype=np.int64)
    for column, camera in enumerate(columns):
        of = torch.from_numpy(answering == camera)
        scores, right, junk = looked.scores[:, of], looked.right[:, of], looked.junk[:, of]
        best = scores.masked_fill(~right, -torch.inf).amax(dim=1)
        other = scores.masked_fill(right | junk, -torch.inf).amax(dim=1)
        there = best.isfinite()
        lost = there & (other >= best - tie_width(best, looked.scale))
        for row, own in enumerate(rows):
            here = torch.from_numpy(asking == own)
            asked[row, column], wrong[row, column] = int((there & here).sum()), int((lost & here).sum())
    return {"query": rows, "gallery": columns, "asked": asked.tolist(), "wrong": wrong.tolist()}


def distribution(looked: Looked) -> Distribution:
    # In double precision, as edges between scores that are nearly equal are no different in single.
    right = looked.scores[looked.right].double().numpy()
    wrong = looked.scores[~(looked.right | looked.junk)].double().numpy()
    values = np.concatenate([right, wrong])
    low, high = float(values.min()), float(values.max())
    high = max(high, low + 1e-6 * max(1.0, abs(low)))
    counts = [np.histogram(side, BINS, (low, high))[0].tolist() for side in (right, wrong)]
    return {"low": low, "high": high, "right": counts[0], "wrong": counts[1]}


def embedding_map(sides: Sides, trial: Trial, valid: NDArray[np.int64]) -> Map:
    """Principal components of some of the gallery: of a few queried persons, and of others evenly."""
    gallery = gallery_of(trial)
    pids = np.array([sample.pid for sample in gallery])
    asked = np.intersect1d([trial.query[i].pid for i in valid], pids)
    letters = {pid: chr(ord("A") + number) for number, pid in enumerate(spread(asked, PERSONS))}
    picked = [i for pid in letters for i in np.flatnonzero(pids == pid)[:PICTURES].tolist()]
    picked += spread(np.flatnonzero(~np.isin(pids, list(letters))), OTHERS)
    rows = sides.gallery([gallery[i] for i in picked]).double()
    rows -= rows.mean(dim=0)
    # The eigenvectors of the pictures' inner products, of which there are fewer than of a long vector's numbers.
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    axes = vectors[:, -2:].flip(1) * values[-2:].flip(0).clamp_min(0).sqrt()
    axes *= torch.where(axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)) < 0, -1.0, 1.0)  # a sign is no fact
    total = float(values.clamp_min(0).sum()) or 1.0
    return {
        "x": axes[:, 0].tolist(),
        "y": axes[:, 1].tolist(),
        "letter": [letters.get(int(pids[i]), "") for i in picked],
        "pid": [int(pids[i]) for i in picked],
        "shares": [max(0.0, float(value)) / total for value in values[-2:].flip(0)],
    }
