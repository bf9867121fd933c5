"""Whole runs from a config: training, and scoring a checkpoint. What the tools call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from reid import checkpoint, config, processes, runtime
from reid.builder import (
    exported,
    initial,
    objects,
    page,
    plugins,
    refusals,
    registry,
    resuming,
    scored,
    stages,
    teacher,
)
from reid.builder.scoring import Rows, Scorer, notes_of, rules_of
from reid.data import overlap, sources
from reid.data.looks import Look
from reid.data.records import Dataset, Sample
from reid.data.sources import TrainSet
from reid.evaluation import protocol, report
from reid.evaluation.embed import embed
from reid.evaluation.summary import last_scoring
from reid.methods import Method
from reid.run_folder import RunFolder
from reid.trainer import Trainer


@runtime.single_precision()
@processes.together()
def train(cfg: CfgNode, *, resume: bool = False, anyway: bool = False) -> Rows:
    """Trains as `cfg` says, scores the targets, and returns the rows of the last scoring.

    resume: go on from the run folder's `model_last.pth`, exactly; start afresh where there is none yet. anyway: even where
    that cannot be exact, on another number of processes; every row of results then says so.
    """
    runtime.start_log(None)
    with RunFolder(cfg.OUTPUT_DIR) as run:
        earlier = resuming.look(cfg, run, resume=resume, anyway=anyway)
        if earlier.finished:
            runtime.log.info("the run in %s is finished: nothing is left to do", run.path)
            return _last_rows(cfg, run)
        return _train(cfg, run, earlier)


def _train(cfg: CfgNode, run: RunFolder, earlier: resuming.Earlier) -> Rows:
    """Makes the folder, trains, scores, and marks the run as finished."""
    data, trainer, scorer = _make(cfg, run, earlier)
    method, about = trainer.method, trainer.about

    # Everything that can be refused has been: from here on there is a run.
    run.open(about["config"])
    resuming.begin(run)
    method.to(trainer.device)
    plugins.say(about["plugins"], earlier.content)
    for line in (*earlier.changed, *initial.notes(cfg), *earlier.notes):
        runtime.log.warning("%s", line)
    if cfg.SOLVER.AMP == "fp16" and trainer.device.type == "cpu":
        runtime.log.warning(
            "SOLVER.AMP fp16 on a CPU takes many times as long as off, which it has no units for; use bf16 or off"
        )
    _say(data.sources, "sources")
    _say(data.targets, "targets")
    dealt = [line for stage in trainer.stages for line in sources.describe(stage.loader.sampler, data.train_set)]
    steps = stages.num_steps(cfg, trainer.stages)
    plan = f"{steps:,} steps on {runtime.describe(trainer.device)}; run folder {run.path}"
    for line in (*_told(about["protocol"]), *dealt, repr(method), plan):
        runtime.log.info("%s", line)

    scorer.last_step = steps
    trainer.train(resume=earlier.content)
    if cfg.TEST.SELECT != "last" and data.targets:
        path = run / "model_best.pth"
        best = checkpoint.load(path)
        checkpoint.load_state(method, checkpoint.weights(best, path, average=cfg.TEST.EMA), path)
        scorer.score_targets(best["progress"]["step"])
    resuming.finish(run, method)
    _write_page(cfg, run)
    return scorer.rows or _last_rows(cfg, run)


def _last_rows(cfg: CfgNode, run: RunFolder) -> Rows:
    """Of the targets, or of what was held out where a run has no targets."""
    role = "target" if cfg.DATASETS.TARGETS else "source"
    return list(last_scoring(report.read(run / "results.jsonl"), role))


def _make(cfg: CfgNode, run: RunFolder, earlier: resuming.Earlier) -> tuple[_Data, Trainer, Scorer]:
    """All that a run is made of. Raises ValueError for what can be refused before there is a folder."""
    device = runtime.device(cfg.DEVICE)
    origins = registry.origins(cfg)
    refusals.check_lists(cfg)
    data = _Data.read(cfg)
    train_set = data.train_set
    if earlier.content is not None:
        train_set.check_label_map(earlier.content["label_map"])
    objects.check_cameras(cfg, train_set)
    batches = stages.samplers(cfg, train_set)
    taught_by = teacher.load(cfg, train_set)
    runtime.seed(cfg.SEED)
    method = objects.method(
        cfg,
        num_classes=train_set.num_classes,
        num_samples=len(train_set),
        classes=train_set.classes,
        domains=train_set.domains,
        teacher=taught_by,
    )
    objects.check_views(cfg, method)
    objects.check_parts(cfg, method)
    optimizer, parts = objects.optimizer(cfg, method), stages.make(cfg, train_set, batches, method)
    look = partial(_embed, cfg, method, device)
    rules = rules_of(cfg, data.sources, data.targets)
    notes = [*notes_of(data.sources), *initial.notes(cfg), *earlier.notes]
    keep = bool(cfg.TEST.CACHE)
    scorer = Scorer(cfg, method, data.targets, data.validation, run, rules, notes, device, runtime.world(), keep=keep)
    trainer = Trainer(
        method,
        parts,
        optimizer,
        run,
        device=device,
        max_steps=cfg.SOLVER.MAX_STEPS,
        clip_grad=cfg.SOLVER.CLIP_GRAD,
        amp=cfg.SOLVER.AMP,
        log_steps=cfg.SOLVER.LOG_STEPS,
        checkpoint_steps=cfg.SOLVER.CHECKPOINT_STEPS,
        keep_older=cfg.SOLVER.KEEP,
        test_every=cfg.TEST.EVERY,
        evaluate=scorer,
        embed=partial(look, train_set.samples),
        drift=objects.drift(cfg, train_set.samples, look),
        ema=cfg.SOLVER.EMA,
        score_average=cfg.TEST.EMA,
        freeze=stages.freeze(cfg, method, parts),
        parts=cfg.SOLVER.ACCUMULATE,
        loggers=objects.loggers(cfg, run, earlier.content),
        about={
            "config": config.dump(cfg),
            "protocol": rules,
            "notes": notes,
            "plugins": origins,
            "label_map": train_set.label_map(),
            "num_samples": len(train_set),
            "pictures": data.pictures,
            "processes": runtime.world(),
        },
    )
    refusals.check_shared_memory(cfg, data.sources, [*data.validation, *data.targets])
    refusals.check_batch(cfg, method)
    return data, trainer, scorer


@dataclass(frozen=True)
class _Data:
    """The sets of a training run; `validation` are the identities held out of the sources, if any.

    pictures: (N,) int64, sorted, the `Look.number` of each picture that is trained on.
    """

    sources: list[Dataset]
    validation: list[Dataset]
    targets: list[Dataset]
    train_set: TrainSet
    pictures: Tensor

    @classmethod
    def read(cls, cfg: CfgNode) -> _Data:
        source_sets, targets = objects.datasets(cfg, cfg.DATASETS.SOURCES), objects.targets(cfg)
        validation = []
        if cfg.TEST.SELECT == "source_val":
            # Who is held out belongs to the protocol, not to a run's chance: the same people for every SEED.
            source_sets, held_out = sources.hold_out(source_sets, cfg.TEST.HOLD_OUT, seed=0, fold=cfg.TEST.FOLD)
            validation.append(held_out)
        source_sets, targets, found = refusals.check_pictures(source_sets, targets, validation)
        train_set = sources.join(source_sets)
        pictures = torch.tensor(sorted(found[sample.path].number for sample in train_set.samples))
        return cls(source_sets, validation, targets, train_set, pictures)


@runtime.single_precision()
@processes.together()
def score(
    cfg: CfgNode | None,
    weights: str | Path | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
) -> Rows:
    """Scores the checkpoint or export `weights` on the targets of `cfg`, or an untrained method where there is none.

    cfg: None takes the checkpoint's own, of an export the defaults, with `overrides` on top. Neither needs any of its sources
        on disk.
    output: folder of the rows; None: `test` beside the checkpoint, or `<export>-test` beside the export.
    """
    runtime.start_log(None)
    graphs = exported.Exported(weights) if weights is not None and exported.is_one(weights) else None
    content = None if weights is None or graphs else checkpoint.load(weights)
    if cfg is None:
        if weights is None:
            raise ValueError("scoring needs --config, --weights or both")
        cfg = config.load(None, overrides) if content is None else config.parse(content["config"], overrides)
    if graphs:
        cfg = graphs.config(cfg)
    if not cfg.DATASETS.TARGETS:
        raise ValueError("DATASETS.TARGETS is empty; name at least one set to score, such as [market1501]")
    origins = registry.origins(cfg, without=("LOGGERS", *([] if weights is None else ["DATASETS.SOURCES"])))
    _, targets, found = refusals.check_pictures([], objects.targets(cfg))
    rules = rules_of(cfg, [], targets)
    runtime.seed(cfg.SEED)
    if graphs:
        what = scored.of_export(graphs)
    elif content is None:
        what = scored.untrained(cfg)
    else:
        targets = _known(targets, found, content)
        what = scored.of_checkpoint(cfg, content, weights or "")
    if what.sources is not None:
        rules["sources"] = what.sources
    device = runtime.device(cfg.DEVICE)
    with RunFolder(what.output if output is None else output) as run:
        if (run / "model_last.pth").exists():
            raise ValueError(
                f"--output {run.path} holds a training run, whose config and log would be lost; give another folder"
            )
        keep = cfg.TEST.CACHE is not False
        scorer = Scorer(cfg, what.method, targets, [], run, rules, what.notes, device, what.trained_by, keep=keep)
        scorer.rows_say = graphs.rows_say() if graphs else {}
        refusals.check_shared_memory(cfg, [], targets)
        run.open(config.dump(cfg))
        what.method.to(device)
        plugins.say(origins, content)
        _say(targets, "targets")
        for note in what.notes:
            runtime.log.warning("trained on: %s", note)
        if graphs or (content is not None and "pictures" not in content):
            which = "an export" if graphs else "the checkpoint is an older one, which"
            runtime.log.warning("%s does not know the pictures of its training: they are not compared", which)
        for line in (*_told(rules), repr(what.method), f"on {runtime.describe(device)}; run folder {run.path}"):
            runtime.log.info("%s", line)
        scorer.score_targets(what.step)
        _write_page(cfg, run)
    return scorer.rows


def _known(targets: Sequence[Dataset], found: dict[str, Look], content: dict[str, Any]) -> list[Dataset]:
    """The targets with notes of the pictures and people of them that the checkpoint was trained on."""
    pictures = frozenset(content["pictures"].tolist() if "pictures" in content else ())
    people = content["label_map"]
    return [
        overlap.known_people(overlap.known_pictures(target, found, pictures), people.get(target.name, ()))
        for target in targets
    ]


def _write_page(cfg: CfgNode, run: RunFolder) -> None:
    if cfg.TEST.REPORT and cfg.DATASETS.TARGETS and run.writes:
        page.write([run.path], run / page.PAGE)
        runtime.log.info("the results as a page: %s", run / page.PAGE)


def _told(rules: dict[str, Any]) -> list[str]:
    """The protocol for the log."""
    return [f"protocol {protocol.fingerprint(rules)}", *(f"  {line}" for line in protocol.readable(rules))]


def _say(datasets: Sequence[Dataset], role: str) -> None:
    for dataset in datasets:
        runtime.log.info("%s: %r; terms: %s", role, dataset, dataset.card.terms)
        for note in dataset.notes:
            runtime.log.warning("%s: %s", dataset.name, note)


def _embed(
    cfg: CfgNode,
    method: Method,
    device: torch.device,
    samples: Sequence[Sample],
    feature: str = "embedding",
    indices: Sequence[int] | None = None,
) -> Tensor:
    """(N, *shape) of training samples as if they were scored, or one of the encoder's features: see `Method.start_epoch`.

    indices: of samples, in any order; None: all of them.
    """
    if indices is not None:
        samples = [samples[i] for i in indices]
    training = method.training
    method.eval()
    encode = method.encode_query if feature == "embedding" else lambda images: method.encoder(images)[feature]
    try:
        return embed(
            encode,
            samples,
            transform=objects.test_transform(cfg),
            batch_size=cfg.TEST.BATCH_SIZE,
            workers=cfg.DATALOADER.WORKERS,
            device=device,
        )
    finally:
        method.train(training)
