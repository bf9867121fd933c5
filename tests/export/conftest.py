"""Runs of the tiny world with their exports, each made once and only where a test asks for it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from cases import CASES, WORLD

from reid import config
from reid.builder import exports, runs
from reid.export import graphs


@pytest.fixture(scope="session")
def made(tiny_world, tmp_path_factory) -> Callable[[str], Path]:
    """made(case) is the run's folder, with the export in `export`; each is trained once."""
    root, done = tmp_path_factory.mktemp("exports"), {}

    def make(case: str) -> Path:
        if case not in done:
            overrides, options = CASES[case]
            folder = root / case
            places = {"DATASETS.ROOT": str(tiny_world), "OUTPUT_DIR": str(folder)}
            words = [word for pair in {**WORLD, **overrides, **places}.items() for word in pair]
            runs.train(config.load(None, words))
            exports.export(folder / "model_final.pth", folder / "export", **options)
            done[case] = folder
        return done[case]

    return make


@pytest.fixture
def copied(made, tmp_path) -> Path:
    """The plain export, to be spoilt."""
    return Path(shutil.copytree(made("plain") / "export", tmp_path / "export"))


@pytest.fixture
def paths(tiny_world) -> list[str]:
    return sorted(str(path) for path in (tiny_world / "target" / "query").iterdir())


@pytest.fixture
def writes(made, monkeypatch):
    """Instead of tracing, `export` writes the plain model's ONNX file, its largest weight times `factor`."""

    def write(name, graph, path, **_):
        model = onnx.load(made("plain") / "export" / "model.onnx")
        weight = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * write.factor, weight.name))
        onnx.save(model, path)

    write.factor = np.float32(1)
    monkeypatch.setattr(graphs, "trace", lambda *args, **options: None)
    monkeypatch.setattr(graphs, "write", write)
    return write
