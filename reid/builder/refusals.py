"""What a run is refused for before it has a folder: all that can be known before its first step."""

from __future__ import annotations

import functools
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from yacs.config import CfgNode

from reid import config, runtime, trainer
from reid.builder import objects, registry
from reid.data import loader, looks, overlap
from reid.data.looks import Look
from reid.data.records import Dataset, Sample
from reid.evaluation import protocol
from reid.losses import Term
from reid.methods import Method
from reid.models.encoder import Encoder
from reid.models.norms import hold_statistics


def check_lists(cfg: CfgNode) -> None:
    for key in ("SOURCES", "TARGETS"):
        if not cfg.DATASETS[key] and not (key == "TARGETS" and cfg.TEST.FOLD):
            purpose = "train on" if key == "SOURCES" else "score"
            raise ValueError(f"DATASETS.{key} is empty; name at least one set to {purpose}, such as [market1501]")
    if not cfg.LOSSES and cfg.METHOD.NAME == "baseline":
        raise ValueError("LOSSES is empty; name at least one, such as [{NAME: softmax}, {NAME: triplet}]")
    wanted = getattr(objects.find("methods", cfg.METHOD.NAME), "sampler", None)
    for stage in config.stages(cfg):
        if wanted not in (None, stage.SAMPLER.NAME):
            raise ValueError(f"methods.{cfg.METHOD.NAME}: SAMPLER is {stage.SAMPLER.NAME}; expected {wanted}")
    if cfg.TEST.SELECT not in protocol.SELECTIONS:
        raise ValueError(f"TEST.SELECT: no {cfg.TEST.SELECT}; there are {', '.join(protocol.SELECTIONS)}")
    if cfg.TEST.FOLD and cfg.TEST.SELECT != "source_val":
        raise ValueError(
            f"TEST.FOLD is {cfg.TEST.FOLD}, and TEST.SELECT {cfg.TEST.SELECT} holds nobody out; expected source_val"
        )
    if cfg.TEST.EMA and not cfg.SOLVER.EMA:
        raise ValueError("TEST.EMA is True and SOLVER.EMA 0, which keeps no average; set a decay, such as 0.999")
    if cfg.SOLVER.AMP not in trainer.AMP:
        raise ValueError(f"SOLVER.AMP: no {cfg.SOLVER.AMP}; there are {', '.join(trainer.AMP)}")


def check_options(cfg: CfgNode) -> None:
    """Raises ValueError for an unknown NAME or option, or a value of another kind or outside its range, without a data set."""
    frame = registry.parameters(Term, without=("name", "loss"))
    for key in ("METHOD", "SAMPLER", "LOSSES", "INPUT.AUGMENT", "MODEL.NORM"):
        folder = registry.ENTRIES[key]
        values = functools.reduce(lambda node, part: node[part], key.split("."), cfg)
        for value in [values] if isinstance(values, dict) else values:
            given = registry.entry(value, key)
            name = given.pop("NAME")
            known = registry.options(folder, name) | (frame if folder == "losses" else {})
            registry.arguments(given, known, f"{folder.rpartition('/')[2]}.{name}")


def check_pictures(
    sources: Sequence[Dataset], targets: Sequence[Dataset], others: Sequence[Dataset] = ()
) -> tuple[list[Dataset], list[Dataset], dict[str, Look]]:
    """Sources and targets with notes of the pictures and people that stand where they should not, see `overlap.noted`; and a
    look at each picture.

    others: sets whose pictures are read too. Raises ValueError for unreadable files, now rather than in epoch 40.
    """
    found = looks.look(overlap.paths([*sources, *targets, *others]))
    problems = looks.faults(found)
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"pictures: {'; '.join(problems[:5])}{more}. Unpack the set again, or take them out of its lists"
        )
    return *overlap.noted(sources, targets, looks.copies(found)), found


def _searched(datasets: Sequence[Dataset]) -> list[Sample]:
    """The pictures of all searches."""
    trials = [trial for dataset in datasets for trial in dataset.searches]
    return [sample for trial in trials for sample in (*trial.query, *(trial.gallery or ()))]


def check_shared_memory(cfg: CfgNode, source_sets: Sequence[Dataset], targets: Sequence[Dataset]) -> None:
    """Raises ValueError where the batches that workers keep ready for the training process could fill /dev/shm."""
    workers, shared = cfg.DATALOADER.WORKERS, Path(loader.SHARED)
    if not workers or not shared.is_dir():
        return
    batches = loader.WAITING * workers + 1  # one of them with the trainer
    rows = cfg.DATALOADER.BATCH_SIZE // runtime.world() * (1 + len(cfg.INPUT.VIEWS))
    training = batches * rows if source_sets else 0
    scoring = min(batches * cfg.TEST.BATCH_SIZE, len(_searched(targets)))
    pictures = training + scoring if cfg.DRIFT.EVERY else max(training, scoring)  # drift is measured while others wait
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", runtime.world()))  # on this machine
    needed = processes * pictures * 3 * math.prod(cfg.INPUT.SIZE)
    free = shutil.disk_usage(shared).free
    if needed > free:
        raise ValueError(
            f"{shared} has {free:,} bytes free, and loading by DATALOADER.WORKERS {workers} may need {needed:,}; "
            f"make it larger (docker run --shm-size), or {loader.LESS_SHARED}"
        )


def check_batch(cfg: CfgNode, method: Method) -> None:
    """Raises ValueError where the encoder cannot learn from a batch of this size, or from pictures of this size.

    Of a method that puts something of its own in the encoder's place nothing is asked.
    """
    if not isinstance(method.encoder, Encoder):
        return
    rows = min(2, cfg.DATALOADER.BATCH_SIZE // runtime.world())
    images = torch.zeros(rows, 3, *cfg.INPUT.SIZE, dtype=torch.uint8)
    training = method.training
    try:
        with torch.no_grad(), hold_statistics(method), torch.random.fork_rng(devices=[]):
            for mode in (True, False):
                zeros = torch.zeros(rows, dtype=torch.int64)
                method.train(mode).encoder(images, zeros, zeros)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"found {rows} picture(s) per process and step (DATALOADER.BATCH_SIZE {cfg.DATALOADER.BATCH_SIZE}) of INPUT.SIZE "
            f"{list(cfg.INPUT.SIZE)}, which the encoder cannot take: {reason}; expected more or larger ones"
        ) from error
    finally:
        method.train(training)
