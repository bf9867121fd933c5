"""From a method to graph files: each side traced by torch.export, freed of what only training needs, written in a format."""

from __future__ import annotations

import copy
import importlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from reid.export import opset as opsets
from reid.export.runners import INPUT, OUTPUT
from reid.methods import Method
from reid.models.encoder import Encoder

INPUT_KINDS = ("float", "uint8")
OPSET = 18  # the lowest that torch's exporter writes; `reid.export.opset` makes 17 of it


@dataclass(frozen=True)
class Graph:
    """One side of a method: the module, the same traced with a dynamic batch, and two pictures it takes."""

    module: nn.Module
    program: torch.export.ExportedProgram
    example: Tensor


class _Side(nn.Module):
    """One side's encoder under the name `forward`, which is what exporters call."""

    def __init__(self, method: Method, side: str) -> None:
        super().__init__()
        self.method, self.side = method, side

    def forward(self, images: Tensor) -> Tensor:
        encode = self.method.encode_gallery if self.side == "gallery" else self.method.encode_query
        return encode(images)


def trace(method: Method, side: str, *, size: tuple[int, int], input_kind: str, half: bool = False) -> Graph:
    """The graph of `side` (query, gallery, or both) for pictures of `size` (height, width); `method` itself is not changed.

    input_kind: `uint8`: RGB as decoded, everything inside. `float`: the caller has divided by 255, taken `mean` off and
    divided by `std`; an encoder that normalises each picture by itself keeps doing so inside, and is given 0..1.
    half: the backbone is in float16; what comes before and after it, and so input and output, stays float32.
    """
    copied = copy.deepcopy(method).cpu().eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    example = torch.zeros(2, 3, *size, dtype=torch.uint8)
    encoders = [module for module in copied.modules() if isinstance(module, Encoder)]
    if input_kind == "float":
        example = example.float()
        for encoder in encoders:
            encoder.mean.zero_()
            encoder.std.fill_(1)
    if half:
        for encoder in encoders:
            _halve(encoder)
    module = _Side(copied, side)
    _drop_unused(module, _export(module, example))
    program = _export(module, example)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine, which would travel in the files
    return Graph(module, program, example)


def _halve(encoder: Encoder) -> None:
    backbone = encoder.backbone.half()
    if encoder.instance_norm:
        backbone.input_norm.float()
    backbone.register_forward_pre_hook(lambda _, given: (given[0].half(),))
    backbone.register_forward_hook(lambda _, given, found: found.float())


def _export(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _drop_unused(module: nn.Module, program: torch.export.ExportedProgram) -> None:
    """Deletes class weights, memories and counters: the vectors do not need them, and torch would write them out."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op == "placeholder" and not node.users and node.name in names:
            owner, _, attribute = names[node.name].rpartition(".")
            delattr(module.get_submodule(owner), attribute)


# ---- one function a format


def write(name: str, graph: Graph, path: Path, *, opset: int, notes: dict[str, str]) -> None:
    """Writes `graph` in the format `name`. notes: kept inside formats that have a place for them."""
    if name == "onnx":
        _write_onnx(graph, path, opset, notes)
    elif name == "pt2":
        torch.export.save(graph.program, path, extra_files=notes)
    elif name == "torchscript":
        _write_torchscript(graph, path)
    else:
        _write_openvino(graph, path, opset, notes)


def check_opset(opset: int) -> None:
    """Raises ValueError for an ONNX version that cannot be written."""
    newest = importlib.import_module("onnx").defs.onnx_opset_version()
    if not opsets.TARGET <= opset <= newest:
        raise ValueError(f"--opset: found {opset}; expected {opsets.TARGET} to {newest}, which can be written here")


def _write_onnx(graph: Graph, path: Path, opset: int, notes: dict[str, str]) -> None:
    program = torch.onnx.export(
        graph.program,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=max(opset, OPSET),
        dynamic_shapes=({0: "batch"},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None, "torch.onnx.export with dynamo=True gives a program"
    written = program.model.opset_imports[""]
    if written != max(opset, OPSET):  # the exporter says so in its log only
        raise ValueError(f"--opset: found {written} where {opset} was asked for; this network cannot be written in it")
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # more stack traces
    program.model.metadata_props.update(notes)
    program.save(path, external_data=False)  # one file, which holds up to 2 GB
    if opset < OPSET:
        onnx = importlib.import_module("onnx")
        model = onnx.load(path)
        opsets.lower(model)
        onnx.save(model, path)


def _write_torchscript(graph: Graph, path: Path) -> None:
    with warnings.catch_warnings():
        # Deprecated, which is why the format is called legacy; and the shape tests that tracing freezes are those of
        # sizes that are fixed anyway.
        warnings.filterwarnings("ignore", message="`torch.jit.*deprecated", category=FutureWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        with torch.inference_mode():
            traced = torch.jit.trace(graph.module, graph.example, check_trace=False)
    archive = torch._C.PyTorchFileReader(io.BytesIO(traced.save_to_buffer()))
    kept = torch._C.PyTorchFileWriter(str(path))
    for name in archive.get_all_records():
        # The debugging records hold paths of this machine; the others are the writer's own.
        if not name.endswith(".debug_pkl") and name not in ("version", "byteorder", ".data/serialization_id"):
            record = archive.get_record(name)
            kept.write_record(name, record, len(record))
    kept.write_end_of_file()


def _write_openvino(graph: Graph, path: Path, opset: int, notes: dict[str, str]) -> None:
    openvino = importlib.import_module("openvino")
    onnx = path.with_suffix(".onnx.tmp")
    _write_onnx(graph, onnx, opset, notes)
    # Half precision, its default, would move the vectors by more than the check lets pass.
    openvino.save_model(openvino.convert_model(str(onnx)), str(path), compress_to_fp16=False)
    onnx.unlink()
