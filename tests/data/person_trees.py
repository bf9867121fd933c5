"""Fake person sets on disk, tiny or at full size: every picture is a hard link to one small file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from trees import picture

from reid.data.records import Sample

LINKS = 60_000  # ext4 allows 65,000 names a file

MARKET_PARTS = ("bounding_box_train", "query", "bounding_box_test")


def plant(root: Path, names: Iterable[str]) -> Path:
    """Makes every picture named, relative to `root`."""
    bases: dict[str, tuple[str, int]] = {}
    made = set()
    for name in names:
        # No Path for each of 126,441 names: it costs more than the link.
        folder, suffix, path = name.rpartition("/")[0], name.rpartition(".")[2], f"{root}/{name}"
        if folder not in made:
            (root / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        base, links = bases.get(suffix, (path, LINKS))
        if links == LINKS:
            Path(path).write_bytes(picture(f".{suffix.lower()}"))
            bases[suffix] = (path, 1)
        else:
            os.link(base, path)
            bases[suffix] = (base, links + 1)
    return root


def rows(samples: Sequence[Sample], root: Path) -> list[tuple[str, int, int | None]]:
    """(path relative to `root`, pid, camid) of each sample."""
    return [(Path(sample.path).relative_to(root).as_posix(), sample.pid, sample.camid) for sample in samples]


def counts(samples: Sequence[Sample]) -> tuple[int, int]:
    """(number of people, number of pictures)."""
    return len({sample.pid for sample in samples}), len(samples)


def market_names(part: str, first: int, ids: int, total: int, cams: int, suffix: str = ".jpg") -> list[str]:
    """`total` pictures in Market-1501's form of the people `first`, `first` + 1, ..."""
    return [f"{part}/{first + i % ids:04d}_c{1 + i // ids % cams}_{i:06d}{suffix}" for i in range(total)]


def listed(root: Path, half: str, lists: dict[str, Sequence[str]]) -> Path:
    """Pictures of MSMT17 below `half` and the lists that name them; the pid is that of the name."""
    plant(root / half, (name for names in lists.values() for name in names))
    for part, names in lists.items():
        text = "".join(f"{name} {int(name.split('/')[0])}\n" for name in names)
        (root / f"list_{part}.txt").write_text(text, encoding="utf-8")
    return root


def msmt17_names(ids: int, total: int, start: int = 0) -> list[str]:
    """`total` pictures named as MSMT17 does, of people 0 to `ids` - 1 and cameras 1 to 15, numbered from `start`."""
    return [
        f"{i % ids:04d}/{i % ids:04d}_{start + i:06d}_{1 + i // ids % 15:02d}_0303morning_{i:04d}_0.jpg"
        for i in range(total)
    ]


def tiny_msmt17(root: Path, version: str = "V1") -> Path:
    """Two people to train on (one picture of each in list_val.txt), two others of the same numbers to score."""
    train, test = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}[version]
    place = root / f"MSMT17_{version}"
    names = msmt17_names(2, 6)
    listed(place, train, {"train": names[:4], "val": names[4:]})
    return listed(place, test, {"query": names[1:3], "gallery": names[3:5]})


def tiny_market_like(root: Path, suffix: str = ".jpg") -> Path:
    """Two people numbered 0 and 1 to train on, two others of the same numbers to score; cameras 1 and 12."""
    parts = dict(zip(MARKET_PARTS, ((1, 12), (1,), (12,)), strict=True))
    names = [
        f"{part}/{pid:04d}_c{camid}_0{suffix}" for part, camids in parts.items() for pid in (0, 1) for camid in camids
    ]
    return plant(root, names)


def tiny_cuhk03(root: Path, boxes: str = "detected") -> Path:
    """Extracted pictures of persons 1 and 2 of pair 1 and persons 1 and 2 of pair 5, two in each view."""
    names = [
        f"{pair}_{person:03d}_{view}_{number:02d}.png"
        for pair in (1, 5)
        for person in (1, 2)
        for view, numbers in ((1, (1, 2)), (2, (6, 7)))
        for number in numbers
    ]
    return plant(root / "cuhk03" / f"images_{boxes}", names).parent


def tiny_cuhk02(root: Path) -> Path:
    """One person in each of P1 to P4 and two in P5, all numbered from 1, two pictures a camera."""
    return plant(
        root,
        (
            f"P{pair}/cam{camera}/{person:03d}_{number:03d}.png"
            for pair in range(1, 6)
            for camera in (1, 2)
            for person in range(1, 3 if pair == 5 else 2)
            for number in (1, 2)
        ),
    )
