"""Embedding a source into a store: every row kept, bad files listed, killed and continued to equal bytes."""

import errno
import json
import multiprocessing
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid.data import files
from reid.export.model import Model
from reid.vectors import embed, sources
from reid.vectors.store import Store, input_of

IDENTITY = {
    "sha256": "a" * 64,
    "about": "mean colours",
    "path": "/m.pth",
    "preprocessing": {"size": [4, 4]},
    "terms": [],
    "calibration": [],
}


def mean_colours(images: np.ndarray) -> np.ndarray:
    """(B, 3, H, W) -> (B, 3): the means; NaN for a picture whose mean red is 250."""
    rows = images.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)
    rows[rows[:, 0] == 250] = np.nan
    return rows


def model(encode=mean_colours, **changes) -> Model:
    def shrink(image):
        return cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA)

    sides = {"query": encode, "gallery": encode}
    return Model(sides, shrink, dim=3, identity=lambda: {**IDENTITY, **changes})


@pytest.fixture
def tree(tmp_path) -> Path:
    """97 pictures in nested folders, number i of red i, and four that are bad, one of them by its vector."""
    folder = tmp_path / "tree"
    for number in range(97):
        path = folder / f"p{number % 7}" / f"c{number % 3}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((8, 6, 3), (9, 200, number), np.uint8))
    assert cv2.imwrite(str(folder / "nan.png"), np.full((8, 6, 3), 250, np.uint8))
    (folder / "p0" / "text.jpg").write_text("text")
    (folder / "p6" / "z.jpg").write_bytes(b"")
    (folder / "p3" / "gone.png").symlink_to(folder / "nowhere.png")
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_every_picture_has_its_vector_and_what_is_known_of_it(tree, tmp_path):
    source = sources.find(tree, pattern=r"p(?P<person>\d)/c(?P<camera>\d)/(?P<time>\d+)")
    store = model().embed_many(source, tmp_path / "v", batch_size=4, shard=10)
    assert store.numbers() == list(range(11))
    seen = []
    for number, shard in store.shards():
        for i, path in enumerate(shard.columns["path"].tolist()):
            red = int(Path(path).stem)
            np.testing.assert_allclose(shard.vectors[i], (red, 200, 9))
            found = {name: shard.columns[name][i] for name in ("person", "camera", "time", "track", "position")}
            assert found["person"] == str(red % 7)
            assert (found["camera"], found["time"], found["track"]) == (str(red % 3), red, "")
            assert source.rows[found["position"]].path == path
            seen.append(path)
        assert input_of(store.header, number)["root"] == str(tree)
    assert sorted(seen) == seen
    assert len(seen) == 97


def test_bad_files_cost_no_other_and_are_listed_with_reasons(tree, tmp_path):
    # One shard, in which those that are found at once come before those that a batch finds.
    store = model().embed_many(tree, tmp_path / "v", shard=101)
    assert (store.folder / "refused.csv").read_text().splitlines() == [
        "path,reason",
        "nan.png,its vector is not finite: look at the picture and the weights",
        "p0/text.jpg,4 bytes that are no picture OpenCV can decode",
        "p3/gone.png,no such file",
        "p6/z.jpg,zero bytes",
    ]
    assert sum(len(shard.vectors) for _, shard in store.shards()) == 97


def test_shards_are_plain_numpy_archives_with_vectors_mapped_from_disk(tree, tmp_path):
    store = model().embed_many(tree, tmp_path / "v", shard=50)
    with np.load(store.path(1)) as file:
        vectors, paths = file["vectors"], file["path"]
    shard = store.read(1)
    assert isinstance(shard.vectors, np.memmap)
    np.testing.assert_array_equal(shard.vectors, vectors)
    assert shard.columns["path"].tolist() == paths.tolist()


def killed(tree: Path, output: Path, after: int) -> None:
    """Embeds in a process that is killed while it embeds its batch number `after`."""
    left = [after]

    def encode(images: np.ndarray) -> np.ndarray:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return mean_colours(images)

    process = multiprocessing.get_context("fork").Process(
        target=lambda: model(encode).embed_many(tree, output, batch_size=4, shard=10)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_twice_and_continued_gives_the_bytes_of_an_unbroken_one(tree, tmp_path):
    whole = model().embed_many(tree, tmp_path / "whole", batch_size=4, shard=10)
    broken = tmp_path / "broken"
    for after, shards in ((8, 2), (13, 6)):
        killed(tree, broken, after)
        assert Store.open(broken).numbers() == list(range(shards))
    half = broken / ".000006.npz.123"  # as one that was killed while it wrote
    half.write_bytes(whole.path(6).read_bytes()[:100])
    before = whole.path(2).read_bytes()
    calls = []
    model(lambda images: calls.append(len(images)) or mean_colours(images)).embed_many(
        tree, broken, batch_size=4, shard=10, workers=3
    )
    assert sum(calls) == 101 - 60 - 1  # of the first 60 none again; one of the rest is bad
    assert bytes_of(broken) == bytes_of(whole.folder)
    assert whole.path(2).read_bytes() == before


def test_shares_of_several_processes_are_the_whole(tree, tmp_path, monkeypatch):
    whole = model().embed_many(tree, tmp_path / "whole", shard=10)
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, there in ((2, [2, 5, 8]), (0, [0, 2, 3, 5, 6, 8, 9]), (1, list(range(11)))):
        monkeypatch.setenv("RANK", str(rank))
        store = model().embed_many(tree, tmp_path / "shared", shard=10)
        assert store.numbers() == there
        assert (store.folder / "refused.csv").exists() == (rank == 1)
    assert bytes_of(store.folder) == bytes_of(whole.folder)


def test_a_second_run_does_nothing(tree, tmp_path):
    store = model().embed_many(tree, tmp_path / "v", shard=10)
    before = {path: path.stat().st_mtime_ns for path in store.folder.glob("*.npz")}
    model(lambda images: 1 / 0).embed_many(tree, tmp_path / "v", shard=10)
    assert {path: path.stat().st_mtime_ns for path in store.folder.glob("*.npz")} == before


def test_no_more_pictures_are_held_than_a_few_batches(tree, tmp_path, monkeypatch):
    held, most = [0], [0]

    def prepare(load, transform):
        held[0] += 1
        most[0] = max(most[0], held[0])
        return before(load, transform)

    def encode(images):
        held[0] -= len(images)
        return mean_colours(images)

    before = embed._prepare
    monkeypatch.setattr(embed, "_prepare", prepare)
    model(encode).embed_many(tree, tmp_path / "v", batch_size=4, shard=101, workers=2)
    assert most[0] <= 4 * 4 + 4 + 3  # ahead, a batch in the making, and those that are bad


def test_full_disk_leaves_what_was_written_and_can_be_gone_on_with(tree, tmp_path, monkeypatch):
    real, left = files.write, [4]

    def write(path, content):
        left[0] -= 1
        if left[0] < 0:
            path.with_name(f".{path.name}.1").write_bytes(content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(OSError, match=r"No space left on device\); the 3 shards that are there are whole: make room"):
        model().embed_many(tree, tmp_path / "v", shard=10)
    assert not list((tmp_path / "v").glob(".*"))
    assert sum(len(shard.vectors) for _, shard in Store.open(tmp_path / "v").shards()) == 28
    monkeypatch.setattr(files, "write", real)
    store = model().embed_many(tree, tmp_path / "v", shard=10)
    assert bytes_of(store.folder) == bytes_of(model().embed_many(tree, tmp_path / "w", shard=10).folder)


# ---- what is refused


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"sha256": "b" * 64}, {}, r"another model \(sha256\): aaaaaaaaaaaaaaaa, not bbbbbbbbbbbbbbbb"),
        ({"preprocessing": {"size": [8, 4]}}, {}, r"another preprocessing: {'size': \[4, 4\]}, not"),
        ({}, {"shard": 20}, "another shard: 10, not 20"),
        ({}, {"batch_size": 5}, "another batch: 64, not 5"),
    ],
)
def test_vectors_of_another_model_or_form_are_not_gone_on_with(tree, tmp_path, changes, options, message):
    model().embed_many(tree, tmp_path / "v", shard=10)
    with pytest.raises(ValueError, match=message) as error:
        model(**changes).embed_many(tree, tmp_path / "v", **{"shard": 10, **options})
    assert "\n" not in str(error.value)


def test_another_list_or_side_is_not_gone_on_with(tree, tmp_path):
    model().embed_many(tree, tmp_path / "v", shard=10)
    (tree / "new.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"another list of pictures \(sha256\)"):
        model().embed_many(tree, tmp_path / "v", shard=10)
    (tree / "new.png").unlink()
    pair = Model(
        {"query": mean_colours, "gallery": lambda x: mean_colours(x)}, lambda x: x, dim=3, identity=lambda: IDENTITY
    )
    with pytest.raises(ValueError, match="another side: both, not gallery"):
        pair.embed_many(tree, tmp_path / "v", shard=10)


def test_folder_of_something_else_and_wrong_numbers(tree, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="which holds something else; expected a name that is free"):
        model().embed_many(tree, tmp_path / "v")
    for options in ({"shard": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="expected 1 or more"):
            model().embed_many(tree, tmp_path / "w", **options)
    with pytest.raises(ValueError, match="no side both; there are query, gallery"):
        model().embed_many(tree, tmp_path / "w", side="both")
    with pytest.raises(ValueError, match="made by hand; expected a model that"):
        Model({"query": mean_colours, "gallery": mean_colours}, lambda x: x, dim=3).embed_many(tree, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_damaged_stores_are_named(tree, tmp_path):
    store = model().embed_many(tree, tmp_path / "v", shard=10)
    store.path(3).write_bytes(store.path(3).read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"000003\.npz: found a damaged shard .* delete it and run reid embed again"):
        store.read(3)
    np.savez(store.path(3), **{**np.load(store.path(4)), "vectors": np.zeros((2, 3), np.float32)})
    with pytest.raises(ValueError, match=r"found a damaged shard \(vectors float32 \(2, 3\)\)"):
        store.read(3)
    header = json.loads((store.folder / "header.json").read_text())
    for changed, message in (
        ({**header, "version": 9}, "version 9"),
        ({**header, "dim": "3"}, "dim is of type str, expected int"),
        ([], "is no header"),
    ):
        (store.folder / "header.json").write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=message):
            Store.open(store.folder)
    with pytest.raises(FileNotFoundError, match="expected a folder written by reid embed"):
        Store.open(tree)
