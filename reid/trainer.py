"""THE loop: read `train` from top to bottom to know what a step, an epoch and a run are."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from reid import checkpoint, errors, optim, processes, runtime
from reid.average import Average
from reid.data.loader import Batch, Loader
from reid.evaluation.drift import Drift
from reid.freeze import Freeze
from reid.methods import Method, Place
from reid.models.norms import statistics
from reid.plan import Plan
from reid.step import LossScale, Step, Taken, phases

AMP = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class NonFiniteLoss(FloatingPointError):
    """A loss or gradient became NaN or infinite."""


@dataclass
class Progress:
    """Where a run is: everything the loop needs to go on as if it had never stopped."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch already taken
    step: int = 0  # optimiser steps taken
    best: float = -math.inf  # of the selection score
    lengths: dict[str, int] = field(default_factory=dict)  # bytes in the run's line files
    counts: dict[str, Tensor] = field(default_factory=dict)  # the methods' counts, over all batches and processes
    skipped: int = 0  # batches that fp16 made overflow


@dataclass(frozen=True)
class Stage:
    """A part of a run with batches and rates of its own; most runs have but one.

    epochs: which of the run's. schedule: from the run's step to the factor on every rate. learns: names of the parameter
    groups that may move, None: all.
    """

    epochs: range
    loader: Loader
    schedule: Callable[[int], float]
    learns: Sequence[str] | None = None


def train(
    method: Method,
    stages: Sequence[Stage],
    optimizer: torch.optim.Optimizer,
    run: runtime.RunFolder,
    *,
    device: torch.device,
    max_steps: int = 0,
    clip_grad: float = 0.0,
    amp: str = "off",
    log_steps: int = 20,
    checkpoint_steps: int = 0,
    keep_older: int = 0,
    test_every: int = 0,
    evaluate: Callable[[int], float | None],
    embed: Callable[..., Tensor],
    drift: Drift | None = None,
    ema: float = 0.0,
    score_average: bool = False,
    freeze: Freeze | None = None,
    about: dict[str, Any],
    resume: dict[str, Any] | None = None,
) -> Progress:
    """Trains `method` and leaves `model_last.pth`, `model_final.pth` and, if a selection score came, `model_best.pth`.

    evaluate(step) scores the method, writes its rows, and returns the selection score, or None where nothing is selected.
    embed(feature) embeds the training set for `method.start_epoch`.
    drift: what measures how far embeddings move; its figures go into metrics.jsonl, its state into checkpoints.
    ema: decay of a running average of the weights, which checkpoints carry; 0: none. score_average: `evaluate` sees it in
    their place.
    freeze: the parameters that are held for some steps.
    keep_older: checkpoints that stay, each as `model_step<step>.pth`.
    about: what every checkpoint says of itself (label map, config, protocol).
    resume: the content of an earlier checkpoint; the run goes on from there exactly.

    Raises NonFiniteLoss naming the loss and the batch's files, InterruptedRun after SIGINT or SIGTERM; both leave a good
    `model_last.pth` behind.
    """
    progress = Progress()
    plan: Plan | None = None  # as the method last gave it
    step = Step(method, optimizer, clip_grad=clip_grad, fp16=amp == "fp16")
    if resume is not None:
        progress = _restore(resume, method, optimizer, step.scale, run)
        plan = Plan(**resume["plan"]) if resume["plan"] else None
        if drift is not None:
            drift.kept = resume["drift"]
    local = {id(p) for group in optimizer.param_groups if group.get("local") for p in group["params"]}
    processes.copy_first(value for value in (*method.parameters(), *method.buffers()) if id(value) not in local)
    average = Average(method, ema) if ema else None
    if average is not None and resume is not None:
        with checkpoint.fitting(run / "model_last.pth"):
            average.load(resume["average"])
    schedules = {group["name"]: group["schedule"] for group in method.param_groups() if "schedule" in group}
    epochs = stages[-1].epochs.stop
    last_step = min(sum(len(stage.epochs) * len(stage.loader) for stage in stages), max_steps or math.inf)
    board = _board(run, progress.step)

    def save(name: str, more: dict[str, Any], without: tuple[str, ...] = ()) -> None:
        progress.lengths = run.lengths()
        if run.writes:
            state = {key: value for key, value in method.state_dict().items() if not key.startswith(without)}
            averaged = {"average": average.values} if average else {}
            checkpoint.save(run / name, {**about, "model": state, **averaged, "progress": asdict(progress), **more})
        processes.agree()

    def save_last() -> None:
        state = {"optimizer": optimizer.state_dict(), "scale": step.scale.state_dict()}
        kept = {"plan": plan and vars(plan), "drift": drift.kept if drift else {}}
        save("model_last.pth", {**state, **kept, "random": processes.from_all(runtime.random_state())})
        if keep_older and run.writes:
            checkpoint.keep(run / "model_last.pth", progress.step, keep_older)

    def new_plan() -> Plan | None:
        given = method.start_epoch(progress.epoch, embed)
        return processes.from_first(lambda: given)

    def note(row: dict[str, float], **seconds: float) -> None:
        run.append("metrics.jsonl", [{"step": progress.step, "epoch": progress.epoch, **row}])
        board.add({**row, **seconds}, progress.step)
        processes.agree()

    if drift is not None and progress.step == 0:
        drift.measure(0)
    with _signals() as signals, board:
        while progress.epoch < epochs:
            number, stage = next((n, stage) for n, stage in enumerate(stages) if progress.epoch in stage.epochs)
            method.place = Place(number, stage.epochs, len(stage.loader))
            step.may_learn = stage.learns
            if progress.batch == 0:
                if progress.epoch == stage.epochs.start:
                    optimizer.state.clear()  # moments belong to the stage that they were gathered in
                plan = new_plan() or plan
            method.train()
            batches = stage.loader.epoch(progress.epoch, start=progress.batch, step=progress.step, plan=plan)
            bar = tqdm(
                batches,
                desc=f"epoch {progress.epoch + 1}/{epochs}",
                total=len(stage.loader),
                initial=progress.batch,
                disable=None if run.writes else True,  # None: a bar only where somebody watches
                leave=False,
            )
            shown: dict[str, str] = {}
            waiting_since = time.perf_counter()
            for batch in bar:
                if progress.step >= last_step:
                    break
                started = time.perf_counter()
                own = {name: factor(progress.step) for name, factor in schedules.items()}
                rate = optim.set_lr(optimizer, stage.schedule(progress.step), own)
                batch, taken = batch.to(device), Taken()
                if freeze is not None:
                    freeze(progress.step)
                for phase in phases(method, batch, AMP[amp]):
                    total = taken.add(phase)
                    if not (total.isfinite() or step.scale.overflowed):
                        raise _non_finite(phase.losses, batch, run)
                    norm = step(total, phase.learns)
                    taken.norms.append(norm)
                    if not norm.isfinite():
                        if amp != "fp16":
                            raise _non_finite({"gradient": norm}, batch, run)
                        taken.skipped = True  # fp16 overflows now and then: nothing was moved, and the batch ends here
                        break
                processes.average(statistics(method, moving=True))  # of the same weights all have the same statistics
                if average is not None and not taken.skipped:
                    average.update(progress.step)
                progress.step += 1
                progress.batch += 1
                logged = progress.step % log_steps == 0 or progress.step == last_step
                seen: dict[str, float] = {}
                if taken.skipped:
                    progress.skipped += 1
                else:
                    keep = processes.gather(taken.keep)
                    seen = method.monitor(keep) if logged else {}
                    method.remember(keep)
                    for name, count in processes.add_up(taken.counts).items():
                        progress.counts[name] = progress.counts.get(name, 0) + count

                if logged:
                    sums = processes.add_up({"loss": torch.as_tensor(taken.total), **taken.losses})
                    losses = {name: value.item() / runtime.world() for name, value in sums.items()}
                    row = {**losses, "lr": rate, "grad_norm": max(map(float, taken.norms))}
                    counts: dict[str, Any] = {**progress.counts, "skipped": progress.skipped}
                    row |= {name: float(count) for name, count in counts.items() if count}
                    note({**row, **seen}, data_s=started - waiting_since, step_s=time.perf_counter() - started)
                    shown = {name: f"{value:.3f}" for name, value in losses.items() if name in taken.losses}
                    bar.set_postfix(shown)
                if drift is not None and (moved := drift.measure(progress.step)):
                    note(moved)
                if checkpoint_steps and progress.step % checkpoint_steps == 0:
                    save_last()
                if signum := processes.agree(max(signals, default=0)):  # that any process was sent
                    save_last()
                    name = signal.Signals(signum).name
                    raise errors.InterruptedRun(signum, f"{name} at step {progress.step}: saved; go on with --resume")
                waiting_since = time.perf_counter()
            runtime.log.info("epoch %d/%d, step %d: %s", progress.epoch + 1, epochs, progress.step, shown)
            progress.epoch = epochs if progress.step >= last_step else progress.epoch + 1
            progress.batch = 0
            if progress.epoch not in stage.epochs:
                stage.loader.close()
            if progress.epoch == epochs or (test_every and progress.epoch % test_every == 0):
                with average.in_place() if average and score_average else contextlib.nullcontext():
                    score = processes.from_all(evaluate(progress.step))[0]
                if score is not None and score > progress.best:
                    progress.best = score
                    save("model_best.pth", {}, method.only_training)
            save_last()
    save("model_final.pth", {}, method.only_training)
    return progress


def _restore(
    content: dict[str, Any],
    method: Method,
    optimizer: torch.optim.Optimizer,
    scale: LossScale,
    run: runtime.RunFolder,
) -> Progress:
    path = run / "model_last.pth"
    checkpoint.load_state(method, content["model"], path, resume=True)
    with checkpoint.fitting(path):
        optimizer.load_state_dict(content["optimizer"])
        scale.load_state_dict(content["scale"])
        runtime.set_random_state(content["random"][runtime.rank() % len(content["random"])])
    progress = Progress(**content["progress"])
    run.cut(progress.lengths)
    runtime.log.info("resumed at step %d, epoch %d", progress.step, progress.epoch)
    return progress


def _non_finite(losses: dict[str, Tensor], batch: Batch, run: runtime.RunFolder) -> NonFiniteLoss:
    bad = [f"{name} is {value.item()}" for name, value in losses.items() if not value.isfinite()] or [
        "their sum is not"
    ]
    kept = f"{run / 'model_last.pth'} is kept" if (run / "model_last.pth").exists() else "no checkpoint was written yet"
    return NonFiniteLoss(
        f"step {batch.step}: {', '.join(bad)}; {kept}. Lower SOLVER.LR or set SOLVER.CLIP_GRAD. "
        f"The batch's files: {', '.join(batch.paths)}"
    )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM write themselves into: the step in hand is finished and saved, then the run ends."""
    arrived: list[int] = []
    kept = {s: signal.signal(s, lambda signum, frame: arrived.append(signum)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield arrived
    finally:
        for signum, handler in kept.items():
            signal.signal(signum, handler)


class _board:
    """TensorBoard's event file in the run's folder; steps after `step` are dropped from an earlier one."""

    def __init__(self, run: runtime.RunFolder, step: int):
        from torch.utils.tensorboard import SummaryWriter  # half a second that scoring and tests need not pay

        self.writer = SummaryWriter(str(run.path), purge_step=step or None) if run.writes else None

    def add(self, values: dict[str, float], step: int) -> None:
        if self.writer:
            for name, value in values.items():
                self.writer.add_scalar(f"train/{name}", value, step)

    def __enter__(self) -> _board:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.writer:
            self.writer.close()
