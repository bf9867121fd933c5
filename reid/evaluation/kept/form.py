"""What is kept of a scoring for its page, as the file holds it."""

from __future__ import annotations

from typing import TypedDict


class Picture(TypedDict):
    path: str
    pid: int
    camid: int | None


class Found(Picture):
    """right: of the query's person. rank: as it is counted, so of a match that ties with a wrong picture the later one."""

    rank: int
    score: float
    right: bool


class Activation(TypedDict):
    """Maps (h, w) of 0..255, of a query and of its first match."""

    query: list[list[int]]
    match: list[list[int]]


class Ranked(TypedDict):
    """One query's list: the first few, and the first match where it is not among them. ap, first: of the query."""

    kind: str
    query: Picture
    ap: float
    first: int
    num_matches: int
    found: list[Found]
    activation: Activation | None


class Outcome(TypedDict):
    """Of one trial's queries that have a match: average precision, rank of the first match, person."""

    ap: list[float]
    first: list[int]
    pid: list[int]


class Cameras(TypedDict):
    """Of camera i's queries that have a match seen by j alone: how many, and how many find a wrong person first there."""

    query: list[int]
    gallery: list[int]
    asked: list[list[int]]
    wrong: list[list[int]]


class Distribution(TypedDict):
    """Counts of scores in equal steps from low to high."""

    low: float
    high: float
    right: list[int]
    wrong: list[int]


class Map(TypedDict):
    """Gallery pictures on the two axes of most variance; letter: of the persons that have one. shares: of the variance."""

    x: list[float]
    y: list[float]
    letter: list[str]
    pid: list[int]
    shares: list[float]


class Kept(TypedDict):
    """Of one data set. num_looked: queries of the first trial that cameras and scores are of. lacking: what is not here, and why."""

    dataset: str
    metric: str
    title: str
    terms: str
    may_show: bool
    trials: list[Outcome]
    num_looked: int
    ranked: list[Ranked]
    cameras: Cameras | None
    scores: Distribution | None
    map: Map | None
    lacking: list[str]


class File(TypedDict):
    """`page.json`: of which scoring, and what of each data set."""

    fingerprint: str
    selection: str
    step: int
    seed: int
    sets: list[Kept]
