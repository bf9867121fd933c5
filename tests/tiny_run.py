"""The config of a short run on the tiny world: what the tests of whole runs start from."""

import contextlib

import torch
import yaml

from reid import checkpoint, config, optim
from reid.builder import runs

WORLD = {
    "DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}]",
    "DATASETS.TARGETS": "[{NAME: folder, PATH: target}]",
    "MODEL.BACKBONE.NAME": "tiny",
    "INPUT.SIZE": "[32, 16]",
    "INPUT.AUGMENT.1.PAD": "2",
    "DATALOADER.BATCH_SIZE": "16",
    "DATALOADER.WORKERS": "0",
    "SOLVER.EPOCHS": "2",
    "SOLVER.LOG_STEPS": "1",
    "DEVICE": "cpu",
    "TEST.REPORT": "False",
}
# The same world as a recipe that a study trains: two steps.
RECIPE = {
    "DATASETS": {
        "SOURCES": [{"NAME": "folder", "PATH": "source_a"}, {"NAME": "folder", "PATH": "source_b"}],
        "TARGETS": [{"NAME": "folder", "PATH": "target"}],
    },
    "MODEL": {"BACKBONE": {"NAME": "tiny"}, "NORM": ["input"]},
    "INPUT": {"SIZE": [32, 16], "AUGMENT": {1: {"PAD": 2}}},
    "DATALOADER": {"BATCH_SIZE": 16, "WORKERS": 0},
    "SOLVER": {"EPOCHS": 1, "MAX_STEPS": 2},
}
# What brings a row of a shipped study down to two steps of this world, whatever its recipe.
ROW = {
    "DATASETS.SOURCES": WORLD["DATASETS.SOURCES"],
    "DATASETS.TARGETS": WORLD["DATASETS.TARGETS"],
    "INPUT.SIZE": "[32, 16]",
    "SOLVER.MAX_STEPS": "2",
    "SOLVER.WARMUP_STEPS": "1",
    "DEVICE": "cpu",
}


class _Plain(yaml.SafeDumper):
    """Writes what comes twice twice, where YAML would write an alias."""

    def ignore_aliases(self, data):
        return True


def study_writer(folder, defaults):
    """A function that writes a study beside its recipe in `folder`/configs: `defaults` with some keys changed."""
    (folder / "configs").mkdir()
    (folder / "configs/recipe.yaml").write_text(yaml.safe_dump(RECIPE))

    def write(**changes):
        (folder / "configs/it.yaml").write_text(yaml.dump({**defaults, **changes}, Dumper=_Plain, sort_keys=False))
        return "configs/it.yaml"

    return write


def build(root, folder, overrides):
    """`overrides` ({KEY: value}) on top of WORLD, over the data in `root`, into the run folder `folder`."""
    where = {"DATASETS.ROOT": str(root), "OUTPUT_DIR": str(folder)}
    return config.load(None, [word for pair in {**WORLD, **where, **overrides}.items() for word in pair])


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def dealt(patch, kind, cfg, stop=None, **options):
    """Step, indices and parts of every batch of a run by the method class `kind`, killed before its batch number `stop`."""
    batches, forward, set_lr = [], kind.phases, optim.set_lr

    def phases(self, batch):
        batches.append((batch.step, batch.indices.tolist(), batch.part.tolist()))
        return forward(self, batch)

    def kill(*args):
        if len(batches) == stop:
            raise Killed
        return set_lr(*args)

    with patch.context() as patched, contextlib.suppress(Killed):
        patched.setattr(kind, "phases", phases)
        patched.setattr(optim, "set_lr", kill)
        runs.train(cfg, **options)
    return batches


def assert_equal_runs(one, other):
    """The run folders `one` and `other` hold equal states, plans, metrics and results."""
    first, second = (checkpoint.load(folder / "model_last.pth") for folder in (one, other))
    assert all(torch.equal(v, second["model"][k]) for k, v in first["model"].items() if isinstance(v, torch.Tensor))
    assert torch.equal(first["plan"]["parts"], second["plan"]["parts"])
    for name in ("metrics.jsonl", "results.jsonl"):
        assert (one / name).read_text() == (other / name).read_text()
