"""Every key of a config: its default, its unit, one line each; and where its number must lie."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

FREE_BLOCKS = ("METHOD", "SAMPLER")
# What a stage of SOLVER.STAGES may say, and the key that it stands in for.
STAGE = {
    key: f"SOLVER.{key}" for key in ("EPOCHS", "LR", "SCHEDULE", "STEPS", "GAMMA", "WARMUP_STEPS", "WARMUP_FACTOR")
}
STAGE |= {"SAMPLER": "SAMPLER", "AUGMENT": "INPUT.AUGMENT"}
NAMED_LISTS = "INPUT.VIEWS."  # below it any name is a list
# What a value may be, where its default does not say it.
KINDS: dict[str, Any] = {
    "INPUT.SIZE": tuple[int, int],
    "MODEL.BACKBONE.MEAN": list[float],
    "MODEL.BACKBONE.STD": list[float],
    "SOLVER.STEPS": list[int],
    "SOLVER.STAGES": list[dict],
    "TEST.FOLD": list[int],
    "TEST.FROZEN": list[str],
    "TEST.OPEN_SET": list[float],
    "TEST.CACHE": bool | None,
}
# What may differ between a run and its resumption, or between two runs of one recipe: none of it decides a number.
MOVABLE = frozenset(
    [
        *("OUTPUT_DIR", "DEVICE", "LOGGERS", "DATASETS.ROOT", "DATASETS.WALKERS_ROOT", "DATALOADER.WORKERS"),
        *("SOLVER.LOG_STEPS", "SOLVER.CHECKPOINT_STEPS", "SOLVER.KEEP", "TEST.BATCH_SIZE", "TEST.BOOTSTRAP"),
        *("TEST.RERANK", "TEST.QUERY_EXPANSION", "TEST.CLUSTERING", "TEST.OPEN_SET", "TEST.CACHE"),
        *("TEST.CLUSTERING_STARTS", "TEST.REPORT"),
    ]
)
# What decides only which rows of results there are: a run whose scoring failed may go on with others, see `builder.resuming`.
OF_ROWS = frozenset(
    [
        *("DATASETS.TARGETS", "DATASETS.CHECK_COUNTS", "DATASETS.ALLOW_WITHDRAWN"),
        *("TEST.CAMERA_RULE", "TEST.FROZEN"),
    ]
)
# The interval of each number, and of each entry of a list of numbers; open at a parenthesis.
RANGES = {
    "SEED": "[0, 4294967295]",
    "INPUT.SIZE": "[4, 4096]",
    "INPUT.TEST_CROP": "[0.1, 1]",
    "DATALOADER.BATCH_SIZE": "[2, 1e6]",
    "DATALOADER.WORKERS": "[0, 1000]",
    "MODEL.BACKBONE.LAST_STRIDE": "[1, 2]",
    "MODEL.BACKBONE.STRIDE": "[0, 1000]",
    "MODEL.BACKBONE.DROP_PATH": "[0, 1)",
    "MODEL.BACKBONE.SIE": "[0, 1e5]",
    "MODEL.BACKBONE.MEAN": "[0, 1]",
    "MODEL.BACKBONE.STD": "(0, 10]",
    "MODEL.DIM": "[0, 65536]",
    "MEMORY.SIZE": "[0, 1e7]",
    "MEMORY.START_STEP": "[0, 1e9]",
    "DRIFT.EVERY": "[0, 1000]",
    "DRIFT.SAMPLES": "[1, 1e7]",
    "SOLVER.LR": "(0, 1000]",
    "SOLVER.EPS": "(0, 1]",
    "SOLVER.LAYER_DECAY": "(0, 1]",
    "SOLVER.EPOCHS": "[1, 1e6]",
    "SOLVER.MAX_STEPS": "[0, 1e9]",
    "SOLVER.STEPS": "[1, 1e6]",
    "SOLVER.GAMMA": "(0, 1]",
    "SOLVER.WARMUP_STEPS": "[0, 1e9]",
    "SOLVER.WARMUP_FACTOR": "[0, 1]",
    "SOLVER.EMA": "[0, 1)",
    "SOLVER.ACCUMULATE": "[1, 1e6]",
    "SOLVER.CLIP_GRAD": "[0, 1e6]",
    "SOLVER.LOG_STEPS": "[1, 1e9]",
    "SOLVER.CHECKPOINT_STEPS": "[0, 1e9]",
    "SOLVER.KEEP": "[0, 1e6]",
    "TEST.EVERY": "[0, 1e6]",
    "TEST.HOLD_OUT": "[0, 1)",
    "TEST.FOLD": "[0, 1000]",
    "TEST.BATCH_SIZE": "[1, 1e6]",
    "TEST.QUERY_EXPANSION": "[0, 1000]",
    "TEST.OPEN_SET": "[0, 1]",
    "TEST.BOOTSTRAP": "[0, 1e6]",
    "TEST.CLUSTERING_STARTS": "[1, 1000]",
}


def defaults() -> CfgNode:
    """A fresh tree of every key at its default."""
    c = CfgNode()
    c.OUTPUT_DIR = ""  # the run's folder; empty: runs/ + the config's path below configs/
    c.SEED = 0  # of everything random: weights, batches, augmentation
    c.LOGGERS = ["tensorboard"]  # besides metrics.jsonl: files of reid/loggers, or package.module:Class
    c.DEVICE = "auto"  # auto | cpu | cuda | cuda:N; auto takes a GPU where there is one

    c.DATASETS = CfgNode()
    c.DATASETS.ROOT = ""  # folders joined by the path separator; empty: $REID_DATASETS, $FASTREID_DATASETS, datasets
    c.DATASETS.WALKERS_ROOT = "datasets/walkers"  # where the built-in data is drawn
    c.DATASETS.SOURCES = []  # sets to train on: NAME or {NAME: ..., OPTION: ...}; AS: the name it goes by
    c.DATASETS.TARGETS = []  # sets to score: the same
    c.DATASETS.CHECK_COUNTS = True  # False: a count that is off becomes a note in the results, not an error
    c.DATASETS.ALLOW_WITHDRAWN = False  # True: sets withdrawn by their authors may be loaded, with a dated notice

    c.INPUT = CfgNode()
    c.INPUT.SIZE = [256, 128]  # height, width in pixels
    c.INPUT.INTERPOLATION = "bilinear"  # bilinear | bicubic | area | nearest
    c.INPUT.AUGMENT = [{"NAME": "flip"}, {"NAME": "crop", "PAD": 10}]  # in this order: files of reid/data/augment
    c.INPUT.VIEWS = CfgNode()  # {strong: [...]}: further views of the same pictures, each a list such as AUGMENT
    c.INPUT.TEST_CROP = 1.0  # below 1: scoring resizes to SIZE / TEST_CROP and takes the centre

    c.DATALOADER = CfgNode()
    c.DATALOADER.BATCH_SIZE = 64  # pictures per step, over all processes
    c.DATALOADER.WORKERS = 2  # loading processes; 0: load in the training process

    c.SAMPLER = CfgNode({"NAME": "identity"})  # free block: a file of reid/data/samplers and its options

    c.MODEL = CfgNode()
    c.MODEL.BACKBONE = CfgNode()
    c.MODEL.BACKBONE.NAME = "mobilenetv2_100"  # `tiny`, `osnet_x0_25` and its like, or timm's, such as resnet18.a1_in1k
    c.MODEL.BACKBONE.WEIGHTS = (
        "none"  # none | a local file | a shipped model | pip:<package> | timm or timm:<tag> (its hub, needs a network)
    )
    c.MODEL.BACKBONE.MEAN = []  # of pixels, RGB in 0..1; empty: what belongs to the weights (none: ImageNet's)
    c.MODEL.BACKBONE.STD = []  # their deviation, the same
    c.MODEL.BACKBONE.LAST_STRIDE = 2  # 1: twice as large a feature map, as strong re-ID baselines use
    c.MODEL.BACKBONE.STRIDE = 0  # of a ViT: pixels between patches, such as 12 of 16, which overlap then; 0: their size
    c.MODEL.BACKBONE.DROP_PATH = (
        0.0  # of timm's networks: how often a block is left out for a picture, rising to this in the last
    )
    c.MODEL.BACKBONE.SIE = (
        0  # of a ViT: how many cameras the sources have, for an embedding of each; 0: none, as on unseen ones
    )
    c.MODEL.BACKBONE.RECOMPUTE = False  # of timm's networks: blocks run again in the backward pass, for less memory
    # avg | max | avg+max | gem | strips4 (horizontal strips, any number); of tokens avg | cls | cls+avg | strips4
    c.MODEL.INIT = ""  # a checkpoint or a shipped model whose whole encoder a run starts from; `reid train --init` sets what goes with it
    c.MODEL.POOLING = "avg"
    c.MODEL.DIM = 0  # embedding size by a linear layer; 0: the backbone's own
    c.MODEL.NECK = True  # batch normalisation between feature and embedding
    c.MODEL.NORM = []  # [input, {NAME: mixstyle, AFTER: [layer1]}]: files of reid/models/norms and their options
    c.MODEL.FREEZE_BN = False  # keep the backbone's batch normalisation at its loaded statistics
    c.MODEL.CHANNELS_LAST = True  # memory layout; faster on CPUs and on tensor cores

    c.METHOD = CfgNode({"NAME": "baseline"})  # free block: a file of reid/methods and its options
    c.LOSSES = []  # [{NAME: softmax, WEIGHT: 1.0, ...}]: files of reid/losses and their options

    c.MEMORY = CfgNode()  # cross-batch memory behind every pair loss
    c.MEMORY.SIZE = 0  # embeddings kept; 0: no memory
    c.MEMORY.START_STEP = 0  # the step from which embeddings are kept and used
    c.MEMORY.WEIGHT = 1.0  # of the memory's term in mode `separate`
    c.MEMORY.MODE = "separate"  # separate: loss(batch) + WEIGHT * loss(batch, memory); joint: one loss over both
    c.MEMORY.MOMENTUM = 0.0  # of the encoder that fills the memory; 0: the trained encoder itself (XBM)

    c.DRIFT = CfgNode()  # how far embeddings move while the encoder learns
    c.DRIFT.EVERY = 0  # steps between two looks at the probe: 10, 100 or 1000; 0: none
    c.DRIFT.SAMPLES = 1024  # training pictures in the probe

    c.SOLVER = CfgNode()
    c.SOLVER.OPTIMIZER = "adam"  # adam | amsgrad | adamw | sgd
    c.SOLVER.LR = 3.5e-4
    c.SOLVER.WEIGHT_DECAY = 5e-4
    c.SOLVER.MOMENTUM = 0.9  # of sgd
    c.SOLVER.EPS = 1e-8  # of all but sgd: added to the root of the second moment
    c.SOLVER.LAYER_DECAY = (
        1.0  # of timm's networks: factor on the rate from each block to the one before it, such as 0.65
    )
    c.SOLVER.EPOCHS = 60
    c.SOLVER.MAX_STEPS = 0  # stop after so many optimiser steps; 0: after EPOCHS
    c.SOLVER.SCHEDULE = "step"  # step | cosine | constant
    c.SOLVER.STEPS = [40]  # epochs at which `step` multiplies the rate by GAMMA
    c.SOLVER.GAMMA = 0.1
    c.SOLVER.WARMUP_STEPS = 0  # optimiser steps of linear warm-up
    c.SOLVER.WARMUP_FACTOR = 0.01  # share of the rate at step 0
    # Parts of a run, each with its own of EPOCHS to WARMUP_FACTOR above, SAMPLER, AUGMENT, and LEARNS: [parameter groups].
    c.SOLVER.STAGES = []  # [{EPOCHS: 10, LR: 1e-3}, ...]; STEPS and warm-up count from the stage's start
    c.SOLVER.FREEZE = []  # [{PATTERN: "encoder.backbone.*", STEPS: 1000}]: parameters held for the first steps of the run
    c.SOLVER.EMA = 0.0  # decay of a running average of the weights, kept in checkpoints, such as 0.999; 0: none
    c.SOLVER.ACCUMULATE = 1  # parts of a batch, one after another, for less memory; losses are means over them
    c.SOLVER.CLIP_GRAD = 0.0  # largest norm of the gradient; 0: not clipped
    c.SOLVER.AMP = "off"  # off | bf16 | fp16
    c.SOLVER.LOG_STEPS = 20  # a line of metrics.jsonl every so many steps
    c.SOLVER.CHECKPOINT_STEPS = 0  # besides every epoch, a checkpoint every so many steps; 0: none
    c.SOLVER.KEEP = 0  # older checkpoints that stay beside model_last.pth, as model_step<step>.pth

    c.TEST = CfgNode()
    c.TEST.EVERY = 0  # score the targets (source_val: what was held out) every so many epochs; 0: at the end only
    c.TEST.SELECT = "last"  # last | source_val (held-out identities of the sources) | oracle (peeks at the targets)
    c.TEST.HOLD_OUT = 0.1  # share of each source's identities kept apart by source_val
    c.TEST.FOLD = []  # [0, 4]: in its place the first of four equal parts of them; TARGETS may then be empty
    c.TEST.BATCH_SIZE = 128
    c.TEST.CAMERA_RULE = True  # a gallery picture of the query's own camera is junk; False: it counts like any other
    c.TEST.FROZEN = []  # keys that belong to the protocol, such as [MODEL, INPUT]: rows that differ there share no table
    c.TEST.EMA = False  # score and export the average of the weights that SOLVER.EMA keeps
    c.TEST.FLIP = False  # average the embeddings of a picture and its mirror image
    c.TEST.RERANK = False  # also score with k-reciprocal re-ranking
    c.TEST.QUERY_EXPANSION = 0  # also score with each query averaged with so many pictures it finds first; 0: not
    c.TEST.CLUSTERING = False  # also NMI and AMI of retrieval sets by k-means; slow for many classes
    c.TEST.CLUSTERING_STARTS = 1  # of k-means, of which the best is kept
    c.TEST.OPEN_SET = []  # false alarm rates, such as [0.01, 0.1]: also the detection and identification rate at each
    c.TEST.CACHE = None  # keep embeddings in the run folder; None: test_net does, training does not
    c.TEST.REPORT = True  # also a page of the results, run.html; at most ten seconds; studies leave it out
    c.TEST.BOOTSTRAP = 0  # resamples of the query persons for 95% intervals; 0: none
    return c
