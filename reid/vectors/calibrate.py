"""From which score on a picture is taken for the same person: by the false match rate that is wanted, on labelled vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from reid.vectors.search import check_same_model
from reid.vectors.store import Held, Store

MOST = 4_000  # rows of each side: about 8 million pairs, which say what a rate of 1e-5 is
LEAST_PERSONS, LEAST_PAIRS = 10, 10  # fewer people, or fewer pairs past the threshold, say nothing
ROUNDS = 200  # of the bootstrap


class Calibration(TypedDict):
    """fmr: the share of pairs of different people that score `threshold` or more, at most. low, high: 95% interval of the
    threshold, by drawing people: on the wide side (1.6 times the spread over sets of 30 drawn persons). tmr: the share of pairs of one person, of two cameras where these are known, that do; None
    without such pairs. set: what it was measured on, of so many persons and pairs of different ones."""

    fmr: float
    threshold: float
    low: float
    high: float
    tmr: float | None
    set: str
    persons: int
    pairs: int


def calibrate(
    store: Store, fmrs: Sequence[float], *, query: Store | None = None, name: str = "", seed: int = 0
) -> list[Calibration]:
    """The threshold for each false match rate, over all pairs of rows whose person is known, of at most MOST rows that are
    drawn by `seed`.

    query: of a model whose sides differ, the same pictures' other side. name: of the set; unless given, its folder's.
    The rate is one of pairs: whoever is looked for among N pictures of others is met by about N times the rate.
    Raises ValueError for a rate outside 0..1, and for too few persons or pairs to say anything about it.
    """
    if any(not 0 < fmr < 1 for fmr in fmrs) or not fmrs:
        raise ValueError(f"--fmr: found {list(fmrs)}; expected one or more rates between 0 and 1, such as 0.001")
    one = store.header["side"] == "both"
    if one == (query is not None):
        needed = "none, for its sides are one" if one else "the query side of the same pictures"
        raise ValueError(f"--query: found {query and query.folder} for {store.folder}; expected {needed}")
    if query is not None:
        said = query.header
        check_same_model(store, said["model"]["sha256"], said["preprocessing"], said["dim"])
    gallery, there = _labelled(store, seed)
    asked, looked_for = (gallery, there) if query is None else _labelled(query, seed)
    # The names of both sides as numbers: queries first.
    codes = {key: np.unique(np.hstack([looked_for[key], there[key]]), return_inverse=True)[1] for key in there}
    persons, cameras, pictures = (np.split(codes[key], [len(asked)]) for key in ("person", "camera", "picture"))
    num = int(codes["person"].max(initial=-1)) + 1
    if num < LEAST_PERSONS:
        raise ValueError(
            f"calibrate: found {num} persons in {store.folder}; expected {LEAST_PERSONS} or more: give them by a list's "
            "column, or by --pattern"
        )
    scores = asked @ gallery.T
    same, own, nearby = (np.equal.outer(*pair) for pair in (persons, pictures, cameras))
    nearby &= there["camera"] != ""
    each = np.triu(~own) if one else ~own
    matches = scores[same & ~nearby & each]
    rows, columns = np.nonzero(~same & each)
    others = scores[rows, columns]
    short = [fmr for fmr in fmrs if fmr * len(others) < LEAST_PAIRS]
    if short:
        raise ValueError(
            f"--fmr: {min(short):g} needs {LEAST_PAIRS / min(short):,.0f} pairs of different people, found {len(others):,}; "
            "ask for a larger rate, or embed more people"
        )
    order = np.argsort(-others, kind="stable")[: 20 * int(max(fmrs) * len(others)) + 1000]
    tail = others[order]
    sides = [np.bincount(side, minlength=num).astype(np.float64) for side in persons]
    drawn = _drawn(
        tail, persons[0][rows[order]], persons[1][columns[order]], sides, [fmr / (1 + one) for fmr in fmrs], seed
    )
    made = []
    for fmr, own in zip(fmrs, drawn.T, strict=True):
        threshold = above(tail, int(fmr * len(others)))
        made.append(
            Calibration(
                fmr=fmr,
                threshold=threshold,
                low=float(np.quantile(own, 0.025)),
                high=float(np.quantile(own, 0.975)),
                tmr=float((matches >= np.float32(threshold)).mean()) if len(matches) else None,
                set=name or store.header["inputs"][0]["root"].rstrip("/").rpartition("/")[2],
                persons=num,
                pairs=len(others),
            )
        )
    return made


def of(store: Held, fmr: float) -> Calibration:
    """A store's calibration for a rate. Raises ValueError where it has none."""
    rows = store.header["calibration"]
    for row in rows:
        if row["fmr"] == fmr:
            return row
    there = ", ".join(f"{row['fmr']:g}" for row in rows) or "none"
    raise ValueError(
        f"--fmr: found {fmr:g}; {store} is calibrated for {there}: reid calibrate LABELLED --fmr {fmr:g} --into {store}"
    )


def told(row: Calibration, num: int = 0) -> str:
    """A calibration in a sentence; and what it means in a search of `num` rows."""
    tmr = "" if row["tmr"] is None else f"; {100 * row['tmr']:.1f}% of pairs of one person do"
    on = f"measured on {row['set']}, {row['persons']:,} persons, {row['pairs']:,} pairs"
    text = (
        f"false match rate {row['fmr']:g} a pair: scores from {row['threshold']:.4f} on ({row['low']:.4f} to "
        f"{row['high']:.4f}){tmr}; {on}"
    )
    return f"{text}; a stranger meets about {row['fmr'] * num:,.1f} of {num:,} rows" if num else text


def above(descending: np.ndarray, num: int) -> float:
    """The smallest float32 that no more than `num` of the scores reach."""
    return float(np.nextafter(np.float32(descending[num]), np.float32(np.inf)))


def _labelled(store: Store, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Vectors (N, D), and person, camera and picture (N,) by name, of MOST drawn rows whose person is known."""
    names = ("person", "camera", "path", "frame", "box")
    shards = [store.read(number, *names) for number in store.numbers()]
    known = np.hstack([shard.columns["person"] != "" for shard in shards])
    kept = np.random.default_rng(seed).permutation(np.flatnonzero(known))[:MOST]
    mask = np.zeros(len(known), bool)
    mask[kept] = True
    masks = np.split(mask, np.cumsum([len(shard.vectors) for shard in shards])[:-1])
    columns = {name: np.concatenate([shard.columns[name] for shard in shards])[mask] for name in names}
    crops = [str(each) for each in zip(*(columns.pop(name).tolist() for name in names[2:]), strict=True)]
    columns["picture"] = np.array(crops, str)
    return np.concatenate([shard.vectors[rows] for shard, rows in zip(shards, masks, strict=True)]), columns


def _drawn(
    tail: np.ndarray, first: np.ndarray, second: np.ndarray, sides: list[np.ndarray], rates: list[float], seed: int
) -> np.ndarray:
    """(ROUNDS, F): the thresholds of sets whose people are drawn again, with repetition. A pair counts as often as both of
    its persons were drawn; two pictures of one person are never a pair of different ones.

    tail (T,): the largest scores, descending, of pairs of the persons `first` and `second`. sides: how many rows each person
    has as a query and in the gallery. rates: of the ordered pairs.
    """
    rng = np.random.default_rng(seed)
    num = len(sides[0])
    made = np.empty((ROUNDS, len(rates)))
    for i in range(ROUNDS):
        times = rng.multinomial(num, np.full(num, 1 / num)).astype(np.float64)
        query, gallery = (side * times for side in sides)
        pairs = query.sum() * gallery.sum() - (query * gallery).sum()
        reached = np.cumsum(times[first] * times[second])
        places = np.searchsorted(reached, np.array(rates) * pairs, side="right")
        made[i] = tail[np.minimum(places, len(tail) - 1)]
    return made
