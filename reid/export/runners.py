"""Graph files back into functions of arrays, each by the program it was written for. Nothing here imports torch by itself."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

INPUT, OUTPUT = "images", "embeddings"

Run = Callable[[np.ndarray], np.ndarray]  # (B, 3, H, W) as the graph's input wants it -> (B, D) float32


class Format(NamedTuple):
    """A kind of graph file: how its name ends, the packages that write and open it, and how to get those."""

    suffix: str
    writes: tuple[str, ...]
    opens: tuple[str, ...]
    install: str


FORMATS = {
    "onnx": Format(
        ".onnx", ("onnx", "onnxscript", "onnxruntime"), ("onnxruntime",), "pip install onnx onnxscript onnxruntime"
    ),
    "pt2": Format(".pt2", (), ("torch",), "pip install torch"),
    "torchscript": Format(".torchscript", (), ("torch",), "pip install torch"),
    "openvino": Format(
        ".xml",
        ("onnx", "onnxscript", "openvino"),
        ("openvino",),
        "pip install onnx onnxscript openvino, and nncf for int8",
    ),
}


def require(name: str, packages: Sequence[str]) -> None:
    """Raises ValueError, saying what to install, unless every one of `packages` is there."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ValueError(f"{name}: needs {', '.join(missing)}, not installed here; {FORMATS[name].install}")


def start(name: str, path: Path) -> Run:
    """Opens the graph file `path` of the format `name`, to be run on the CPU."""
    require(name, FORMATS[name].opens)
    return {"onnx": _onnx, "pt2": _pt2, "torchscript": _torchscript, "openvino": _openvino}[name](path)


def normalised(run: Run, normalise: Mapping[str, Any] | None) -> Run:
    """`run` for uint8 pictures: does what a card's `input.normalise` leaves to the caller; None: nothing is."""
    return run if normalise is None else lambda images: run(prepared(images, normalise))


def prepared(images: np.ndarray, normalise: Mapping[str, Any] | None) -> np.ndarray:
    """Pictures (B, 3, H, W) uint8 RGB as a graph takes them: what `normalised` gives it."""
    if normalise is None:
        return images
    scale, mean, std = (np.array(normalise[key], np.float32) for key in ("scale", "mean", "std"))
    return (images.astype(np.float32) / scale - mean[:, None, None]) / std[:, None, None]


def _onnx(path: Path) -> Run:
    session = importlib.import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: np.ascontiguousarray(images)})[0]


def _pt2(path: Path) -> Run:
    torch = importlib.import_module("torch")
    return _torch_run(torch.export.load(str(path)).module())


def _torchscript(path: Path) -> Run:
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        # The format is offered as legacy for programs that read nothing else; that it is deprecated is no news here.
        warnings.filterwarnings("ignore", message="`torch.jit.load` is deprecated", category=FutureWarning)
        return _torch_run(torch.jit.load(str(path)))


def _torch_run(module: Callable) -> Run:
    torch = importlib.import_module("torch")

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    return run


def _openvino(path: Path) -> Run:
    # On CPUs that have bfloat16 OpenVINO would compute in it, and the vectors would differ in the third digit.
    core = importlib.import_module("openvino").Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled({INPUT: np.ascontiguousarray(images)})[OUTPUT]
