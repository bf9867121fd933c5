"""From opset 18, the lowest that torch's exporter writes, to 17, for programs that read no newer one."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

TARGET, IR_VERSION = 17, 8  # and the file format that came with it
EMPTY = "noop_with_empty_axes"  # what no axes mean, which 17 cannot say
# In 18 their axes became an input.
REDUCTIONS = {f"Reduce{of}" for of in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")}


def lower(model: Any) -> None:
    """Rewrites the onnx.ModelProto `model`, of opset 18. Raises ValueError for an operator that 17 does not have."""
    onnx = importlib.import_module("onnx")
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    for node in graph.node:
        if node.domain in ("", "ai.onnx"):
            if node.op_type in REDUCTIONS:
                for empty in [each for each in node.attribute if each.name == EMPTY and (node.input[1:] or not each.i)]:
                    node.attribute.remove(empty)
                for name in node.input[1:]:
                    axes = np.atleast_1d(onnx.numpy_helper.to_array(constants[name]))
                    node.attribute.append(onnx.helper.make_attribute("axes", axes.tolist()))
                del node.input[1:]
            _check(onnx, node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    (imported,) = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
    imported.version, model.ir_version = TARGET, IR_VERSION
    onnx.checker.check_model(model)


def _check(onnx: Any, node: Any) -> None:
    if not onnx.defs.has(node.op_type) or onnx.defs.get_schema(node.op_type, 18).since_version < 18:
        return
    try:
        schema = onnx.defs.get_schema(node.op_type, TARGET)
        fits = len(node.input) <= len(schema.inputs) and all(each.name in schema.attributes for each in node.attribute)
    except onnx.defs.SchemaError:  # it came with 18
        fits = False
    if not fits:
        raise ValueError(f"--opset: found {TARGET}, which has no {node.op_type} as this network needs it; ask for 18")
