"""20,000 drawn crops in nested folders, ten of them bad: embedded, killed twice and continued, searched, cleared of a person."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from stores import everything

from reid.vectors import search
from reid.vectors.milvus import Collection
from reid.vectors.search import Filter
from reid.vectors.store import Store

pytestmark = pytest.mark.slow

NUM, PERSONS, CAMERAS, SHARD = 20_000, 400, 8, 1024
GONE = "p007"
PATTERN = r"(?P<camera>c\d)/(?P<person>p\d+)/(?P<time>\d+)_"
BAD = [
    b"",
    b"no picture",
    b"<html>not found</html>",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0" + bytes(100),
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n" + bytes(200),
    b"BM" + bytes(20),
    b"RIFF\x00\x00\x00\x00WEBP",
    bytes(range(256)) * 40,
]


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    """c3/p012/000345_0.png: two colours a person, under each camera's light, and grain; the bad ones among them."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    colours = rng.integers(20, 236, (PERSONS, 2, 3))
    light = rng.uniform(0.8, 1.2, (CAMERAS, 3))
    for i in range(NUM):
        person, camera = i % PERSONS, i // PERSONS % CAMERAS
        place = folder / f"c{camera}" / f"p{person:03d}"
        place.mkdir(parents=True, exist_ok=True)
        number = i // 1000
        if i % 2000 == 1999:
            (place / f"{number:06d}_{i}.jpg").write_bytes(BAD[i // 2000])
            continue
        image = np.repeat(colours[person], 16, axis=0)[:, None] * light[camera] + rng.normal(0, 12, (32, 16, 3))
        assert cv2.imwrite(str(place / f"{number:06d}_{i}.png"), np.clip(image, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def whole(crops, trained, tmp_path_factory) -> Path:
    """Embedded without a break."""
    output = tmp_path_factory.mktemp("whole") / "v"
    assert embedding(crops, trained, output).wait() == 0
    return output


def embedding(crops: Path, trained: Path, output: Path) -> subprocess.Popen:
    words = ["embed", crops, "--model", trained / "export", "--output", output, "--pattern", PATTERN, "--shard", SHARD]
    return subprocess.Popen([sys.executable, "-m", "reid", *map(str, words)], stderr=subprocess.DEVNULL)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_killed_twice_and_continued_leaves_the_bytes_of_an_unbroken_run(crops, trained, whole, tmp_path):
    for shards in (4, 11):
        process = embedding(crops, trained, tmp_path / "v")
        while len(list((tmp_path / "v").glob("[0-9]*.npz"))) < shards:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Store.open(tmp_path / "v").missing()
    assert embedding(crops, trained, tmp_path / "v").wait() == 0
    assert contents(tmp_path / "v") == contents(whole)
    refused = (whole / "refused.csv").read_text().splitlines()[1:]
    assert len(refused) == len(BAD)
    assert Store.open(whole).num_rows == NUM - len(BAD)


FILTERS = [
    Filter(),
    Filter(cameras=["c2", "c5"]),
    Filter(start=3, end=9),
    Filter(["c1"], start=5, persons=["p007", "p011"]),
]


def check_search(store: Store, find) -> None:
    """What `find` gives is a sort of all scores in float64, but for scores that round alike."""
    vectors, columns = everything(store)
    for keep in FILTERS:
        mask = keep.mask(columns)
        scores = vectors[:40].astype(np.float64) @ vectors[mask].astype(np.float64).T
        own = np.concatenate([search.ids(number, shard.columns) for number, shard in store.shards()])[mask]
        found = find(vectors[:40], 10, keep)
        np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :10], atol=1e-5)
        places = np.searchsorted(own, found.ids)
        np.testing.assert_array_equal(own[places], found.ids)
        np.testing.assert_allclose(np.take_along_axis(scores, places, 1), found.scores, atol=1e-5)


def persons_found(hits) -> set[str]:
    return {hit.row.person for hit in hits.values()}


def test_searched_and_cleared_of_a_person(whole, call, tmp_path):
    output = tmp_path / "v"
    output.mkdir()
    for name, content in contents(whole).items():
        (output / name).write_bytes(content)
    store = Store.open(output)
    check_search(store, lambda *words: search.exact(store, *words))
    assert f"hnsw over {NUM - len(BAD):,} rows" in call("index", output, "--kind", "hnsw")
    vectors, columns = everything(store)
    gone = columns["person"] == GONE
    paths = columns["path"][gone].tolist()
    assert len(paths) == NUM // PERSONS
    assert f"{NUM // PERSONS} rows removed" in call("index", output, "--remove-person", GONE, "--compact")
    found = search.exact(store, vectors[gone], 100)
    assert GONE not in persons_found(search.hits(store, found.ids))
    needles = [vector.tobytes() for vector in vectors[gone]]
    needles += [f"/{GONE}/".encode(), GONE.encode("utf-32-le")]
    for name, content in contents(output).items():
        assert not [needle for needle in needles if needle in content], name


def test_searched_and_cleared_of_a_person_on_milvus_lite(lite, whole):
    store = Store.open(whole)
    collection = Collection.open(f"milvus:{lite}#at_size", store)
    assert collection.add(store) == NUM - len(BAD)
    check_search(store, lambda *words: collection.find(*words)[0])
    vectors, columns = everything(store)
    gone = columns["person"] == GONE
    assert collection.remove(persons=[GONE]) == gone.sum() == NUM // PERSONS
    assert GONE not in persons_found(collection.find(vectors[gone], 100)[1])
    collection.compact()
    assert collection.num_rows == store.num_rows - gone.sum()
