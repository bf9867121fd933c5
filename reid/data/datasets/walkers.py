"""Drawn pedestrians, made by this program on first use; no picture shows a real person.

Counts: decided by the options, and checked. Sources (harbour, campus, station, bazaar) are for training; TEST_IDS adds people
of the same place who are searched for and never trained on. The others (bridge, arcade, square; avenue and fair to tune on) are only
searched. Quirk: the folder lies below DATASETS.WALKERS_ROOT, not below DATASETS.ROOT.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reid.data import records
from reid.data.datasets import _market
from reid.data.records import Card, Dataset, Trial
from reid.data.walkers import domains, trees
from reid.data.walkers.trees import RENDERER, Tree

CARD = Card(
    title="Drawn pedestrians (made by this program)",
    terms="Apache-2.0, as the program that draws them; no picture shows a real person",
    page="docs/walkers.md",
    may_show=True,
)


def load(
    root: str | Path,
    *,
    domain: str,
    ids: int = 0,
    pictures: int = 0,
    size: Sequence[int] = (128, 64),
    test_ids: int = 0,
    edition: int = 0,
    shifted: bool = False,
    check_counts: bool = True,
) -> Dataset:
    """Reads a drawn set, drawing first what is missing of it.

    Args:
        root: the folder that drawn sets lie in, DATASETS.WALKERS_ROOT.
        domain: one of the nine places.
        ids, pictures: identities, and pictures of each; 0: the domain's own number (250 x 12, or 220 x 8).
        size: height and width of a picture, px.
        test_ids: of a source: further identities to be searched for.
        edition: of each place there are as many as one likes, with other people, cameras and backgrounds; above 0 it is
            part of the set's name, so that several may be trained on together.
        shifted: casts, blur, grey cameras and crops beyond what any source has, to tune on; part of the name too.
    Raises ValueError for an unknown domain or what cannot be drawn.
    """
    place = domains.find(domain)
    if len(size) != 2:
        raise ValueError(f"walkers: found SIZE {list(size)}; expected [height, width] in px")
    height, width = size
    tree = Tree(domain, ids or place.ids, pictures or place.pictures, height, width, test_ids, edition, shifted)
    folder = trees.ensure(tree, root)
    name = f"walkers-{domain}{f'-{edition}' if edition else ''}{'-shifted' if shifted else ''}"
    train, query, gallery = _market.split(folder)
    notes = records.check_counts(name, _market.count(train, query, gallery), _counts(tree), check_counts)
    variant = {
        "renderer": RENDERER,
        "size": [height, width],
        "ids": tree.ids,
        "pictures": tree.pictures,
        "seed": edition,
        **({"shifted": True} if shifted else {}),
    }
    return Dataset(name, folder, train, [Trial(query, gallery)] if query else [], CARD, variant=variant, notes=notes)


def _counts(tree: Tree) -> dict[str, int]:
    """What `_market.count` must find."""
    shots = tree.shots()
    train, query, gallery = ([s for s in shots if s.part == part] for part in (trees.TRAIN, trees.QUERY, trees.GALLERY))
    return {
        "train ids": len({shot.pid for shot in train}),
        "train images": len(train),
        "query ids": len({shot.pid for shot in query}),
        "query images": len(query),
        "gallery images": len(gallery),
    }
