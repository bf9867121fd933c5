"""Exports in fp16 and int8, and in an older opset: what they hold, how far they are off, and that everything reads them."""

import copy
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cases import restored, target

import reid
from reid import commands
from reid.builder import exports, runs
from reid.data.loader import read_image
from reid.export import card as cards
from reid.export import graphs, opset, precision, runners
from reid.vectors import search

INT8 = {"bits": "int8", "calibrate": 32}


@pytest.fixture(scope="module")
def lower(made, tiny_world, tmp_path_factory):
    """lower(bits) is the folder of an export of the plain run, each made once: fp16 in opset 17, int8 scored as well."""
    root, done = tmp_path_factory.mktemp("lower"), {}

    def make(bits):
        if bits not in done:
            done[bits] = root / bits
            words = ["DATASETS.ROOT", str(tiny_world), "--weights", str(made("plain") / "model_final.pth")]
            words += ["--output", str(done[bits]), "--precision", bits]
            words += ["--opset", "17"] if bits == "fp16" else ["--calibrate", "32", "--score"]
            commands.main(["export", *words])
        return done[bits]

    return make


def card_of(folder):
    return json.loads((folder / "card.json").read_text())


def cosines(one, other):
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize(("bits", "least"), [("fp16", 0.9999), ("int8", 0.9)])
def test_cosine_of_the_card_is_that_to_torch_on_the_pictures_it_names(made, lower, bits, least):
    folder = lower(bits)
    card = card_of(folder)
    samples = target(made("plain")).trials[0].query
    paths = [samples[i * len(samples) // 64].path for i in range(64)]
    _, method = restored(made("plain"))
    images = np.stack([reid.load(folder).transform(read_image(path)) for path in paths])
    with torch.no_grad():
        expected = method.encode_query(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    found = cosines(reid.load(folder).embed(paths), expected)
    assert card["graphs"][0]["cosine"]["mean"] == pytest.approx(found.mean(), abs=2e-5)
    assert card["graphs"][0]["cosine"]["least"] == pytest.approx(found.min(), abs=2e-5)
    assert found.min() > least
    assert card["precision"]["compared"] == "64 pictures of target"
    text = (folder / "card.md").read_text()
    assert f"Precision {bits}" in text
    assert f"{card['graphs'][0]['cosine']['least']} at least" in text
    assert "The checkpoint in float32:" in text


def test_fp16_holds_the_backbone_in_half_and_takes_and_gives_float32(lower):
    graph = onnx.load(lower("fp16") / "model.onnx").graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    assert {kinds[name] for node in convolutions for name in node.input[1:]} == {onnx.TensorProto.FLOAT16}
    assert {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize("case", ["pair", "mobilenet"])
def test_half_a_backbone_leaves_the_rest_in_float32(made, case):
    """The first normalises each picture by itself, with float32's digits, and looks at its mirror image too."""
    _, method = restored(made(case))
    half = copy.deepcopy(method)
    graphs._halve(half.encoder)
    assert {weight.dtype for weight in half.encoder.neck.parameters()} == {torch.float32}
    samples = target(made(case)).trials[0].query[:4]
    transform = reid.load(made(case) / "export").transform
    images = torch.from_numpy(np.stack([transform(read_image(sample.path)) for sample in samples])).permute(0, 3, 1, 2)
    with torch.no_grad():
        rows, expected = (each.encode_gallery(images) for each in (half, method))
    assert rows.dtype == torch.float32
    assert not torch.equal(rows, expected)
    assert torch.cosine_similarity(rows, expected).min() > 0.999


def test_int8_holds_each_channel_of_the_weights_in_seven_bits_of_int8(lower):
    graph = onnx.load(lower("int8") / "model.onnx").graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    spared = card_of(lower("int8"))["graphs"][0]["spared"]
    convolutions = [node for node in graph.node if node.op_type == "Conv"][spared:]
    assert convolutions
    for node in convolutions:
        quantised = made[node.input[1]]
        assert quantised.op_type == "DequantizeLinear"
        weight, scale = (tensors[name] for name in quantised.input[:2])
        assert (weight.dtype, scale.shape) == (np.int8, weight.shape[:1])
        assert 60 <= abs(weight.astype(int)).max() <= 64
        assert made[node.input[0]].op_type == "DequantizeLinear"


def quantised(made, tmp_path, file, choices):
    """A graph of a run's export in int8, its entry of the card, and the pictures it was calibrated on as it takes them."""
    case, name = file.split("/")
    path = shutil.copy(made(case) / "export" / name, tmp_path)
    card = card_of(made(case) / "export")
    samples = target(made(case)).trials[0].gallery[:32]
    transform = reid.load(made(case) / "export").transform
    images = np.stack([transform(read_image(sample.path)) for sample in samples]).transpose(0, 3, 1, 2)
    images = runners.prepared(images, card["input"]["normalise"])
    return tmp_path / name, precision.quantise("onnx", tmp_path / path, images, choices), images


def test_where_eight_bits_are_not_enough_the_first_layers_stay_in_float32(made, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "GOOD", 1.1)
    path, said, _ = quantised(made, tmp_path, "plain/model.onnx", (0, 2))
    assert said == {"spared": 2}
    graph = onnx.load(path).graph
    plain = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert [node.input[1] in plain for node in graph.node if node.op_type == "Conv"][:4] == [True, True, False, False]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("file", ["dimn/query.onnx", "dimn/gallery.onnx"])
def test_both_sides_of_an_asymmetric_method_become_int8(made, tmp_path, file):
    path, _, images = quantised(made, tmp_path, file, precision.SPARED)
    rows, expected = (runners.start("onnx", each)(images) for each in (path, made("dimn") / "export" / path.name))
    assert 0.8 < cosines(rows, expected).min() < 1
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(path).graph.node}


def test_int8_is_calibrated_on_pictures_of_the_sources_spread_over_all(made, monkeypatch):
    cfg, _, content = exports._restore(made("plain") / "model_final.pth")
    read = []
    monkeypatch.setattr(exports, "read_image", read.append)
    images, said = exports._calibration(cfg, content, 40)
    assert (len(images), said) == (40, "40 pictures of the sources source_a, source_b")
    assert len(set(read)) == 40
    assert all("/bounding_box_train/" in path for path in read)
    assert [sum(f"/{name}/" in path for path in read) for name in ("source_a", "source_b")] == [20, 20]


def test_card_says_what_int8_was_calibrated_on(lower):
    assert card_of(lower("int8"))["precision"]["calibrated"] == "32 pictures of the sources source_a, source_b"
    assert "ranges of activations from 32 pictures of the sources source" in (lower("int8") / "card.md").read_text()


def test_input_travels_inside_an_int8_file_too(made, lower):
    one, other = (
        onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"]).get_modelmeta()
        for folder in (made("plain") / "export", lower("int8"))
    )
    assert one.custom_metadata_map == other.custom_metadata_map
    assert json.loads(other.custom_metadata_map["reid.input"])["size"] == [32, 16]


# ---- who reads them


def test_vectors_of_another_precision_are_those_of_another_model(made, lower, tiny_world, tmp_path):
    checkpoint, whole, half = (
        reid.load(path) for path in (made("plain") / "model_final.pth", made("plain") / "export", lower("fp16"))
    )
    assert whole.identity()["sha256"] == checkpoint.identity()["sha256"]
    own = half.identity()
    assert own["sha256"] == cards.digest(card_of(lower("fp16"))["graphs"])
    assert "from onnx in fp16" in repr(half)
    store = whole.embed_many(tiny_world / "target" / "query", tmp_path / "vectors")
    with pytest.raises(ValueError, match="expected vectors of one model"):
        search.check_same_model(store, own["sha256"], own["preprocessing"], half.dim)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_an_export_is_scored_like_its_checkpoint(made, tiny_world, capsys):
    export = made("pair") / "export"
    words = ["--weights", str(export), "DATASETS.TARGETS", "[{NAME: folder, PATH: target}]", "DATALOADER.WORKERS", "0"]
    commands.main(["test", *words, "DATASETS.ROOT", str(tiny_world)])
    assert "an export does not know the pictures of its training" in capsys.readouterr().err
    (scored,) = [row for row in rows_of(made("pair") / "export-test") if row["kind"] == "mean"]
    (own,) = [row for row in rows_of(made("pair")) if row["kind"] == "mean"]
    assert scored["R1"] == own["R1"]
    assert scored["mAP"] == pytest.approx(own["mAP"], abs=1e-12)
    assert (scored["fingerprint"], scored["step"]) == (own["fingerprint"], own["step"])
    assert "precision" not in scored
    assert not list(export.glob("embeddings*"))


def test_scored_before_and_after_where_it_is_asked_for(made, lower):
    before, after = card_of(lower("int8"))["precision"]["scores"]
    assert [row for row in rows_of(made("plain") / "test") if row["kind"] == "dataset"] == [before]
    assert [row for row in rows_of(lower("int8").with_name("int8-test")) if row["kind"] == "dataset"] == [after]
    (own,) = [row for row in rows_of(made("plain")) if row["kind"] == "dataset"]
    assert (before["mAP"], before["fingerprint"]) == (pytest.approx(own["mAP"], abs=1e-12), own["fingerprint"])
    assert (after["precision"], after["fingerprint"]) == ("int8", own["fingerprint"])
    text = (lower("int8") / "card.md").read_text()
    assert "a look at each target" in text
    assert f"| target | target | int8 | {100 * after['R1']:.1f} |" in text
    assert card_of(lower("fp16"))["precision"]["scores"] == []


# ---- opset 17


@pytest.mark.parametrize("file", ["plain/model.onnx", "dimn/gallery.onnx", "mobilenet/model.onnx"])
def test_opset_17_gives_the_vectors_of_18(made, tmp_path, file):
    case, name = file.split("/")
    path = made(case) / "export" / name
    old, new = onnx.load(path), onnx.load(path)
    assert case != "mobilenet" or [node for node in new.graph.node if node.op_type in opset.REDUCTIONS]
    opset.lower(old)
    assert ([entry.version for entry in old.opset_import], old.ir_version) == ([17], 8)
    assert old.metadata_props == new.metadata_props
    onnx.checker.check_model(old, full_check=True)
    onnx.save(old, tmp_path / name)
    kind = np.uint8 if case == "mobilenet" else np.float32
    size = card_of(made(case) / "export")["input"]["size"]
    images = np.random.default_rng(0).integers(0, 256, (3, 3, *size)).astype(kind)
    rows, expected = (runners.start("onnx", each)(images) for each in (tmp_path / name, path))
    np.testing.assert_allclose(rows, expected, atol=1e-6 * max(1, abs(expected).max()))


def test_an_export_in_opset_17_says_so(lower):
    model = onnx.load(lower("fp16") / "model.onnx")
    assert ([entry.version for entry in model.opset_import], model.ir_version) == ([17], 8)


@pytest.mark.parametrize(
    ("name", "inputs", "options"),
    [("Mish", ["x"], {}), ("Split", ["x"], {"num_outputs": 1}), ("Resize", "xxxx", {"antialias": 1})],
)
def test_operator_that_opset_17_does_not_have_is_named(name, inputs, options):
    node = onnx.helper.make_node(name, list(inputs), ["y"], **options)
    shaped = [onnx.helper.make_tensor_value_info(each, onnx.TensorProto.FLOAT, None) for each in "xy"]
    graph = onnx.helper.make_graph([node], "one", shaped[:1], shaped[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    with pytest.raises(ValueError, match=f"--opset: found 17, which has no {name} as this network needs it"):
        opset.lower(model)


# ---- what is refused


def test_too_few_pictures_to_calibrate(made, tmp_path):
    with pytest.raises(
        ValueError, match=r"--calibrate: found 160 pictures in the sources, expected 161; ask for fewer"
    ):
        exports.export(made("plain") / "model_final.pth", tmp_path / "export", bits="int8", calibrate=161)
    assert not (tmp_path / "export").exists()


def test_a_target_is_not_calibrated_on(made, tmp_path):
    words = ["DATASETS.SOURCES", "[{NAME: folder, PATH: target}]"]
    with pytest.raises(
        ValueError, match=r"DATASETS\.SOURCES: found target, expected sets that the checkpoint was trai"
    ):
        exports.export(made("plain") / "model_final.pth", tmp_path / "export", overrides=words, **INT8)


def test_vectors_that_fp16_makes_no_numbers_are_refused(made, writes, tmp_path):
    writes.factor = np.float32("nan")
    with pytest.raises(ValueError, match=r"model\.onnx differ from torch's by nan, expected a number"):
        exports.export(made("plain") / "model_final.pth", tmp_path / "export", bits="fp16")
    assert not (tmp_path / "export").exists()


def test_a_lower_precision_that_is_far_off_is_warned_of(made, writes, tmp_path, capsys):
    writes.factor = np.float32(-1)
    exports.export(made("plain") / "model_final.pth", tmp_path / "export", bits="fp16")
    assert "warning: model.onnx, fp16: cosine to float32" in capsys.readouterr().err


def test_scores_of_float32_are_compared_with_nothing(capsys):
    with pytest.raises(SystemExit, match="2"):
        commands.main(["export", "--weights", "x", "--output", "y", "--score"])
    assert "--score compares a lower --precision with float32" in capsys.readouterr().err


def test_an_export_is_not_scored_on_a_gpu(made):
    with pytest.raises(ValueError, match="DEVICE: found cuda; an export runs on the CPU"):
        runs.score(None, made("plain") / "export", ["DEVICE", "cuda"])


# ---- OpenVINO


@pytest.mark.parametrize("bits", ["fp16", "int8"])
def test_openvino_in_fewer_bits(made, tmp_path, bits):
    pytest.importorskip("openvino", reason="openvino is absent: pip install openvino nncf")
    if bits == "int8":
        pytest.importorskip("nncf", reason="nncf is absent: pip install openvino nncf")
    options = INT8 if bits == "int8" else {"bits": bits}
    exports.export(made("plain") / "model_final.pth", tmp_path / "export", formats=["openvino"], **options)
    (graph,) = json.loads((tmp_path / "export" / "card.json").read_text())["graphs"]
    assert graph["cosine"]["least"] > (0.97 if bits == "int8" else 0.9999)
    assert sorted(path.name for path in (tmp_path / "export").iterdir()) == [
        "card.json",
        "card.md",
        "model.bin",
        "model.xml",
    ]
    kind = {"int8": 'element_type="i8"', "fp16": 'element_type="f16"'}[bits]
    assert kind in (tmp_path / "export" / "model.xml").read_text()
    paths = [sample.path for sample in target(made("plain")).trials[0].query]
    rows, expected = (reid.load(place).embed(paths) for place in (tmp_path / "export", made("plain") / "export"))
    assert cosines(rows, expected).min() > 0.97
