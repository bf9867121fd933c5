"""Whole runs from a config: training, and scoring a checkpoint. What the tools call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from reid import checkpoint, config, processes, runtime, trainer
from reid.builder import objects, plugins, registry, stages
from reid.data import records, sources
from reid.data.records import Dataset, Sample
from reid.evaluation import protocol, report
from reid.evaluation.embed import embed
from reid.evaluation.evaluate import check_method, evaluate
from reid.methods import Method

Rows = list[dict[str, Any]]
MOVED = "resumed at step"  # how a note begins that says so


@processes.together()
def train(cfg: CfgNode, *, resume: bool = False, anyway: bool = False) -> Rows:
    """Trains as `cfg` says, scores the targets, and returns the rows of the last scoring.

    resume: go on from the run folder's `model_last.pth`, exactly; start afresh where there is none yet. anyway: even where
    that cannot be exact, on another number of processes; every row of results then says so.
    """
    runtime.start_log(None)
    run = runtime.RunFolder(cfg.OUTPUT_DIR)
    saved = _saved(cfg, run, resume or anyway)
    moved = _moved(saved, anyway)
    origins = registry.origins(cfg)
    _check_lists(cfg)
    source_sets = objects.datasets(cfg, cfg.DATASETS.SOURCES)
    targets = objects.targets(cfg)
    validation = []
    if cfg.TEST.SELECT == "source_val":
        # Who is held out belongs to the protocol, not to a run's chance: the same people for every SEED.
        source_sets, held_out = sources.hold_out(source_sets, cfg.TEST.HOLD_OUT, seed=0)
        validation.append(held_out)
    train_set = sources.join(source_sets)
    if saved is not None:
        train_set.check_label_map(saved["label_map"])
    batches = stages.samplers(cfg, train_set)
    _check_pictures([*source_sets, *validation], targets)
    runtime.seed(cfg.SEED)
    method = objects.method(
        cfg,
        num_classes=train_set.num_classes,
        num_samples=len(train_set),
        classes=train_set.classes,
        domains=train_set.domains,
    )
    objects.check_views(cfg, method)
    optimizer, parts = objects.optimizer(cfg, method), stages.make(cfg, train_set, batches, method)
    freeze = stages.freeze(cfg, method, parts)
    device = runtime.device(cfg.DEVICE)
    look = partial(_embed, cfg, method, device)
    drift = objects.drift(cfg, train_set.samples, look)
    rules = _rules(cfg, source_sets, targets)
    notes = [*_notes(source_sets), *moved]
    scorer = _Scorer(
        cfg, method, targets, validation, run, rules, notes, device, runtime.world(), keep=bool(cfg.TEST.CACHE)
    )

    # Everything that can be refused has been: from here on there is a run.
    run.open(config.dump(cfg))
    method.to(device)
    plugins.say(origins, saved)
    for line in moved:
        runtime.log.warning("%s", line)
    _say(source_sets, "sources")
    _say(targets, "targets")
    dealt = [line for part in parts for line in sources.describe(part.loader.sampler, train_set)]
    plan = f"{stages.num_steps(cfg, parts):,} steps on {runtime.describe(device)}; run folder {run.path}"
    for line in (*_told(rules), *dealt, repr(method), plan):
        runtime.log.info("%s", line)

    trainer.train(
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
        drift=drift,
        ema=cfg.SOLVER.EMA,
        score_average=cfg.TEST.EMA,
        freeze=freeze,
        about={
            "config": config.dump(cfg),
            "protocol": rules,
            "notes": notes,
            "plugins": origins,
            "label_map": train_set.label_map(),
            "num_samples": len(train_set),
            "processes": runtime.world(),
        },
        resume=saved,
    )
    if cfg.TEST.SELECT != "last":
        path = run / "model_best.pth"
        best = checkpoint.load(path)
        checkpoint.load_state(method, checkpoint.weights(best, path, average=cfg.TEST.EMA), path)
        scorer.score_targets(best["progress"]["step"])
    return scorer.rows


@processes.together()
def score(
    cfg: CfgNode | None,
    weights: str | Path | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
) -> Rows:
    """Scores the checkpoint `weights` on the targets of `cfg`, or an untrained method where there is none.

    cfg: None takes the checkpoint's own, with `overrides` on top. A checkpoint needs none of its sources on disk.
    output: folder of the rows; None: `test` beside the checkpoint.
    """
    runtime.start_log(None)
    content = None if weights is None else checkpoint.load(weights)
    if cfg is None:
        if content is None:
            raise ValueError("scoring needs --config, --weights or both")
        cfg = config.parse(content["config"], overrides)
    if not cfg.DATASETS.TARGETS:
        raise ValueError("DATASETS.TARGETS is empty; name at least one set to score, such as [market1501]")
    origins = registry.origins(cfg, without=() if content is None else ("DATASETS.SOURCES",))
    targets = objects.targets(cfg)
    rules = _rules(cfg, [], targets)
    runtime.seed(cfg.SEED)
    if content is None:
        source_sets = objects.datasets(cfg, cfg.DATASETS.SOURCES) if cfg.LOSSES else []
        train_set = sources.join(source_sets) if source_sets else None
        num_classes, num_samples = (train_set.num_classes, len(train_set)) if train_set else (0, 0)
        method = objects.method(cfg, num_classes=num_classes, num_samples=num_samples)
        folder, notes, trained_by = Path(cfg.OUTPUT_DIR), _notes(source_sets), 0
    else:
        rules["sources"] = content["protocol"]["sources"]
        num_classes = sum(len(pids) for pids in content["label_map"].values())
        method = objects.method(cfg, num_classes=num_classes, num_samples=content["num_samples"], weights="none")
        state = checkpoint.weights(content, weights or "", average=cfg.TEST.EMA)
        checkpoint.load_state(method, state, weights or "")
        objects.check_pixels(cfg, method)
        folder, notes, trained_by = Path(weights or "").parent, content["notes"], content["processes"]
    _check_pictures([], targets)
    run = runtime.RunFolder(folder / "test" if output is None else output)
    device = runtime.device(cfg.DEVICE)
    keep = cfg.TEST.CACHE is not False
    scorer = _Scorer(cfg, method, targets, [], run, rules, notes, device, trained_by, keep=keep)
    run.open(config.dump(cfg))
    method.to(device)
    plugins.say(origins, content)
    _say(targets, "targets")
    for note in notes:
        runtime.log.warning("trained on: %s", note)
    for line in (*_told(rules), repr(method), f"on {runtime.describe(device)}; run folder {run.path}"):
        runtime.log.info("%s", line)
    scorer.score_targets(content["progress"]["step"] if content else 0)
    return scorer.rows


class _Scorer:
    """Scores a method in its present state; called with the step, as the trainer does at the end of some epochs."""

    def __init__(
        self,
        cfg: CfgNode,
        method: Method,
        targets: list[Dataset],
        validation: list[Dataset],
        run: runtime.RunFolder,
        rules: dict[str, Any],
        source_notes: list[str],
        device: torch.device,
        trained_by: int,  # processes; 0: not known, or not trained
        keep: bool,
    ):
        self.method, self.run, self.targets, self.validation = method, run, targets, validation
        self.rules, self.source_notes, self.trained_by = rules, source_notes, trained_by
        self.selection = cfg.TEST.SELECT
        self.rows: Rows = []
        extras: dict[str, Any] = {
            "rerank": cfg.TEST.RERANK,
            "query_expansion": cfg.TEST.QUERY_EXPANSION,
            "clustering": cfg.TEST.CLUSTERING,
        }
        check_method(method, **extras)
        self.evaluate: Callable[..., Rows] = partial(
            evaluate,
            method,
            transform=objects.test_transform(cfg),
            batch_size=cfg.TEST.BATCH_SIZE,
            workers=cfg.DATALOADER.WORKERS,
            device=device,
            protocol=rules,
            seed=cfg.SEED,
            selection=cfg.TEST.SELECT,
            bootstrap=cfg.TEST.BOOTSTRAP,
            **extras,
            cache=run / "embeddings" if keep else None,
        )

    def __call__(self, step: int) -> float | None:
        """Returns what checkpoints are chosen by, None where the last one is the result.

        Scores the targets, unless held-out identities choose: then the targets are looked at once, after the choice.
        """
        if self.selection == "source_val":
            score = _mean(self._score(self.validation, step, role={d.name: "source" for d in self.validation}))
            runtime.log.info("step %d: %.1f on what was held out", step, 100 * score)
            return score
        self.score_targets(step)
        return _mean(self.rows) if self.selection == "oracle" else None

    def score_targets(self, step: int) -> None:
        self.rows = self._score(self.targets, step)
        runtime.log.info("step %d\n%s", step, report.table(self.rows))

    def _score(self, datasets: list[Dataset], step: int, role: dict[str, str] | None = None) -> Rows:
        """The rows, each with the notes of the data behind it; the means also with the protocol in words."""
        rows = self.evaluate(datasets, step=step, role=role)
        notes = {dataset.name: [*self.source_notes, *dataset.notes] for dataset in datasets}
        notes["mean"] = [*self.source_notes, *_notes(datasets)]
        for row in rows:
            row["processes"] = self.trained_by
            if notes[row["dataset"]]:
                row["notes"] = notes[row["dataset"]]
            if row["kind"] == "mean":
                row["protocol"] = protocol.readable(self.rules)
        self.run.append("results.jsonl", rows)
        return rows


def _mean(rows: Rows) -> float:
    """The mean over data sets of mAP, or of MAP@R where a set is scored as retrieval."""
    values = [float(row["mAP"] if "mAP" in row else row["MAP@R"]) for row in rows if row["kind"] == "dataset"]
    return sum(values) / len(values)


def _saved(cfg: CfgNode, run: runtime.RunFolder, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, if any. Refuses a folder that holds another run."""
    if not (run / "config.yaml").exists():
        return None
    if not resume:
        raise ValueError(
            f"OUTPUT_DIR {run.path} already holds a run; go on with it by --resume, or give another OUTPUT_DIR"
        )
    kept = config.parse((run / "config.yaml").read_text(encoding="utf-8"))
    changed = config.differences(kept, cfg)
    if changed:
        shown = "; ".join(f"{key} was {was!r}, is {now!r}" for key, (was, now) in list(changed.items())[:5])
        raise ValueError(f"--resume: this is not the config of the run in {run.path}: {shown}. Use another OUTPUT_DIR")
    if not (run / "model_last.pth").exists():
        run.cut({})  # it ended before its first checkpoint: from the beginning
        return None
    return checkpoint.load(run / "model_last.pth", resume=True)


def _moved(saved: dict[str, Any] | None, anyway: bool) -> list[str]:
    """What rows have to say of how their run went on: where it has changed the number of its processes, now or before.

    Raises ValueError where it does so now and not `anyway`.
    """
    if saved is None:
        return []
    told = [note for note in saved["notes"] if note.startswith(MOVED)]
    before, now = saved["processes"], runtime.world()
    if before == now:
        return told
    if not anyway:
        raise ValueError(
            f"--resume: the run was going on {before} process(es), and there are {now} now, on which its numbers would be "
            f"others; start {before}, or pass --resume-anyway: every row of results then says so"
        )
    return [*told, f"{MOVED} {saved['progress']['step']:,} on {now} process(es), before on {before}"]


def _check_lists(cfg: CfgNode) -> None:
    for key in ("SOURCES", "TARGETS"):
        if not cfg.DATASETS[key]:
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
    if cfg.TEST.EMA and not cfg.SOLVER.EMA:
        raise ValueError("TEST.EMA is True and SOLVER.EMA 0, which keeps no average; set a decay, such as 0.999")
    if cfg.SOLVER.AMP not in trainer.AMP:
        raise ValueError(f"SOLVER.AMP: no {cfg.SOLVER.AMP}; there are {', '.join(trainer.AMP)}")


def _check_pictures(source_sets: Sequence[Dataset], targets: Sequence[Dataset]) -> None:
    """Refuses unreadable files now rather than in epoch 40."""
    samples = [sample for dataset in source_sets for sample in dataset.train]
    for dataset in (*source_sets, *targets):
        for trial in dataset.trials:
            samples += [*trial.query, *(trial.gallery or ())]
    problems = records.broken({sample.path: sample for sample in samples}.values())
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"pictures: {'; '.join(problems[:5])}{more}. Unpack the set again, or take them out of its lists"
        )


def _notes(datasets: Sequence[Dataset]) -> list[str]:
    return [note for dataset in datasets for note in dataset.notes]


def _rules(cfg: CfgNode, source_sets: Sequence[Dataset], targets: Sequence[Dataset]) -> dict[str, Any]:
    """The protocol, with whatever TEST.FROZEN adds to it."""
    about = {"flip": cfg.TEST.FLIP, "selection": cfg.TEST.SELECT}
    return protocol.describe(source_sets, targets, **about, **registry.frozen(cfg))


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
