"""The ranked lists of a few queries, and where in the pictures of some pairs their score comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from reid.data import loader
from reid.data.records import Dataset, Sample
from reid.evaluation.activations import through_score
from reid.evaluation.counting import tie_width
from reid.evaluation.kept.form import Activation, Picture, Ranked
from reid.evaluation.kept.looked import Looked, scores_of
from reid.evaluation.rank import Searches
from reid.evaluation.sides import Sides, gallery_of

LISTS = {"worst": 8, "random": 4, "best": 4}  # queries shown of each kind
DEPTH = 8  # pictures of a list
ACTIVATIONS = 2  # pairs of each kind of list


def ranked(sides: Sides, dataset: Dataset, found: Searches) -> list[Ranked]:
    trial = dataset.trials[0]
    kinds = choose(found)
    looked = scores_of(sides, dataset, trial, list(kinds))
    lists = [_list(dataset, found, looked, place, kind) for place, kind in enumerate(kinds.values())]
    if sides.method.inner_product:
        shown = [place for kind in LISTS for place in _places(kinds, kind)[:ACTIVATIONS]]
        for place, maps in zip(shown, _activations(sides, [lists[place] for place in shown]), strict=True):
            lists[place]["activation"] = maps
    return lists


def choose(found: Searches) -> dict[int, str]:
    """The queries whose lists are shown, and of which kind: worst first, some by chance, best first; none twice.

    Worse is a lower average precision, then a later first match, then an earlier place in the list of queries.
    """
    valid = np.flatnonzero(found.valid)
    order = valid[np.lexsort((valid, -found.first[valid], found.ap[valid]))].tolist()
    kinds = dict.fromkeys(order[: LISTS["worst"]], "worst")
    best = [query for query in reversed(order) if query not in kinds][: LISTS["best"]]
    rest = [query for query in valid.tolist() if query not in kinds and query not in best]
    drawn = np.random.default_rng(0).permutation(rest)[: LISTS["random"]].tolist()
    return kinds | dict.fromkeys(sorted(map(int, drawn)), "random") | dict.fromkeys(best, "best")


def _places(kinds: dict[int, str], kind: str) -> list[int]:
    return [place for place, other in enumerate(kinds.values()) if other == kind]


def _list(dataset: Dataset, found: Searches, looked: Looked, place: int, kind: str) -> Ranked:
    trial, query = dataset.trials[0], looked.queries[place]
    gallery, scores, right = gallery_of(trial), looked.scores[place], looked.right[place]
    # As in counting: a wrong picture within a tie's width of a match stands above it.
    keys = torch.where(right, scores - tie_width(scores, looked.scale), scores)
    order = np.lexsort((right.numpy(), -keys.numpy()))
    order = order[~looked.junk[place].numpy()[order]]
    first = int(np.flatnonzero(right.numpy()[order])[0])
    places = [*range(min(DEPTH, len(order))), *([first] if first >= DEPTH else [])]
    return {
        "kind": kind,
        "query": _picture(trial.query[query]),
        "ap": float(found.ap[query]),
        "first": int(found.first[query]),
        "num_matches": int(found.num_matches[query]),
        "found": [
            {
                **_picture(gallery[order[at]]),
                "rank": at + 1,
                "score": float(scores[order[at]]),
                "right": bool(right[order[at]]),
            }
            for at in places
        ],
        "activation": None,
    }


def _picture(sample: Sample) -> Picture:
    return {"path": sample.path, "pid": sample.pid, "camid": sample.camid}


def _activations(sides: Sides, lists: Sequence[Ranked]) -> list[Activation | None]:
    """Of each list's query and first match."""
    matches = [next(each for each in ranked["found"] if each["right"]) for ranked in lists]
    images = []
    for side in ([ranked["query"] for ranked in lists], matches):
        samples = [Sample(each["path"], each["pid"], each["camid"]) for each in side]
        (batch,) = loader.image_batches(samples, sides.options["transform"], batch_size=len(samples), workers=0)
        images.append(batch.to(sides.options.get("device", "cpu")))
    maps = through_score(sides.method, images[0], images[1])
    if maps is None:
        return [None] * len(lists)
    return [{"query": one.tolist(), "match": other.tolist()} for one, other in zip(*maps, strict=True)]
