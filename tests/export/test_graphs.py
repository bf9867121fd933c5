"""What an export writes: graphs that give torch's vectors, a card that is true, and nothing where either fails."""

import json
import re
import runpy
import shutil
import sys
import zipfile

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cases import CASES, CHECKOUT, restored, target

import reid
from reid import checkpoint, config
from reid.builder import exports, objects
from reid.data.loader import image_batches, read_image
from reid.evaluation import rank
from reid.export import card as cards
from reid.export import folder, trackers
from reid.export.folder import LIMIT
from reid.methods.baseline import Baseline

MEAN, STD = (np.array(v, np.float32)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@pytest.mark.parametrize(
    ("case", "file", "prepare"),
    [
        ("plain", "model.onnx", lambda x: (x / np.float32(255) - MEAN) / STD),
        ("pair", "query.onnx", lambda x: x / np.float32(255)),
        ("pair", "gallery.onnx", lambda x: x / np.float32(255)),
        ("dimn", "query.onnx", lambda x: (x / np.float32(255) - MEAN) / STD),
        ("dimn", "gallery.onnx", lambda x: (x / np.float32(255) - MEAN) / STD),
        ("mobilenet", "model.onnx", lambda x: x),
    ],
)
def test_onnx_equals_torch_in_batches_of_any_size(made, case, file, prepare):
    cfg, method = restored(made(case))
    samples = target(made(case)).trials[0].query
    session = onnxruntime.InferenceSession(made(case) / "export" / file, providers=["CPUExecutionProvider"])
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("images", ["batch", 3, *cfg.INPUT.SIZE])
    assert (taken.name, taken.shape[0], taken.type) == ("embeddings", "batch", "tensor(float)")
    encode = method.encode_gallery if file == "gallery.onnx" else method.encode_query
    for size in (1, 3, 16):
        (images,) = image_batches(samples[:size], objects.test_transform(cfg), batch_size=size, workers=0)
        with torch.no_grad():
            expected = encode(images).numpy()
        (found,) = session.run(["embeddings"], {"images": prepare(np.ascontiguousarray(images.numpy()))})
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, abs(expected).max()))


@pytest.mark.parametrize("case", CASES)
def test_rank1_and_map_through_onnxruntime_are_those_of_the_run(made, case):
    model = reid.load(made(case) / "export")
    (trial,) = target(made(case)).trials
    query, gallery = (
        model.embed([sample.path for sample in samples], side=side)
        for samples, side in ((trial.query, "query"), (trial.gallery, "gallery"))
    )
    scores = rank.score(query, gallery, rank.Ids.of(trial.query), rank.Ids.of(trial.gallery))
    row = json.loads((made(case) / "results.jsonl").read_text().splitlines()[-1])
    assert scores.cmc[0] == row["R1"]
    assert scores.mAP == pytest.approx(row["mAP"], abs=1e-12)


def test_opset_is_the_one_asked_for(made):
    for case, opset in (("plain", 18), ("pair", 20)):
        for file in (made(case) / "export").glob("*.onnx"):
            (imported,) = onnx.load(file).opset_import
            assert imported.version == opset


def test_no_path_of_this_machine_is_in_the_files(made):
    for file in [*(made("plain") / "export").iterdir(), *(made("pair") / "export").iterdir()]:
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents += [archive.read(name) for name in archive.namelist()]
        for content in contents:
            assert not re.search(rb"site-packages|" + re.escape(str(CHECKOUT).encode()), content), file


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning")
def test_nothing_of_training_is_in_the_files(made):
    assert {"losses.softmax.weight", "queues.before.units"} <= restored(made("plain"))[1].state_dict().keys()
    folder = made("plain") / "export"
    weights = {tuple(weight.dims) for weight in onnx.load(folder / "model.onnx").graph.initializer}
    assert not {shape for shape in weights if shape and shape[0] in (20, 40)}
    for state in (
        torch.export.load(folder / "model.pt2").state_dict,
        torch.jit.load(folder / "model.torchscript").state_dict(),
    ):
        assert len(state) > 20
        assert not [key for key in state if "losses" in key or "queues" in key]


def test_card_says_what_a_user_of_the_vectors_must_know(made, tiny_world):
    folder = made("plain") / "export"
    card = json.loads((folder / "card.json").read_text())
    assert card["input"]["size"] == [32, 16]
    assert card["input"]["normalise"] == {"scale": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert card["output"] == {
        "name": "embeddings",
        "dim": 128,
        "unit_length": True,
        "score": "inner product",
        "flip": False,
    }
    assert card["check"]["pictures"] == "8 pictures of target"
    assert [graph["format"] for graph in card["graphs"]] == ["onnx", "pt2", "torchscript"]
    for graph in card["graphs"]:
        assert len(graph["differences"]) == 3
        assert max(graph["differences"]) <= LIMIT
        for name, sha in graph["files"].items():
            assert cards.sha256(folder / name) == sha
    training = card["training"]
    rows = [json.loads(line) for line in (made("plain") / "results.jsonl").read_text().splitlines()]
    assert training["results"] == [row for row in rows if row["kind"] != "trial"]
    assert {row["fingerprint"] for row in rows} == {training["fingerprint"]}
    assert [source["terms"] for source in training["sources"]] == ["not known to this toolkit"] * 2
    text = (folder / "card.json").read_text() + (folder / "card.md").read_text()
    assert str(tiny_world) not in text
    assert "label_map" not in text
    assert f"| target | target | {100 * rows[-1]['R1']:.1f} |" in text


def test_card_says_how_far_a_tracker_that_resizes_bilinearly_is_off(made):
    """In words of this test: the target's pictures at odd sizes, through torch, by both ways."""
    assert json.loads((made("plain") / "export" / "card.json").read_text())["bilinear"] == {"mean": 1.0, "least": 1.0}
    _, method = restored(made("pair"))  # it takes the middle of a larger picture
    samples = target(made("pair")).trials[0].query
    cosines = []
    for i, (height, width) in enumerate(trackers.SIZES):
        picture = read_image(samples[i * len(samples) // 8].path)
        flags = cv2.INTER_AREA if height * width < picture.shape[0] * picture.shape[1] else cv2.INTER_LINEAR
        picture = cv2.resize(picture, (width, height), interpolation=flags)
        whole = cv2.resize(picture, (20, 40), interpolation=cv2.INTER_LINEAR)[4:36, 2:18]
        images = np.stack([whole, cv2.resize(picture, (16, 32), interpolation=cv2.INTER_LINEAR)])
        with torch.no_grad():
            rows = method.encoder(torch.from_numpy(images).permute(0, 3, 1, 2))["after"]
        cosines.append(torch.cosine_similarity(rows[:1], rows[1:]).item())
    card = json.loads((made("pair") / "export" / "card.json").read_text())
    assert card["bilinear"]["mean"] == pytest.approx(np.mean(cosines), abs=1e-4)
    assert card["bilinear"]["least"] == pytest.approx(min(cosines), abs=1e-4)
    assert card["bilinear"]["least"] < 0.999
    assert f"{card['bilinear']['least']} at least, from these" in (made("pair") / "export" / "card.md").read_text()


@pytest.mark.parametrize(("least", "warned"), [(0.9899, True), (0.99, False)])
def test_below_a_cosine_of_0_99_the_export_warns(made, writes, tmp_path, monkeypatch, capsys, least, warned):
    monkeypatch.setattr(trackers, "compare", lambda *_: {"mean": 0.995, "least": least})
    exports.export(made("plain") / "model_final.pth", tmp_path / "export")
    said = capsys.readouterr().err
    assert f"resize bilinearly: 0.995 in the mean, {least} at least" in said
    assert ("warning: " in said) == warned


def test_card_of_an_instance_normalised_pair(made):
    card = json.loads((made("pair") / "export" / "card.json").read_text())
    assert card["input"]["normalise"] == {"scale": 255, "mean": [0, 0, 0], "std": [1, 1, 1]}
    assert card["input"]["inside"] is None
    assert "nothing more; each picture is normalised by itself inside" in card["input"]["values"]
    assert [(g["side"], *g["files"]) for g in card["graphs"]] == [("query", "query.onnx"), ("gallery", "gallery.onnx")]
    assert (card["output"]["unit_length"], card["output"]["flip"], card["asymmetric"]) == (False, True, True)
    markdown = (made("pair") / "export" / "card.md").read_text()
    assert "a query's from `query`, a gallery picture's from `gallery`" in markdown
    assert "the middle of a picture resized to 1 / 0.8" in markdown


def test_input_travels_inside_the_onnx_file(made):
    session = onnxruntime.InferenceSession(
        made("mobilenet") / "export" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    inside = json.loads(session.get_modelmeta().custom_metadata_map["reid.input"])
    assert (inside["type"], inside["channels"], inside["normalise"]) == ("uint8", "RGB", None)
    assert inside["inside"] == {"mean": [0.5, 0.4, 0.3], "std": [0.229, 0.224, 0.225]}  # the run's own mean
    page = (made("mobilenet") / "export" / "card.md").read_text()
    assert "- applied inside: mean 0.5, 0.4, 0.3, std 0.229, 0.224, 0.225, of values in 0..1" in page


def test_terms_of_a_source_need_no_pictures():
    source = exports._source({"NAME": "market1501", "ALL": True})
    assert source["name"] == "market1501 ALL True"
    assert "research only" in source["terms"]


# ---- what is refused


def export_net(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["export_net.py", *words])
    runpy.run_path(str(CHECKOUT / "tools" / "export_net.py"), run_name="__main__")


@pytest.mark.parametrize(("factor", "shown"), [(1.5, r"\d\.\de[-+]\d\d"), (float("nan"), "nan")])
def test_graph_that_is_not_torchs_is_refused_and_what_was_there_is_kept(
    made, copied, writes, monkeypatch, capsys, factor, shown
):
    before = {path.name: path.read_bytes() for path in copied.iterdir()}
    writes.factor = np.float32(factor)
    with pytest.raises(SystemExit, match="2"):
        export_net(monkeypatch, "--weights", str(made("plain") / "model_final.pth"), "--output", str(copied))
    error = capsys.readouterr().err.splitlines()[-1]
    assert re.search(rf"differ from torch's by {shown}, expected at most 1e-04", error), error
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
    with pytest.raises(ValueError, match="differ from torch's"):
        exports.export(made("plain") / "model_final.pth", copied.parent / "new")
    assert not (copied.parent / "new").exists()


def test_without_a_target_on_disk_drawn_pictures_are_used_and_the_card_tells_what_was_scored_and_by_whom(
    made, writes, tmp_path
):
    shutil.copy(made("plain") / "model_final.pth", tmp_path)
    content = checkpoint.load(tmp_path / "model_final.pth")
    cfg = config.parse(content["config"], ["DATASETS.ROOT", str(tmp_path / "nothing")])
    checkpoint.save(tmp_path / "model_final.pth", {**content, "config": config.dump(cfg), "processes": 2})
    card = exports.export(tmp_path / "model_final.pth", tmp_path / "export")
    assert card["check"]["pictures"] == "8 drawn patches of colour (no target on disk)"
    assert card["training"]["results"] == []
    assert card["training"]["processes"] == 2
    text = (tmp_path / "export" / "card.md").read_text()
    assert "Not scored" in text
    assert "steps on 2 processes, " in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ["onnx", "tflite"]}, "--format: no tflite; there are onnx, pt2, torchscript, openvino"),
        ({"formats": []}, "--format: no name given; there are onnx"),
        ({"input_kind": "half"}, "--input: no half; there are float, uint8"),
        ({"opset": 16}, r"--opset: found 16; expected 17 to \d\d"),
        ({"opset": 99}, r"--opset: found 99; expected 17 to \d\d"),
        ({"bits": "int4"}, "--precision: no int4; there are fp32, fp16, int8"),
        (
            {"bits": "int8", "formats": ["onnx", "pt2"]},
            "found int8 for the format pt2, which has none; expected onnx, ope",
        ),
        (
            {"bits": "fp16", "formats": ["torchscript"]},
            "found fp16 for the format torchscript, which has none; expected onnx",
        ),
        ({"bits": "int8", "calibrate": 31}, "--calibrate: found 31 pictures, expected 32 or more"),
    ],
)
def test_request_that_cannot_be_met_is_one_line_before_any_work(tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as error:
        exports.export("no_such_file.pth", tmp_path / "export", **options)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "export").exists()


def test_method_whose_score_is_no_inner_product_is_refused(made, tmp_path, monkeypatch):
    weights = made("plain") / "model_final.pth"
    monkeypatch.setattr(Baseline, "inner_product", False)
    for refused in (lambda: exports.export(weights, tmp_path / "export"), lambda: reid.load(weights)):
        with pytest.raises(ValueError, match="Baseline: its score is no inner product of two vectors"):
            refused()
    _, method = restored(made("plain"))
    with pytest.raises(ValueError, match="Baseline: its score is no inner product"):
        folder.write(method, tmp_path / "export", pictures=torch.zeros(8, 3, 32, 16, dtype=torch.uint8), about={})
    assert not (tmp_path / "export").exists()


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "export").write_text("mine")
    with pytest.raises(ValueError, match=r"--output: found the file .*export; expected a folder"):
        exports.export("no_such_file.pth", tmp_path / "export")
    assert (tmp_path / "export").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("onnx", "onnxscript", r"onnx: needs onnxscript, not installed here; pip install onnx onnxscript onnxruntime"),
        ("openvino", "openvino", r"openvino: needs openvino, not installed here; pip install .* openvino"),
    ],
)
def test_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch, name, package, message):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=message):
        exports.export("no_such_file.pth", tmp_path / "export", formats=[name])
