"""Graphs in fewer bits than float32: which there are, how a graph becomes one of int8, and how far its vectors are off."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from reid.export import runners
from reid.export.card import Card
from reid.export.runners import INPUT

PRECISIONS = {  # and the formats that have it
    "fp32": ("onnx", "pt2", "openvino", "torchscript"),
    "fp16": ("onnx", "openvino"),
    "int8": ("onnx", "openvino"),
}
BATCH = 8  # pictures that a calibration runs at once
FEWEST, USUAL = 32, 128  # pictures of a calibration
LAYERS = ("Conv", "Gemm", "MatMul", "Convolution", "GroupConvolution")  # as ONNX and OpenVINO call them
SPARED = (0, 4, 8, 16)  # first layers that stay in float32: no more than it takes to be
GOOD = 0.98  # in the mean cosine to float32, on FEWEST of the calibration's pictures


def quantise(name: str, path: Path, images: np.ndarray, choices: Sequence[int] = SPARED) -> Card:
    """Turns the float32 graph `path` of the format `name` into one of int8, in its place; returns what its card says of it:
    how many of the first layers are `spared` and stay in float32, of `choices` the first that is GOOD, or the last.

    In a MobileNet a few early channels are small differences of large numbers, of which eight bits leave nothing.
    images: (N, 3, H, W) as the graph takes them, of which it learns the ranges of activations.
    """
    seen = images[:: max(1, len(images) // FEWEST)][:FEWEST]
    with tempfile.TemporaryDirectory() as unseen, _root_logger_kept():
        for file in {path, path.with_suffix(".bin")}:
            if file.exists():
                shutil.copy(file, unseen)
        original = Path(unseen, path.name)
        expected = runners.start(name, original)(seen)
        write = {"onnx": _onnx, "openvino": _openvino}[name](original, path, images)
        for spared in choices:
            write(spared)
            if cosines(runners.start(name, path)(seen), expected)["mean"] >= GOOD:
                break
    return {"spared": spared}


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """onnxruntime's quantiser warns by the root logger, which by that gets a handler and would repeat every line of ours."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def cosines(found: np.ndarray, expected: np.ndarray) -> Card:
    """`mean` and `least` cosine between the rows of two (N, D)."""
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, expected))
    products = (one * other).sum(axis=1)
    return {"mean": round(float(products.mean()), 5), "least": round(float(products.min()), 5)}


def _batches(images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(images), BATCH):
        yield {INPUT: images[start : start + BATCH]}


class _Reader:
    """The batches in the form that onnxruntime's quantiser asks for."""

    def __init__(self, images: np.ndarray) -> None:
        self.batches = _batches(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def _onnx(original: Path, path: Path, images: np.ndarray) -> Callable[[int], None]:
    """Writes `original` to `path` in int8 but for so many of its first layers."""
    onnx, quantization = importlib.import_module("onnx"), importlib.import_module("onnxruntime.quantization")
    utils = importlib.import_module("onnxruntime.quantization.quant_utils")
    model = onnx.load(original)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    utils.add_pre_process_metadata(model)  # torch's exporter has folded what there is to fold
    onnx.save(model, original)
    nodes = list(model.graph.node)
    layers = [place for place, node in enumerate(nodes) if node.op_type in LAYERS]
    registry = importlib.import_module("onnxruntime.quantization.registry")
    kinds = sorted({*registry.QDQRegistry, *registry.QLinearOpsRegistry})

    def write(spared: int) -> None:
        end = [0, *(place + 1 for place in layers)][min(spared, len(layers))]
        quantization.quantize_static(
            original,
            path,
            _Reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Seven bits a weight: CPUs without VNNI add two products of eight and seven bits in 16 and would overflow.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=[kind for kind in kinds if not kind.endswith("Normalization")],
            nodes_to_exclude=[node.name for node in nodes[:end]],
        )
        written = onnx.load(path)
        onnx.helper.set_model_props(written, notes)
        onnx.save(written, path)

    return write


def _openvino(original: Path, path: Path, images: np.ndarray) -> Callable[[int], None]:
    """Writes `original` to `path` in int8 but for so many of its first layers."""
    openvino, nncf = importlib.import_module("openvino"), importlib.import_module("nncf")
    model = openvino.Core().read_model(original)
    layers = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in LAYERS]

    def write(spared: int) -> None:
        found = nncf.quantize(
            model,
            nncf.Dataset(list(_batches(images))),
            subset_size=-(-len(images) // BATCH),
            ignored_scope=nncf.IgnoredScope(names=layers[:spared]),
            # As `reduce_range` above.
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
        openvino.save_model(found, str(path), compress_to_fp16=False)

    return write
