"""Draws the split files beside it: `python reid/data/splits/make.py`. Run once; a test holds the files to what it makes.

VIPeR, PRID and i-LIDS come without splits of their own, and the toolkits that published results drew theirs without a
seed. These are drawn from numbers alone: no picture is needed to make them, none decides them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

DRAWS = 10
ABOUT = (
    "Drawn by make.py beside this file. No other toolkit's splits are these: figures differ by the luck of the draw. "
)


def viper() -> str:
    about = "test: places, from 0, in the sorted list of the 632 person numbers; the other 316 people are not scored."
    rng = random.Random(2007)
    return text(about, 2007, [draw(rng, range(632), 316) for _ in range(DRAWS)])


def prid() -> str:
    about = "test: 100 of the people 1 to 200, whom both cameras saw."
    rng = random.Random(2011)
    return text(about, 2011, [draw(rng, range(1, 201), 100) for _ in range(DRAWS)])


def ilids() -> str:
    about = (
        "test: 60 rows [place, u, v]; place, from 0, in the sorted list of the 119 person numbers. Of that person's n "
        "pictures in sorted order, number floor(u * n), from 0, is the query; of the n - 1 others, number "
        "floor(v * (n - 1)) is in the gallery."
    )
    rng = random.Random(2009)
    people = [draw(rng, range(119), 60) for _ in range(DRAWS)]
    return text(about, 2009, [[[place, fraction(rng), fraction(rng)] for place in test] for test in people])


def draw(rng: random.Random, numbers: range, count: int) -> list[int]:
    """`count` of `numbers`, every choice equally likely, sorted."""
    # Python promises the sequence of random() for a seed, and of no other method: sample and shuffle may change.
    return sorted(sorted(numbers, key=lambda _: rng.random())[:count])


def fraction(rng: random.Random) -> float:
    """0 to 0.9999 in four digits."""
    return int(rng.random() * 10_000) / 10_000


def text(about: str, seed: int, test: list) -> str:
    """JSON with a line for each draw."""
    lines = ",\n".join(json.dumps(draw, separators=(",", ":")) for draw in test)
    return f'{{\n"about": {json.dumps(ABOUT + about)},\n"seed": {seed},\n"test": [\n{lines}\n]\n}}\n'


FILES = {"viper.json": viper, "prid.json": prid, "ilids.json": ilids}

if __name__ == "__main__":
    for name, make in FILES.items():
        (Path(__file__).parent / name).write_text(make(), encoding="utf-8", newline="\n")
