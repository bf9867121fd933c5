"""`reid embed`: a checkpoint and its export give the same rows with the same identity, and mistakes are one line."""

import subprocess
import sys

import numpy as np
import pytest

import reid
from reid.vectors.store import Store

PATTERN = r"(?P<person>-?\d+)_c(?P<camera>\d)"


def rows(folder):
    """The vectors and paths of a store."""
    shards = [shard for _, shard in Store.open(folder).shards()]
    return np.concatenate([s.vectors for s in shards]), [path for s in shards for path in s.columns["path"].tolist()]


def test_vectors_are_those_of_the_model_and_carry_where_they_are_from(trained, tiny_world, call, tmp_path):
    folder = tiny_world / "target" / "bounding_box_test"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_text("no picture")
    (tmp_path / "in" / "people").symlink_to(folder)
    said = call(
        *("embed", tmp_path / "in", "--model", trained / "model_final.pth", "--output", tmp_path / "v"),
        *("--pattern", PATTERN, "--shard", 20, "--batch", 8, "--device", "cpu"),
    )
    vectors, paths = rows(tmp_path / "v")
    assert f"{len(paths)} vectors of 128 numbers" in said
    assert "passed over: 1 pictures; " in said
    assert "bad.png: 10 bytes that are no picture" in said
    model = reid.load(trained / "model_final.pth", device="cpu")
    expected = model.embed([tmp_path / "in" / path for path in paths], side="gallery")
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)
    store = Store.open(tmp_path / "v")
    assert set(store.read(1).columns["camera"].tolist()) == {"1", "2"}
    assert store.header["side"] == "both"
    assert store.header["preprocessing"] == {"size": [32, 16], "interpolation": "bilinear", "crop": 1.0, "flip": False}
    assert [terms["terms"] for terms in store.header["terms"]] == ["not known to this toolkit"] * 2


def test_export_without_torch_gives_the_same_rows_and_goes_on_where_the_checkpoint_left(trained, tiny_world, tmp_path):
    folder, out = tiny_world / "target" / "query", tmp_path / "v"
    words = ["embed", str(folder), "--output", str(out), "--shard", "10", "--model"]
    code = "import sys; from reid.commands import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-W", "error", "-c", code, *words, str(trained / "export")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    store = Store.open(out)
    expected = reid.load(trained / "model_final.pth").embed([folder / path for path in rows(out)[1]])
    np.testing.assert_allclose(rows(out)[0], expected, rtol=0, atol=1e-5)
    store.path(1).unlink()
    again = reid.load(trained / "model_final.pth").embed_many(folder, out, shard=10)
    assert again.missing() == []
    np.testing.assert_allclose(rows(out)[0], expected, rtol=0, atol=1e-5)


def test_query_side_of_a_model_whose_sides_differ(trained, tiny_world, tmp_path, monkeypatch):
    model = reid.load(trained / "export")
    model.sides["gallery"] = lambda images: -model.sides["query"](images)
    folder = tiny_world / "target" / "query"
    stores = [model.embed_many(folder, tmp_path / side, side=side) for side in ("query", "gallery")]
    assert [store.header["side"] for store in stores] == ["query", "gallery"]
    np.testing.assert_array_equal(stores[0].read(0).vectors, -stores[1].read(0).vectors)


def test_mistakes_are_one_line(trained, tiny_world, refused, tmp_path):
    model = ["--model", trained / "export", "--output", tmp_path / "v"]
    assert "found no /nowhere; expected a folder, a list" in refused("embed", "/nowhere", *model)
    assert "no side probe" in refused("embed", tiny_world, *model, "--side", "probe")
    assert "--camera, --start and --first-frame are for a video" in refused("embed", "x.mp4", *model, "--camera", "a")
    assert "--boxes says what is known" in refused("embed", "x.mp4", *model, "--boxes", "b.csv", "--root", ".")
    assert "found no file x.mp4; expected a video" in refused("embed", "x.mp4", *model, "--boxes", "b.csv")
    assert "expected a folder written by reid export" in refused(
        *("embed", tiny_world, "--model", tmp_path, "--output", tmp_path / "v")
    )
    assert not (tmp_path / "v").exists()


@pytest.mark.slow
def test_processes_of_torchrun_share_the_shards(trained, tiny_world, tmp_path):
    words = ["embed", tiny_world / "target", "--model", trained / "model_final.pth", "--shard", 20, "--device", "cpu"]
    reid.load(trained / "model_final.pth", "cpu").embed_many(tiny_world / "target", tmp_path / "one", shard=20)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "reid", *words]
    command += ["--output", tmp_path / "two"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / n).glob("*.npz")} for n in ("one", "two"))
    assert one == two
