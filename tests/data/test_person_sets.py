"""What holds for every person set: the order of a folder and the hash seed change nothing, and one set is read alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from person_trees import plant, tiny_cuhk02, tiny_cuhk03, tiny_market_like, tiny_msmt17

TREES = {
    "market1501": lambda root: plant(root / "Market-1501-v15.09.15", MARKET),
    "dukemtmc": lambda root: plant(root / "DukeMTMC-reID", MARKET),
    "msmt17": tiny_msmt17,
    "cuhk01": lambda root: plant(root / "campus", (f"{p:04d}00{n}.png" for p in range(1, 9) for n in range(1, 5))),
    "cuhk02": lambda root: tiny_cuhk02(root / "cuhk02"),
    "cuhk03": tiny_cuhk03,
    "cuhk_sysu": lambda root: plant(root / "cuhksysu" / "cropped_images", (f"p{i}_s{i}_1.jpg" for i in range(1, 30))),
}
MARKET = [
    f"{part}/{start + pid:04d}_c{camid}_1.jpg"
    for part, start in (("bounding_box_train", 1), ("query", 101), ("bounding_box_test", 101))
    for pid in range(8)
    for camid in (1, 2)
]
# One process a set and a seed: what was listed, and what it had to import for it.
LIST = """
import json, os, random, sys
from importlib import import_module
name, root, seed = sys.argv[1:]
scandir = os.scandir

class Shuffled:
    def __init__(self, path):
        with scandir(path) as entries:
            self.entries = list(entries)
        random.Random(seed).shuffle(self.entries)
    def __enter__(self):
        return self.entries
    def __exit__(self, *error):
        pass

os.scandir = Shuffled
load = import_module(f"reid.data.datasets.{name}").load
loaded = load(root, check_counts=False, **({"all": True} if name == "cuhk03" else {}))
heavy = [m for m in ("torch", "cv2", "scipy", "h5py") if m in sys.modules]
sets = [m for m in sys.modules if m.startswith("reid.data.datasets.") and not m.split(".")[-1].startswith("_")]
from reid.data import sources
lists = [loaded.train, *([trial.query, trial.gallery] for trial in loaded.trials)]
print(json.dumps({"lists": lists, "labels": sources.join([loaded]).label_map(), "imported": heavy + sets}))
"""


def listing(name: str, root: Path, seed: str) -> dict:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", LIST, name, str(root), seed]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("name", TREES)
def test_a_person_set_is_the_same_under_any_hash_seed_and_order_of_its_folders(tmp_path, name):
    TREES[name](tmp_path)
    first, second = (listing(name, tmp_path, seed) for seed in "01")
    assert first == second
    assert len(first["labels"][name]) > 1
    assert first["imported"] == [f"reid.data.datasets.{name}"]


def test_msmt17_repacked_is_the_same_under_any_order_of_its_folders(tmp_path):
    tiny_market_like(tmp_path / "MSMT17")
    first, second = (listing("msmt17", tmp_path, seed) for seed in "01")
    assert first == second
    assert first["labels"] == {"msmt17": [10_000, 10_001]}
