"""The objects of a run from its config, each by a function of its own name."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from yacs.config import CfgNode

from reid import config, errors, optim, runtime
from reid.builder import initial, plugins, registry
from reid.builder.registry import find, make
from reid.data import records
from reid.data.loader import Loader
from reid.data.records import Dataset, Sample, Trial
from reid.data.samplers import Sampler
from reid.data.sources import TrainSet
from reid.data.transforms import Test, Train
from reid.evaluation.drift import Drift
from reid.loggers import Logger
from reid.losses import PairLoss, Term
from reid.memory import CrossBatch
from reid.methods import Method
from reid.models import depth
from reid.models.encoder import Encoder
from reid.models.pixels import Pixels
from reid.run_folder import RunFolder

LOG_WORDS = ("step", "epoch", "loss", "lr", "grad_norm")  # columns of metrics.jsonl beside the losses


def datasets(cfg: CfgNode, entries: Sequence[str | dict[str, Any]]) -> list[Dataset]:
    """The data sets of DATASETS.SOURCES or .TARGETS, read from disk; a withdrawn one carries its notice."""
    made = []
    for entry in entries:
        dataset = registry.dataset(cfg, entry, check_counts=cfg.DATASETS.CHECK_COUNTS)()
        notice = records.refuse_withdrawn(dataset.name, dataset.card, allow=cfg.DATASETS.ALLOW_WITHDRAWN)
        made.append(dataclasses.replace(dataset, notes=(*dataset.notes, notice)) if notice else dataset)
    repeated = {d.name for d in made if sum(d.name == other.name for other in made) > 1}
    if repeated:
        raise ValueError(
            f"DATASETS: {', '.join(sorted(repeated))} is named twice in one list; give each a name of its own, "
            "as {NAME: folder, PATH: ..., AS: site_a}"
        )
    return made


def targets(cfg: CfgNode) -> list[Dataset]:
    """DATASETS.TARGETS; without the camera rule their searches know no cameras, which the variant says."""
    made = datasets(cfg, cfg.DATASETS.TARGETS)
    if cfg.TEST.CAMERA_RULE:
        return made
    return [
        dataclasses.replace(
            dataset,
            trials=[
                Trial(
                    _no_cameras(trial.query),
                    None if trial.gallery is None else _no_cameras(trial.gallery),
                    [_no_cameras(group) for group in trial.together],
                )
                for trial in dataset.trials
            ],
            variant={**dataset.variant, "camera_rule": False},
        )
        for dataset in made
    ]


def _no_cameras(samples: Sequence[Sample]) -> list[Sample]:
    return [sample._replace(camid=None) for sample in samples]


def train_transform(cfg: CfgNode) -> Train:
    return _augmented(cfg, cfg.INPUT.AUGMENT, "INPUT.AUGMENT")


def views(cfg: CfgNode) -> dict[str, Train]:
    """The transforms of INPUT.VIEWS by name."""
    return {name: _augmented(cfg, entries, f"INPUT.VIEWS.{name}") for name, entries in cfg.INPUT.VIEWS.items()}


def _augmented(cfg: CfgNode, entries: Sequence[Any], where: str) -> Train:
    size = tuple(cfg.INPUT.SIZE)
    steps = [make("data/augment", registry.entry(value, where), size=size) for value in entries]
    return Train(size, cfg.INPUT.INTERPOLATION, steps)


def check_views(cfg: CfgNode, built: Method) -> None:
    """Raises ValueError unless INPUT.VIEWS holds the views that the method reads, and no others: they cost time."""
    given = frozenset(cfg.INPUT.VIEWS)
    missing, unread = sorted(built.views - given), sorted(given - built.views)
    if missing:
        raise ValueError(
            f"INPUT.VIEWS: found no {', '.join(missing)}, which METHOD {cfg.METHOD.NAME} reads; expected its list of "
            f"augmentations, such as INPUT.VIEWS: {{{missing[0]}: [{{NAME: flip}}, {{NAME: jitter}}]}}"
        )
    if unread:
        raise ValueError(
            f"INPUT.VIEWS: found {', '.join(unread)}, which METHOD {cfg.METHOD.NAME} does not read; it reads "
            f"{', '.join(sorted(built.views)) or 'no view'}: leave the others out"
        )


def check_parts(cfg: CfgNode, built: Method) -> None:
    """Raises ValueError where SOLVER.ACCUMULATE asks for the one step of all parts, and the method takes several."""
    if cfg.SOLVER.ACCUMULATE > 1 and built.several_steps:
        raise ValueError(
            f"SOLVER.ACCUMULATE is {cfg.SOLVER.ACCUMULATE}, and METHOD {cfg.METHOD.NAME} takes several steps a batch; expected 1"
        )


def check_cameras(cfg: CfgNode, train_set: TrainSet) -> None:
    """Raises ValueError where MODEL.BACKBONE.SIE is not the number of the sources' cameras, or some pictures have none."""
    asked, found = cfg.MODEL.BACKBONE.SIE, len(np.unique(train_set.camids[train_set.camids >= 0]))
    lacking = int((train_set.camids < 0).sum())
    if asked and (asked != found or lacking):
        without = f" and {lacking:,} pictures without one" if lacking else ""
        raise ValueError(
            f"MODEL.BACKBONE.SIE is {asked}; found {found} cameras in the sources{without}, expected the number of all, or 0"
        )


def test_transform(cfg: CfgNode) -> Test:
    return Test(size=tuple(cfg.INPUT.SIZE), interpolation=cfg.INPUT.INTERPOLATION, crop=cfg.INPUT.TEST_CROP)


def sampler(cfg: CfgNode, train_set: TrainSet) -> Sampler:
    return make(
        "data/samplers",
        cfg.SAMPLER,
        classes=train_set.classes,
        domains=train_set.domains,
        camids=train_set.camids,
        batch_size=cfg.DATALOADER.BATCH_SIZE,
        seed=cfg.SEED,
    )


def check_pairs(cfg: CfgNode, batches: Sampler, train_set: TrainSet) -> None:
    """Raises ValueError where a pair loss without a memory would never see two pictures of a class, or two classes (of one
    domain, with NEGATIVES_WITHIN_DOMAIN).

    Judged by the batches of the first epoch, as each process gets them, in parts with ACCUMULATE.
    """
    names = [registry.entry(value, "LOSSES")["NAME"] for value in cfg.LOSSES]
    kinds: dict[str, Any] = {name: find("losses", name) for name in names}
    of_pairs = [name for name, kind in kinds.items() if issubclass(kind, PairLoss)]
    if not of_pairs or cfg.MEMORY.SIZE:
        return
    first = batches.draws(0)
    shares = [draw.indices[rows] for draw in first for rows in draw.shares(runtime.world() * cfg.SOLVER.ACCUMULATE)]
    num_classes = np.array([len(np.unique(train_set.classes[share])) for share in shares])
    apart = cfg.METHOD.get("NEGATIVES_WITHIN_DOMAIN") is True
    fewest = [len(np.unique(train_set.domains[share])) if apart else 1 for share in shares]
    if (num_classes == [len(share) for share in shares]).all():
        lacking, advice = "two pictures of a class", "take SAMPLER identity with NUM_INSTANCES 2 or more"
    elif (num_classes == fewest).all():
        lacking = f"two classes{' of one domain' if apart else ''}"
        advice = "lower SAMPLER.NUM_INSTANCES, raise DATALOADER.BATCH_SIZE"
    else:
        return
    raise errors.OptionsRefused(
        f"losses.{of_pairs[0]}: found no {lacking} in any of the {len(first):,} batches of SAMPLER {cfg.SAMPLER.NAME}; "
        f"expected some: {advice}, or set MEMORY.SIZE"
    )


def loader(cfg: CfgNode, train_set: TrainSet, batches: Sampler) -> Loader:
    if cfg.DATALOADER.BATCH_SIZE % runtime.world():
        raise ValueError(
            f"DATALOADER.BATCH_SIZE is {cfg.DATALOADER.BATCH_SIZE} over {runtime.world()} processes; "
            "expected a multiple of their number"
        )
    parts = cfg.SOLVER.ACCUMULATE
    if cfg.DATALOADER.BATCH_SIZE % (runtime.world() * parts):
        raise ValueError(
            f"SOLVER.ACCUMULATE is {parts} of DATALOADER.BATCH_SIZE {cfg.DATALOADER.BATCH_SIZE} over {runtime.world()} processes; "
            "expected a number that divides the batch of each"
        )
    try:
        for draw in batches.draws(0):  # refused now where they cannot be shared out, rather than at the first step
            draw.shares(runtime.world() * parts)
    except ValueError as error:
        shared = f"; these are the parts of SOLVER.ACCUMULATE {parts} in each process" if parts > 1 else ""
        raise ValueError(f"{error}{shared}") from error
    return Loader(
        train_set,
        train_transform(cfg),
        batches,
        views=views(cfg),
        seed=cfg.SEED,
        workers=cfg.DATALOADER.WORKERS,
        rank=runtime.rank(),
        world=runtime.world(),
        parts=parts,
    )


def encoder(cfg: CfgNode, *, features: Sequence[str] = (), weights: str | None = None) -> Encoder:
    """The encoder of MODEL, with the further `features` that a method wants; `weights` stands in for
    MODEL.BACKBONE.WEIGHTS (a checkpoint brings its own)."""
    name = cfg.MODEL.BACKBONE.NAME
    backbone: Any = name
    if plugins.is_one(name):
        registry.prepare("models/backbones", name)  # one that cannot be made without options is refused
        backbone = find("models/backbones", name)
    made = Encoder(
        backbone=backbone,
        weights=cfg.MODEL.BACKBONE.WEIGHTS if weights is None else weights,
        last_stride=cfg.MODEL.BACKBONE.LAST_STRIDE,
        pooling=cfg.MODEL.POOLING,
        dim=cfg.MODEL.DIM,
        neck=cfg.MODEL.NECK,
        norms=[make("models/norms", entry, num_domains=len(cfg.DATASETS.SOURCES)) for entry in cfg.MODEL.NORM],
        freeze_bn=cfg.MODEL.FREEZE_BN,
        mirror=cfg.TEST.FLIP,
        mean=cfg.MODEL.BACKBONE.MEAN,
        std=cfg.MODEL.BACKBONE.STD,
        features=features,
        size=tuple(cfg.INPUT.SIZE),
        stride=cfg.MODEL.BACKBONE.STRIDE,
        drop_path=cfg.MODEL.BACKBONE.DROP_PATH,
        recompute=cfg.MODEL.BACKBONE.RECOMPUTE,
        sie=cfg.MODEL.BACKBONE.SIE,
    )
    only = getattr(made.backbone, "picture_size", None)
    if only not in (None, tuple(cfg.INPUT.SIZE)):
        raise ValueError(f"INPUT.SIZE is {cfg.INPUT.SIZE}; backbone {name} takes {list(only)} alone")
    if cfg.MODEL.INIT and weights is None:
        initial.load(made, cfg.MODEL.INIT)
    return made


def check_pixels(cfg: CfgNode, built: Method) -> None:
    """Raises ValueError where MODEL.BACKBONE.MEAN or STD is set to other than what a checkpoint's encoder was made with."""
    made: Any = built.encoder
    asked = (cfg.MODEL.BACKBONE.MEAN, cfg.MODEL.BACKBONE.STD)
    wanted = Pixels(*(tuple(values) or own for values, own in zip(asked, made.pixels, strict=True)))
    if Pixels.of(**wanted.check().tensors()) != made.pixels:
        raise ValueError(
            f"MODEL.BACKBONE.MEAN and STD ask for pixels by {wanted}, and the checkpoint was trained by {made.pixels}; "
            "leave them out"
        )


def losses(cfg: CfgNode, *, num_classes: int, dim: int) -> list[Term]:
    """LOSSES as terms; two entries of one NAME are told apart by a number."""
    frame = registry.parameters(Term, without=("name", "loss"))
    terms: list[Term] = []
    for number, value in enumerate(cfg.LOSSES):
        block = registry.entry(value, "LOSSES")
        said = {key: block.pop(key) for key in frame if key in block}
        common = registry.arguments(said, frame, f"LOSSES.{number}")
        loss = make("losses", block, num_classes=num_classes, dim=dim)
        if loss.needs_domains and len(cfg.DATASETS.SOURCES) < 2:
            raise ValueError(
                f"losses.{block['NAME']}: found {len(cfg.DATASETS.SOURCES)} source; it compares domains: name two or more in "
                "DATASETS.SOURCES"
            )
        if "feature" in common and not isinstance(loss, PairLoss):
            raise ValueError(
                f"losses.{block['NAME']}: FEATURE is for pair losses; a class loss takes the feature after the neck"
            )
        terms.append(Term(_free_name(block["NAME"], [term.name for term in terms]), loss, **common))
    return terms


def _free_name(name: str, taken: Sequence[str]) -> str:
    """What the log calls a loss: its NAME, of a plug-in the class's; numbered from the second of a name on."""
    label = plugins.label(name)
    if label in LOG_WORDS or hasattr(nn.ModuleDict, label):
        raise ValueError(f"losses.{name}: {label} has another meaning in logs; give the class another name")
    numbered = (f"{label}{number or ''}" for number in (0, *range(2, len(taken) + 2)))
    return next(name for name in numbered if name not in taken)


def method(
    cfg: CfgNode,
    *,
    num_classes: int,
    num_samples: int,
    classes: np.ndarray | None = None,
    domains: np.ndarray | None = None,
    weights: str | None = None,
    teacher: Method | None = None,
) -> Method:
    """The method with its encoder, losses and memories, on the CPU; `classes`, `domains` (N,) where it is to be trained.

    teacher: another method that it learns from, if it is of those that have one."""
    kind: Any = find("methods", cfg.METHOD.NAME)
    made = encoder(cfg, features=kind.features, weights=weights)
    memory = None
    if cfg.MEMORY.SIZE:
        memory = CrossBatch(**{key.lower(): value for key, value in cfg.MEMORY.items()})
        if memory.size > num_samples:
            runtime.log.warning("MEMORY.SIZE %d is more than the %d training samples", memory.size, num_samples)
    taken = inspect.signature(kind).parameters
    for key, given in (("losses", cfg.LOSSES), ("memory", memory)):
        if given and key not in taken:
            raise ValueError(
                f"methods.{cfg.METHOD.NAME} takes no {key.upper()}: it brings its own; leave them out of the config"
            )
    terms = losses(cfg, num_classes=num_classes, dim=made.dim)
    needs: frozenset[str] = frozenset()
    for stage in config.stages(cfg):
        batches: Any = find("data/samplers", stage.SAMPLER.NAME)
        _check_needs(cfg, f"SAMPLER {stage.SAMPLER.NAME}", batches.needs)
        needs |= batches.needs
    for term in terms:
        _check_needs(cfg, f"losses.{term.name}", term.loss.needs)
    built = make(
        "methods",
        cfg.METHOD,
        encoder=made,
        losses=terms,
        memory=memory,
        num_classes=num_classes,
        num_samples=num_samples,
        classes=classes,
        domains=domains,
        dim=made.dim,
        taught_by=teacher,
    )
    built.needs = needs
    return built.to(memory_format=torch.channels_last) if cfg.MODEL.CHANNELS_LAST else built


def _check_needs(cfg: CfgNode, what: str, needs: frozenset[str]) -> None:
    """Raises ValueError where METHOD does not give what a sampler or a loss needs of each epoch's plan."""
    lacking = needs - _gives(cfg.METHOD.NAME)
    if lacking:
        able = [f"METHOD {name}" for name in registry.names("methods") if needs <= _gives(name)]
        raise ValueError(
            f"{what} needs the {' and '.join(sorted(lacking))} of a plan, which METHOD {cfg.METHOD.NAME} does not give; "
            f"expected {' or '.join(able) or 'a method of your own'}, or something that needs none in place of {what}"
        )


def _gives(name: str) -> frozenset[str]:
    kind: Any = find("methods", name)
    return kind.gives


def drift(cfg: CfgNode, samples: Sequence[Sample], look: Callable[..., Any]) -> Drift | None:
    """DRIFT over a part of the training samples, the same for every SEED; look(samples, feature) embeds them."""
    if not cfg.DRIFT.EVERY:
        return None
    probe = np.sort(np.random.default_rng(0).permutation(len(samples))[: cfg.DRIFT.SAMPLES])
    # Before the neck, as memories keep it unless told otherwise.
    return Drift(partial(look, [samples[i] for i in probe], feature="before"), cfg.DRIFT.EVERY)


def loggers(cfg: CfgNode, run: RunFolder, earlier: dict[str, Any] | None) -> list[Callable[[], Logger]]:
    """Makers of LOGGERS, of the process that writes; earlier: the checkpoint that the run goes on from."""
    about = {"folder": run.path, "config": config.dump(cfg), "step": earlier["progress"]["step"] if earlier else 0}
    makers = [registry.prepare("loggers", registry.entry(value, "LOGGERS"), **about) for value in cfg.LOGGERS]
    return makers if run.writes else []


def optimizer(cfg: CfgNode, built: Method) -> Any:
    groups = built.param_groups()
    grouped = {id(p) for group in groups for p in group["params"]}
    if forgotten := [name for name, p in built.named_parameters() if p.requires_grad and id(p) not in grouped]:
        raise ValueError(
            f"methods.{cfg.METHOD.NAME}: {', '.join(forgotten[:3])} can be trained and is in no parameter group; "
            "expected every one in a group, or requires_grad False"
        )
    decay, made = cfg.SOLVER.LAYER_DECAY, cast(Encoder, built.encoder)
    return optim.optimizer(
        groups,
        name=cfg.SOLVER.OPTIMIZER,
        lr=cfg.SOLVER.LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        momentum=cfg.SOLVER.MOMENTUM,
        eps=cfg.SOLVER.EPS,
        factors=depth.factors(made.backbone, decay) if decay < 1 else None,
    )
