"""The config of a short run on the tiny world: what the tests of whole runs start from."""

from reid import config

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
}


def build(root, folder, overrides):
    """`overrides` ({KEY: value}) on top of WORLD, over the data in `root`, into the run folder `folder`."""
    where = {"DATASETS.ROOT": str(root), "OUTPUT_DIR": str(folder)}
    return config.load(None, [word for pair in {**WORLD, **where, **overrides}.items() for word in pair])
