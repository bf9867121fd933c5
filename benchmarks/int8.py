"""An int8 export of MobileNetV2 against the same in float32, by onnxruntime on two cores; then what the time goes to.

256x128, batches of 8, random weights (no time depends on them). `spared` are the first layers that stay in float32, as in an export of
ImageNet weights. The shares are those of onnxruntime's own profile, the least of a few runs.

At least twice as fast is what int8 is for. Where a processor has AVX2 and no VNNI it is not: on one core of an AMD EPYC of that kind
int8 took 5.65 ms a picture and float32 5.78. Everything is fused, so that no operator but the convolutions counts: pointwise ones have 70% of
int8's time (3.96 ms; in float32 4.07), depthwise ones 20% (1.14; 1.36), the first one 7% (0.42; 0.27), all others 2%. Without VNNI a
product of int8 takes three instructions where one of float32 takes one.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import _bench
import numpy as np
import onnx
import onnxruntime
import torch

from reid.export import graphs, precision
from reid.export.runners import INPUT
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder

BATCH, SIZE, CORES = 8, (256, 128), 2
SPARED = (0, 8)


def session(path: Path, *, profiled: bool = False) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = CORES, profiled
    options.profile_file_prefix = str(path.with_suffix(""))
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def images(num: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num, 3, *SIZE)).astype(np.float32)


def write(folder: Path) -> dict[str, Path]:
    """The float32 graph, and one of int8 for each of SPARED."""
    torch.manual_seed(0)
    method = Baseline(Encoder("mobilenetv2_100", size=SIZE), ())
    traced = graphs.trace(method.eval(), "both", size=SIZE, input_kind="float")
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", *(f"int8-{spared}" for spared in SPARED))}
    for path in paths.values():
        graphs.write("onnx", traced, path, opset=graphs.OPSET, notes={})
    for spared in SPARED:
        precision.quantise("onnx", paths[f"int8-{spared}"], images(precision.FEWEST), [spared])
    return paths


def prepare(paths: dict[str, Path], name: str):
    given = {INPUT: images(BATCH)}
    return tuple(functools.partial(session(paths[each]).run, None, given) for each in (name, "fp32"))


def kinds(path: Path) -> list[str]:
    """What each convolution of the graph is, in their order."""
    graph = onnx.load(path).graph
    sizes = {tensor.name: tensor.dims for tensor in graph.initializer}
    weights = [sizes[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    return ["first" if size[1] == 3 else "depthwise" if size[1] == 1 else "pointwise" for size in weights]


def shares(path: Path, convolutions: Sequence[str], runs: int = 5) -> dict[str, float]:
    """{operator or kind of convolution: milliseconds of a batch}, the longest first."""
    running = session(path, profiled=True)
    for _ in range(runs):
        running.run(None, {INPUT: images(BATCH)})
    events = [event for event in json.loads(Path(running.end_profiling()).read_text()) if event["cat"] == "Node"]
    events = sorted((e for e in events if e["name"].endswith("_kernel_time")), key=lambda event: event["ts"])
    least = np.reshape([event["dur"] / 1e3 for event in events], (runs, -1)).min(axis=0)
    took: dict[str, float] = defaultdict(float)
    kind = iter(convolutions)
    for event, duration in zip(events, least, strict=False):  # those of the first run
        operator = event["args"]["op_name"]
        took[next(kind) if "Conv" in operator else operator] += float(duration)
    return dict(sorted(took.items(), key=lambda item: -item[1]))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder))
        cases = [
            _bench.Case(
                f"int8, spared {spared}", "fp32", functools.partial(prepare, paths, f"int8-{spared}"), memory=False
            )
            for spared in SPARED
        ]
        _bench.main(cases, __doc__ or "")
        convolutions = kinds(paths["fp32"])
        for name, path in paths.items():
            found = shares(path, convolutions)
            total = sum(found.values())
            told = ", ".join(f"{operator} {took:.1f} ms ({took / total:.0%})" for operator, took in found.items())
            print(f"{name}: {total:.1f} ms a batch: {told}")


if __name__ == "__main__":
    main()
