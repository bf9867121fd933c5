"""Damaged and foreign files of every kind that is read: each is taken for what it is, or refused in one line; none hangs."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mutate import TENSORS, VALUES, answered, changed_bytes, tree
from tiny_run import build

import reid
from reid import checkpoint, config, digest
from reid.builder import exports, recipes, runs, study
from reid.evaluation import cache, drift, tables
from reid.models import backbones

pytestmark = pytest.mark.slow
PICTURE = np.zeros((1, 32, 16, 3), np.uint8)
# Every run draws the same examples; the first that fails is shown as it was drawn.
FUZZ = settings(
    max_examples=300,
    phases=[Phase.generate],
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def run(tiny_world, tmp_path_factory):
    """A short run with everything a checkpoint may hold, and its export."""
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    changes = {"LOSSES": "[softmax, triplet]", "MEMORY.SIZE": "40", "DRIFT.EVERY": "10", "SOLVER.MAX_STEPS": "12"}
    runs.train(build(tiny_world, folder, changes))
    exports.export(folder / "model_final.pth", folder / "export")
    return folder


@pytest.fixture(autouse=True)
def no_hang():
    """A test that takes longer than this hangs."""

    def give_up(signum, frame):
        raise AssertionError("hangs")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(1500)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def used(path):
    with answered():
        vectors = reid.load(path, device="cpu").embed(PICTURE)
        assert vectors.shape[0] == 1
    with answered():
        backbones.build("tiny", weights=path)
    with answered():
        checkpoint.load(path, resume=True)


@FUZZ
@given(data=st.data())
def test_bytes_of_checkpoints(run, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "bytes.pth"
    name = data.draw(st.sampled_from(["model_final.pth", "model_last.pth"]))
    path.write_bytes(data.draw(changed_bytes((run / name).read_bytes())))
    used(path)


@FUZZ
@given(data=st.data())
def test_structures_of_checkpoints(run, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "structure.pth"
    name = data.draw(st.sampled_from(["model_final.pth", "model_last.pth"]))
    content = data.draw(tree(torch.load(run / name, weights_only=True), [*VALUES, *TENSORS]))
    if data.draw(st.booleans()):
        said = yaml.safe_load(checkpoint.load(run / name)["config"])
        content["config"] = yaml.safe_dump(data.draw(tree(said)))
    if data.draw(st.integers(0, 3)):
        try:
            content["digest"] = digest.of(content)
        except (ValueError, RuntimeError):  # of what no digest can be made
            content["digest"] = "0"
    torch.save(content, path)
    used(path)


@settings(FUZZ, max_examples=60)
@given(data=st.data())
def test_runs_that_go_on_from_another_structure(run, tiny_world, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "resumed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("export", "model_final.pth"))
    content = checkpoint.load(run / "model_last.pth", resume=True)
    parts = {name: content[name] for name in ("optimizer", "scale", "plan", "drift", "random", "progress")}
    content |= data.draw(tree(parts, [*VALUES, *TENSORS]))
    header = {"format": digest.FORMAT, "version": checkpoint.VERSION}
    try:
        header["digest"] = digest.of(content)
    except (ValueError, RuntimeError):
        header["digest"] = "0"
    torch.save({**header, **content}, folder / "model_last.pth")
    cfg = config.parse((run / "config.yaml").read_text(), {"OUTPUT_DIR": str(folder)})
    with answered():
        runs.train(cfg, resume=True)


@FUZZ
@given(data=st.data())
def test_export_folders(run, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "export"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run / "export", folder)
    graph, card = folder / "model.onnx", folder / "card.json"
    what = data.draw(st.sampled_from(["card", "card", "bytes of the card", "graph", "files"]))
    if what == "card":
        card.write_text(json.dumps(data.draw(tree(json.loads(card.read_text())))))
    elif what == "bytes of the card":
        card.write_bytes(data.draw(changed_bytes(card.read_bytes())))
    elif what == "graph":
        graph.write_bytes(data.draw(changed_bytes(graph.read_bytes())))
        content = json.loads(card.read_text())
        content["graphs"][0]["files"]["model.onnx"] = exports.cards.sha256(graph)
        card.write_text(json.dumps(content))
    else:
        shutil.rmtree(folder) if data.draw(st.booleans()) else graph.unlink()
    with answered():
        vectors = reid.load(data.draw(st.sampled_from([folder, graph]))).embed(PICTURE)
        assert np.isfinite(vectors).all()


@FUZZ
@given(data=st.data())
def test_lines_of_runs(run, tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "lines"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("config.yaml", "results.jsonl", "metrics.jsonl"):
        shutil.copy(run / name, folder)
    name = data.draw(st.sampled_from(["results.jsonl", "metrics.jsonl"]))
    if data.draw(st.booleans()):
        (folder / name).write_bytes(data.draw(changed_bytes((run / name).read_bytes())))
    else:
        rows = data.draw(tree([json.loads(line) for line in (run / name).read_text().splitlines()]))
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with answered():
        tables.table(recipes.read([folder])).text("markdown")
    with answered():
        drift.curves(folder)


@FUZZ
@given(data=st.data())
def test_caches(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "caches"
    folder.mkdir(exist_ok=True)
    path = folder / "rows-key.npy"
    np.save(path, np.zeros((4, 3), np.float32))
    path.write_bytes(data.draw(changed_bytes(path.read_bytes())))
    with answered():
        assert cache.kept(folder, "rows", "key", 4, lambda: None).shape[0] == 4


STUDY = {
    "SEEDS": [0],
    "CONFIG": "tiny.yaml",
    "SET": {"SOLVER.LR": 1e-3},
    "SEARCH": {"FOLDS": 2},
    "ROWS": {
        "a": {"SET": {"SEED": 3}},
        "b": {"OF": "a"},
        "c": {"SET": {"SOLVER.EPS": {"low": 1e-9, "high": 1.0, "log": True}}},
    },
}


@FUZZ
@given(data=st.data())
def test_studies(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "studies"
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text("MODEL: {BACKBONE: {NAME: tiny}}\n")
    path = folder / "study.yaml"
    if data.draw(st.booleans()):
        path.write_text(yaml.safe_dump(data.draw(tree(STUDY))))
    else:
        path.write_bytes(data.draw(changed_bytes(yaml.safe_dump(STUDY).encode())))
    with answered():
        study.read(path).jobs()
