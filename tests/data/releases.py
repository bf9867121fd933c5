"""Made releases for the tests of the converters: the makers' forms, drawn pictures, nobody's face."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import scipy.io

PAIRS = (3, 2, 1, 1, 1)  # people of each pair of cameras


def drawn(height: int, width: int, seed: int) -> np.ndarray:
    """(height, width, 3) uint8 noise: no two places of it are alike, so that a crop shows where it came from."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def cuhk_sysu(root: Path, people: dict[int, list[tuple[str, tuple[int, ...], int]]], size=(40, 50)) -> Path:
    """The person search release: {person: [(scene's file name, box, hard)]}; scenes are PNG, so that they decode exactly."""
    (root / "annotation").mkdir(parents=True)
    (root / "Image" / "SSM").mkdir(parents=True)
    structs = np.zeros((1, len(people)), [("idname", object), ("nAppear", object), ("scene", object)])
    for column, (pid, appearances) in enumerate(people.items()):
        scenes = np.zeros((1, len(appearances)), [("imname", object), ("idlocate", object), ("ishard", object)])
        for number, (name, box, hard) in enumerate(appearances):
            scenes[0, number] = (name, np.array([box], np.int32), np.array([[hard]], np.uint8))
            path = root / "Image" / "SSM" / name
            if name[1:-4].isdecimal() and not path.exists():
                cv2.imwrite(str(path), drawn(*size, seed=int(name[1:-4])))
        structs[0, column] = (f"p{pid}", np.array([[len(appearances)]], np.uint8), scenes)
    scipy.io.savemat(root / "annotation" / "Person.mat", {"Person": structs})
    return root


def crowd(num: int) -> dict[int, list[tuple[str, tuple[int, ...], int]]]:
    """`num` people, each in three of as many scenes."""
    return {
        pid: [(f"s{1 + (pid + k) % num}.png", (1 + 3 * k, 2 + k, 6, 9 + k), k % 2) for k in range(3)]
        for pid in range(1, num + 1)
    }


def cuhk03(root: Path) -> Path:
    """cuhk-03.mat: pictures of 5x3 pixels; every third cell of `detected` and every fifth of `labeled` is empty."""
    root.mkdir(parents=True)
    with h5py.File(root / "cuhk-03.mat", "w") as file:
        for kind, every in (("detected", 3), ("labeled", 5)):
            pairs = file.create_dataset(kind, (1, len(PAIRS)), h5py.ref_dtype)
            for pair, people in enumerate(PAIRS):
                cells = file.create_dataset(f"#refs#/{kind}{pair}", (10, people), h5py.ref_dtype)  # MATLAB: people x 10
                for number, person in np.ndindex(10, people):
                    empty = (number + person) % every == 0
                    picture = drawn(5, 3, seed=1_000 * pair + 100 * person + number).transpose(2, 1, 0)
                    data = np.zeros(2, np.uint64) if empty else picture
                    place = f"#refs#/{kind}{pair}_{person}_{number}"
                    cells[number, person] = file.create_dataset(place, data=data).ref
                pairs[0, pair] = cells.ref
    return root / "cuhk-03.mat"
