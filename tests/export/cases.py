"""What the tests of exports train and write, and a checkpoint's method brought back without any of the code under test."""

from pathlib import Path

from reid import checkpoint, config
from reid.builder import objects
from reid.data.records import Dataset
from reid.methods import Method

CHECKOUT = Path(__file__).resolve().parents[2]
WORLD = {
    "DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}]",
    "DATASETS.TARGETS": "[{NAME: folder, PATH: target}]",
    "DATALOADER.BATCH_SIZE": "16",
    "DATALOADER.WORKERS": "0",
    "MODEL.BACKBONE.NAME": "tiny",
    "INPUT.SIZE": "[32, 16]",
    "INPUT.AUGMENT.1.PAD": "2",
    "LOSSES": "[softmax, triplet]",
    "MEMORY.SIZE": "40",
    "SOLVER.EPOCHS": "2",
    "DEVICE": "cpu",
}
# name: what differs in the run, and how it is exported. Between them every choice that changes a graph or its card.
CASES = {
    "plain": ({}, {"formats": ("onnx", "pt2", "torchscript")}),
    "pair": (
        {
            "METHOD": "{NAME: baseline, METRIC: euclidean}",
            "MODEL.NORM": "[input]",
            "TEST.FLIP": "true",
            "INPUT.TEST_CROP": "0.8",
        },
        {"opset": 20},
    ),
    "dimn": ({"METHOD": "{NAME: dimn}", "SAMPLER": "{NAME: episode}"}, {}),
    "mobilenet": (
        {
            "MODEL.BACKBONE.NAME": "mobilenetv2_100",
            "MODEL.BACKBONE.MEAN": "[0.5, 0.4, 0.3]",
            "INPUT.SIZE": "[64, 32]",
            "SOLVER.MAX_STEPS": "2",
        },
        {"input_kind": "uint8"},
    ),
}


def restored(run: Path) -> tuple[config.CfgNode, Method]:
    """The config and the method of a run, in evaluation mode."""
    content = checkpoint.load(run / "model_final.pth")
    cfg = config.parse(content["config"])
    method = objects.method(cfg, num_classes=20, num_samples=content["num_samples"]).eval()
    checkpoint.load_state(method, content["model"], run)
    return cfg, method


def target(run: Path) -> Dataset:
    cfg, _ = restored(run)
    return objects.datasets(cfg, cfg.DATASETS.TARGETS)[0]
