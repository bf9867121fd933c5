"""`reid.load`: a checkpoint and every kind of export give the same vectors, and what does not fit is answered."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cases import CHECKOUT, restored, target

import reid
from reid.builder import exports, objects
from reid.data.loader import read_image
from reid.evaluation.embed import embed
from reid.export import card as cards


def test_checkpoint_and_every_format_embed_alike(made, paths):
    folder = made("plain")
    expected = reid.load(folder / "model_final.pth").embed(paths)
    assert (expected.shape, expected.dtype) == ((16, 128), np.float32)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-6)
    for name in ("", "model.onnx", "model.pt2", "model.torchscript"):
        model = reid.load(folder / "export" / name)
        assert not model.asymmetric
        np.testing.assert_allclose(model.embed(paths, batch_size=7), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", ["plain", "pair"])
def test_checkpoint_gives_the_vectors_that_are_scored(made, case):
    cfg, method = restored(made(case))
    model = reid.load(made(case) / "model_final.pth", device="cpu")
    samples = target(made(case)).trials[0].query
    for side, encode in (("query", method.encode_query), ("gallery", method.encode_gallery)):
        expected = embed(encode, samples, transform=objects.test_transform(cfg))
        found = model.embed([sample.path for sample in samples], side=side)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-6)


def test_checkpoint_has_its_torch_module_and_an_export_says_that_it_has_none(made):
    encoder = reid.load(made("plain") / "model_final.pth", device="cpu").encoder
    assert isinstance(encoder, torch.nn.Module)
    assert not encoder.training
    with pytest.raises(AttributeError, match="an export; expected a checkpoint"):
        _ = reid.load(made("plain") / "export").encoder


def test_arrays_of_any_size_are_taken_like_files(made, paths):
    model = reid.load(made("plain") / "export")
    arrays = [read_image(path) for path in paths[:3]]
    np.testing.assert_array_equal(model.embed(arrays), model.embed([Path(path) for path in paths[:3]]))
    np.testing.assert_array_equal(model.embed(np.stack(arrays)), model.embed(arrays))
    mixed = model.embed([arrays[0][:40], paths[0]])
    assert mixed.shape == (2, 128)
    assert model.embed([]).shape == (0, 128)


def test_similarity_takes_a_as_queries_and_b_as_gallery(made, paths):
    model = reid.load(made("pair") / "export")
    assert model.asymmetric
    query, gallery = model.embed(paths[:4], side="query"), model.embed(paths[:6], side="gallery")
    found = model.similarity(paths[:4], paths[:6])
    assert (found.shape, found.dtype) == ((4, 6), np.float32)
    np.testing.assert_array_equal(found, model.similarity(query, gallery))
    # The embedding, and two columns that the sides have in another order: -|x|^2 / 2 and 1.
    expected = query[:, :-2] @ gallery[:, :-2].T + query[:, -2:-1] + gallery[:, -1:].T
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_import_is_light_and_an_onnx_export_needs_no_torch(made, paths):
    program = (
        "import sys, reid; assert not {'numpy', 'cv2', 'torch'} & set(sys.modules); "
        "model = reid.load(sys.argv[1]); print(model.similarity(sys.argv[2:], sys.argv[2:]).shape, model); "
        "assert not {'torch', 'faiss', 'tqdm', 'yaml'} & set(sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(made("plain") / "export" / "model.onnx"), *paths[:2]]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(2, 2) <baseline on tiny from onnx, 128-d>\n"), done.stderr


def shown(words: str) -> str:
    """The one block of Python on the page of exports that has these words."""
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs" / "export.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if words in block]
    return block


def test_lines_of_the_page_do_what_they_say(made, paths, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").symlink_to(made("plain"))
    (tmp_path / "people").mkdir()
    for name, path in zip(("a", "b", "c"), (paths[0], paths[4], paths[4]), strict=True):
        shutil.copy(path, tmp_path / "people" / f"{name}.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(shown("people/a.jpg"), names)
    assert names["vectors"].shape == (2, 128)
    assert names["scores"].shape == (1, 2)
    assert names["best"] == 1


@pytest.mark.parametrize("case", ["plain", "pair", "dimn"])
def test_an_export_scores_what_its_checkpoint_scored_by_the_lines_of_the_page(made, tmp_path, monkeypatch, case):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").symlink_to(made(case))
    monkeypatch.chdir(tmp_path)
    names = {"reid": reid}
    exec(shown("reid.evaluation.rank"), names)
    rows = [json.loads(line) for line in (made(case) / "results.jsonl").read_text().splitlines()]
    (scored,) = [row for row in rows if row["kind"] == "dataset" and row["role"] == "target"]
    found = names["found"][scored["dataset"]]
    assert found.cmc[0] == pytest.approx(scored["R1"], abs=1e-3)
    assert found.mAP == pytest.approx(scored["mAP"], abs=1e-3)


# ---- what is refused


def test_onnx_export_without_onnxruntime_says_what_to_install(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"onnx: needs onnxruntime, .*pip install onnx onnxscript onnxruntime"):
        reid.load(made("plain") / "export")
    assert reid.load(made("plain") / "export" / "model.pt2").dim == 128


def test_checkpoint_of_another_version_is_refused(made, tmp_path):
    content = torch.load(made("plain") / "model_final.pth", weights_only=True)
    torch.save({**content, "version": 99}, tmp_path / "old.pth")
    for use in (lambda path: exports.export(path, tmp_path / "export"), reid.load):
        with pytest.raises(ValueError, match="format version 99; this release reads the versions 1 and 2"):
            use(tmp_path / "old.pth")
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.pth"):
        reid.load(tmp_path / "gone.pth")


def edit(folder: Path, **changes) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


def edit_part(folder: Path, part: str, **changes) -> None:
    edit(folder, **{part: {**json.loads((folder / "card.json").read_text())[part], **changes}})


def foreign_graph(folder: Path) -> None:
    """A file that is no graph, of which the card says that it is."""
    (folder / "model.onnx").write_bytes(b"hello")
    (graph,) = [one for one in json.loads((folder / "card.json").read_text())["graphs"] if one["format"] == "onnx"]
    edit(folder, graphs=[{**graph, "files": {"model.onnx": cards.sha256(folder / "model.onnx")}}])


def spoil_graph(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "file", "message"),
    [
        (spoil_graph, "", r"model\.onnx is not the graph of its card: found sha256 \w{16}, expected \w{16}"),
        (lambda f: (f / "model.onnx").unlink(), "", r"found sha256 no such file, expected \w{16}"),
        (lambda f: edit(f, version=2), "", "format version 2; this release reads version 1"),
        (lambda f: edit(f, format="mine"), "model.onnx", "is not a card of this toolkit"),
        (lambda f: (f / "card.json").write_text("{"), "", "is not JSON"),
        (lambda f: (f / "card.json").write_text("[" * 100_000), "", "is not JSON"),
        (
            lambda f: edit(f, input={"size": [32, 16]}),
            "",
            r"malformed: input\.channels is missing; .*export the checkpoint",
        ),
        (lambda f: edit(f, graphs=[]), "", r"malformed: its graphs are of the sides \[\], expected \['both'\]"),
        (lambda f: edit(f, graphs=[{"format": "onnx"}]), "", r"graphs\.0\.differences is missing"),
        (lambda f: edit(f, asymmetric=True), "", r"of the sides \['both'\], expected \['gallery', 'query'\]"),
        (lambda f: edit(f, training=None), "model.onnx", "training is of type NoneType, expected dict"),
        (
            lambda f: edit_part(f, "output", dim=7),
            "",
            r"gives float32 \(1, 128\) for a black picture; expected .*\(1, 7\)",
        ),
        (lambda f: edit_part(f, "input", size=[32, 10**9]), "", r"input\.size is \[32, 1000000000\], expected"),
        (
            lambda f: edit_part(f, "input", size=[32, 17]),
            "",
            r"model\.onnx cannot be run \(.*\); export the checkpoint again",
        ),
        (lambda f: edit_part(f, "input", crop="half"), "", r"input\.crop is of type str, expected float"),
        (lambda f: edit_part(f, "input", normalise={"scale": 255, "mean": [0.5], "std": [1]}), "", "three channels"),
        (lambda f: edit_part(f, "training", method={}), "", r"training\.method is \{\}, expected a NAME"),
        (foreign_graph, "", r"model\.onnx cannot be run \(.*\); export the checkpoint again"),
        (lambda f: (f / "card.json").unlink(), "model.onnx", r"found no .*card\.json; expected a folder written by"),
        (lambda f: shutil.copy(f / "model.onnx", f / "b.onnx"), "b.onnx", r"b\.onnx is not in the card .* model\.onnx"),
        (lambda f: (f / "b.tflite").write_text(""), "b.tflite", r"expected \.pth, \.onnx, \.pt2, \.torchscript, \.xml"),
        (lambda f: None, "gone.onnx", r"gone\.onnx is not in the card"),
    ],
)
def test_export_that_does_not_fit_its_card_is_refused(copied, spoil, file, message):
    spoil(copied)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        reid.load(copied / file)
    assert "\n" not in str(error.value)


def test_card_of_release_0_1_0_is_read(copied, paths):
    content = json.loads((copied / "card.json").read_text())
    for part, name in (
        ("input", "inside"),
        ("training", "plugins"),
        ("training", "norms"),
        ("training", "average"),
        ("training", "processes"),
    ):
        del content[part][name]
    (copied / "card.json").write_text(json.dumps(content))
    assert reid.load(copied).embed(paths[:1]).shape == (1, 128)


def test_device_of_an_export_is_not_ignored(made):
    with pytest.raises(ValueError, match="device cuda is for checkpoints"):
        reid.load(made("plain") / "export", device="cuda")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("notes.txt", r"notes\.txt: found 5 bytes that are no picture"),
        ("empty.jpg", r"empty\.jpg: found 0 bytes that are no picture"),
        ("gone.jpg", r"gone\.jpg: found no such file, expected a picture"),
        (np.zeros((4, 4, 3)), r"picture 1 is a float64 array \(4, 4, 3\); expected uint8 \(H, W, 3\) RGB"),
        (np.zeros((4, 4), np.uint8), r"picture 1 is a uint8 array \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"picture 1 is a uint8 array \(0, 4, 3\)"),
    ],
)
def test_what_is_no_picture_is_named(made, paths, tmp_path, picture, message):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    picture = tmp_path / picture if isinstance(picture, str) else picture
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        reid.load(made("plain") / "export").embed([paths[0], picture])


def test_wrong_calls_are_answered(made, paths):
    model = reid.load(made("plain") / "export")
    with pytest.raises(ValueError, match="embed: no side probe; there are query, gallery"):
        model.embed(paths[:1], side="probe")
    with pytest.raises(ValueError, match=r"found the single path .*; expected a list"):
        model.embed(paths[0])
    with pytest.raises(ValueError, match=r"found vectors \(2, 5\) for the gallery; expected \(N, 128\)"):
        model.similarity(paths[:1], np.zeros((2, 5), np.float32))
