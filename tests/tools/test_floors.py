"""What setup.py states is true: the lowest versions train, score and export; workers may be spawned."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
SHORT = {**tiny_run.WORLD, "LOSSES": "[softmax, triplet]", "SOLVER.EPOCHS": "1", "SOLVER.MAX_STEPS": "3"}
WORDS = [word for key, value in SHORT.items() for word in (key, value)]
# `faiss` is not there, as on systems for which there is no build of it.
STARTED = """
import multiprocessing, sys

sys.modules["faiss"] = None

if __name__ == "__main__":
    method, folder, root, *words = sys.argv[1:]
    multiprocessing.set_start_method(method)
    import reid

    reid.train(None, [*words, "OUTPUT_DIR", folder, "DATASETS.ROOT", root])
"""
KEYS = ("install_requires", "extras_require")


def said(name: str) -> list[str]:
    """The requirements that setup.py lists under a name."""
    tree = ast.parse((CHECKOUT / "setup.py").read_text())
    (call,) = (node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg in KEYS}
    return given["install_requires"] if name == "install_requires" else given["extras_require"][name]


@pytest.mark.parametrize("name", ["install_requires", "export"])
def test_every_requirement_has_a_floor(name):
    for requirement in said(name):
        assert re.fullmatch(r"[\w-]+>=\d+(\.\d+)*", requirement), requirement


def test_the_lowest_versions_train_score_and_export(tiny_world, tmp_path):
    """By the oldest Python, fetched by pip: 3 GB on Linux, where PyPI's torch of that version brings CUDA along."""
    python = os.environ.get("REID_OLDEST_PYTHON") or shutil.which("python3.10")
    if python is None:
        pytest.skip("needs Python 3.10, the oldest that setup.py allows; set REID_OLDEST_PYTHON to it")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    own = tmp_path / "venv" / "bin" / "python"
    lowest = [each.replace(">=", "==") for name in ("install_requires", "export") for each in said(name)]
    # tensorboard of that time looks for pkg_resources, which setuptools no longer has.
    subprocess.run([own, "-m", "pip", "install", "--quiet", "setuptools<80", *lowest], check=True)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "CUDA_VISIBLE_DEVICES": ""}
    (tmp_path / "own.yaml").write_text("")
    weights = tmp_path / "run" / "model_final.pth"
    places = ["OUTPUT_DIR", str(weights.parent), "DATASETS.ROOT", str(tiny_world)]
    formats = ["onnx", "pt2", "torchscript"]
    for words in (
        ["train", "--config", str(tmp_path / "own.yaml"), *WORDS, *places],
        ["test", "--weights", str(weights)],
        ["export", "--weights", str(weights), "--output", str(tmp_path / "export"), "--format", *formats],
    ):
        done = subprocess.run([own, "-m", "reid", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    assert {path.suffix for path in (tmp_path / "export").iterdir()} >= {".onnx", ".pt2", ".torchscript", ".json"}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])  # the latter is what Python 3.14 does where nothing is said
def test_workers_however_they_are_started_and_no_faiss(tiny_world, tmp_path, method):
    script = tmp_path / "started.py"
    script.write_text(STARTED)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    for workers in ("0", "2"):
        words = [method, str(tmp_path / workers), str(tiny_world), *WORDS, "DATALOADER.WORKERS", workers]
        done = subprocess.run([sys.executable, script, *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    for name in ("results.jsonl", "metrics.jsonl"):
        assert (tmp_path / "0" / name).read_text() == (tmp_path / "2" / name).read_text()
