"""Searches for somebody who may not be in the gallery: who is found, and who is rightly refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation import counting
from reid.evaluation.blocks import share, slices, threads
from reid.evaluation.counting import OwnClasses, tie_width
from reid.evaluation.relevance import Ints, Relevance
from reid.similarity import Similarity

PLACES = 5  # answers that count, of MAP@5
ROWS = 256  # queries at once whose scores are gathered by class


# ---- detection and identification


def unknown_classes(query_classes: Ints, gallery_classes: Ints) -> Ints:
    """The classes that count as unknown: those of queries that the gallery has not; where it has all, every second one."""
    absent = np.setdiff1d(query_classes, gallery_classes)
    return absent if len(absent) else np.unique(query_classes)[1::2]


def expect_both(query_classes: Ints, gallery_classes: Ints) -> None:
    """Raises ValueError where no class is left that is known."""
    if not len(np.setdiff1d(query_classes, unknown_classes(query_classes, gallery_classes))):
        raise ValueError("open set: found no query of a known class; expected queries of two classes or more")


def dir_at_far(
    similarity: Similarity, relevance: Relevance, query_classes: Ints, gallery_classes: Ints, fars: Sequence[float]
) -> dict[str, float]:
    """`DIR@far` for each of `fars`: the share of queries of known classes that are found and not refused, when a query of an
    unknown class is taken for somebody no more often than in the share `far`.

    Unknown are `unknown_classes`; their gallery pictures are taken out. Found: a match stands first, ties against the query.
    Not refused: it scores above all but a share `far` of the unknown queries' best scores, ties refused. Queries of known
    classes without a match (all junk) are left out.
    Source: Phillips, Grother and Micheals 2011, detection and identification rate at rank 1.
    """
    unknown = unknown_classes(query_classes, gallery_classes)
    right, wrong = _best(similarity, relevance, np.isin(gallery_classes, unknown))
    stranger = torch.from_numpy(np.isin(query_classes, unknown)).to(right.device)
    known = ~stranger & right.isfinite()
    if not known.any():
        raise ValueError("open set: found no query of a known class with a match; expected some")
    alarms = wrong[stranger].sort(descending=True).values
    limits = torch.cat(
        [
            torch.where(alarms.isfinite(), alarms + tie_width(alarms, similarity.scale), alarms),
            alarms.new_tensor([-torch.inf]),
        ]
    )
    found = (wrong < right - tie_width(right, similarity.scale))[known]
    return {
        f"DIR@{far:g}": float((found & (right[known] > limits[math.floor(far * len(alarms))])).double().mean())
        for far in fars
    }


def _best(similarity: Similarity, relevance: Relevance, hidden: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """(Q,) the scores of each query's best match, and of the best wrong picture that is not `hidden` (G,); -inf for none."""
    device, (num_query, num_gallery) = similarity.device, similarity.shape
    right, wrong = (torch.full((num_query,), -torch.inf, device=device) for _ in range(2))
    left_out = torch.from_numpy(hidden).to(device)
    size, width = counting.tile_for(device)

    def work(blocks: Iterator[slice]) -> None:
        buffer = torch.empty(size, min(width, num_gallery), device=device)
        for rows in blocks:
            own = OwnClasses(relevance, rows, device)
            right[rows] = own.match_scores(similarity)[:, 0]
            for columns in slices(num_gallery, width):
                scores = similarity.tile(rows, columns, buffer)
                own.hide(scores, columns)
                scores[:, left_out[columns]] = -torch.inf
                wrong[rows] = torch.maximum(wrong[rows], scores.amax(dim=1))

    with threads(device) as num_threads:
        size = max(1, size // num_threads)
        share(work, slices(num_query, size), num_threads)
    return right, wrong


# ---- MAP@5 with an answer for the unknown


@dataclass(frozen=True)
class Answers:
    """What queries are answered with: classes of the gallery in the order of their best pictures, and how these score.

    known: (Q,) bool, the query's class is in the gallery. place, score: (Q,) of that class, from 1; ties against the query.
    best: (Q, 5) the scores of the first classes, falling; -inf where there are no more.
    """

    known: NDArray[np.bool_]
    place: Ints
    score: NDArray[np.float64]
    best: NDArray[np.float64]


def answers(similarity: Similarity, query_classes: Ints, gallery_classes: Ints) -> Answers:
    """Of every query; a class scores as its best picture does."""
    classes, of = np.unique(gallery_classes, return_inverse=True)
    known = np.isin(query_classes, classes)
    own = torch.from_numpy(np.where(known, np.searchsorted(classes, query_classes), 0)).to(similarity.device)
    columns, parts = torch.from_numpy(of).to(similarity.device), []
    buffer = torch.empty(ROWS, len(of), device=similarity.device, dtype=torch.float32)
    for rows in slices(len(known), ROWS):
        scores = similarity.tile(rows, slice(0, len(of)), buffer)
        best = scores.new_full((len(scores), len(classes)), -torch.inf)
        best.scatter_reduce_(1, columns.expand(len(scores), -1), scores, "amax")
        right = best.gather(1, own[rows, None])
        place = (best >= right - tie_width(right, similarity.scale)).sum(dim=1)  # its own class is one of them
        first = best.topk(min(PLACES, len(classes)), dim=1).values
        first = torch.nn.functional.pad(first, (0, PLACES - first.shape[1]), value=-torch.inf)
        parts.append([part.cpu().numpy() for part in (place, right[:, 0].double(), first.double())])
    return Answers(known, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def map_at_5(found: Answers, threshold: float) -> float:
    """The mean of one over the right answer's place among the first five answers, 0 where it is not among them.

    `unknown` is an answer of its own; it stands before all classes that score below the threshold, and is right for a
    query whose class is not in the gallery.
    Source: the competition Humpback Whale Identification (Kaggle 2018), whose answer is new_whale.
    """
    place = np.where(found.known, found.place + (found.score < threshold), 1 + (found.best >= threshold).sum(axis=1))
    return float(_worth(place).mean())


def best_threshold(found: Answers) -> float:
    """The threshold of the highest `map_at_5`, halfway between two scores; of equals the lowest."""
    scores, gains = (
        [found.score[found.known]],
        [_worth(found.place + 1)[found.known] - _worth(found.place)[found.known]],
    )
    for place in range(1, PLACES + 1):  # a class falls below the threshold: the answer `unknown` takes its place
        scores.append(found.best[~found.known, place - 1])
        gains.append(np.full(len(scores[-1]), _worth(np.array(place)) - _worth(np.array(place + 1))))
    score, gain = np.concatenate(scores), np.concatenate(gains)
    there = np.isfinite(score)
    score, index = np.unique(score[there], return_inverse=True)
    totals = np.concatenate([[0.0], np.cumsum(np.bincount(index, gain[there]))])
    edges = np.concatenate([[score[0] - 1], (score[1:] + score[:-1]) / 2, [score[-1] + 1]])
    return float(edges[int((totals > totals.max() - 1e-9).argmax())])


def _worth(place: Ints) -> NDArray[np.float64]:
    return np.where(place <= PLACES, 1 / np.maximum(place, 1), 0.0)
