"""THE loop: read `Trainer.train`, `epoch` and `batches` to know what a run, an epoch and a step are."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from reid import errors, optim, processes, runtime
from reid.average import Average
from reid.data.loader import Batch, Loader
from reid.evaluation.drift import Drift
from reid.freeze import Freeze
from reid.loggers import Logger
from reid.methods import Method, Place
from reid.models.norms import statistics
from reid.pace import Pace
from reid.run_folder import RunFolder
from reid.state import Progress, State, share
from reid.step import Step, Taken, phases

AMP = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Batches that overflow in fp16 one after another before the run ends: by then the loss scale has gone down a million times.
SKIPPED_IN_A_ROW = 20


class NonFiniteLoss(FloatingPointError):
    """A loss or gradient became NaN or infinite."""


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


@dataclass
class Trainer:
    """Trains `method` and leaves `model_last.pth` and, if a selection score came, `model_best.pth`.

    evaluate(step) scores the method, writes its rows, and returns the selection score, or None where nothing is selected.
    embed(feature) embeds the training set for `method.start_epoch`.
    about: what every checkpoint says of itself (label map, config, protocol).
    drift: what measures how far embeddings move; its figures go into metrics.jsonl, its state into checkpoints.
    ema: decay of a running average of the weights, which checkpoints carry; 0: none. score_average: `evaluate` sees it in
    their place.
    freeze: the parameters that are held for some steps.
    parts: that each batch is taken in, one after another; see `take`.
    keep_older: checkpoints that stay, each as `model_step<step>.pth`.
    loggers: makers of what else is told of logged steps, called when the training begins.
    """

    method: Method
    stages: Sequence[Stage]
    optimizer: torch.optim.Optimizer
    run: RunFolder
    device: torch.device
    evaluate: Callable[[int], float | None]
    embed: Callable[..., Tensor]
    about: dict[str, Any]
    drift: Drift | None = None
    ema: float = 0.0
    score_average: bool = False
    freeze: Freeze | None = None
    parts: int = 1
    max_steps: int = 0
    clip_grad: float = 0.0
    amp: str = "off"
    log_steps: int = 20
    checkpoint_steps: int = 0
    keep_older: int = 0
    test_every: int = 0
    loggers: Sequence[Callable[[], Logger]] = ()

    def train(self, resume: dict[str, Any] | None = None) -> None:
        """Takes every step that is left, and scores where it is due.

        resume: the content of an earlier checkpoint; the run goes on from there exactly.
        Raises NonFiniteLoss naming the loss and the batch's files, InterruptedRun after SIGINT, SIGTERM or SIGHUP; both
        leave a good `model_last.pth` behind.
        """
        self.step = Step(self.method, self.optimizer, clip_grad=self.clip_grad, fp16=self.amp == "fp16")
        share(self.method, self.optimizer)
        self.average = Average(self.method, self.ema) if self.ema else None
        self.epochs = self.stages[-1].epochs.stop
        self.state = State(
            self.method,
            self.optimizer,
            self.step.scale,
            self.average,
            self.drift,
            self.run,
            self.about,
            self.keep_older,
        )
        if resume is not None:
            self.state.restore(resume)
            self._rewrite_lost_rows()
        self.schedules = {
            group["name"]: group["schedule"] for group in self.method.param_groups() if "schedule" in group
        }
        planned = sum(len(stage.epochs) * len(stage.loader) for stage in self.stages)
        self.last_step = min(planned, self.max_steps or planned)
        self.shown: dict[str, str] = {}
        with _opened(self.loggers) as self.opened, errors.signals as self.signals:
            self.signals.told = f"at step {self.progress.step}: go on with --resume"
            if self.drift is not None and self.progress.step == 0:
                self.drift.measure(0)
            while self.progress.epoch < self.epochs or not self.state.scored:
                if self.state.scored:
                    self.epoch()
                else:
                    self.score()

    @property
    def progress(self) -> Progress:
        return self.state.progress

    def _rewrite_lost_rows(self) -> None:
        """Where rows have been taken out of the results since the checkpoint, those of its weights are scored anew."""
        if "results.jsonl" in self.run.shorter(self.progress.lengths):
            runtime.log.warning(
                "results.jsonl is shorter than it was: the rows of this step are scored anew, others are gone"
            )
            self.state.scored = not self.due

    def epoch(self) -> None:
        """Takes the batches that the epoch still has, and saves: first of all, lest a scoring that fails costs anything."""
        progress = self.progress
        number, stage = next((n, stage) for n, stage in enumerate(self.stages) if progress.epoch in stage.epochs)
        self.method.place = Place(number, stage.epochs, len(stage.loader))
        self.step.may_learn = stage.learns
        if progress.batch == 0:
            if progress.epoch == stage.epochs.start:
                self.optimizer.state.clear()  # moments belong to the stage that they were gathered in
            given = self.method.start_epoch(progress.epoch, self.embed)
            self.state.plan = processes.from_first(lambda: given) or self.state.plan
        self.method.train()
        with self.signals.held():
            pace = Pace(self.device)
            self.batches(stage, pace)
            shown = ", ".join(f"{name} {value}" for name, value in self.shown.items()) or "no step was logged"
            runtime.log.info(
                "epoch %d/%d, step %d: %s; %s", progress.epoch + 1, self.epochs, progress.step, shown, pace
            )
            progress.epoch = self.epochs if progress.step >= self.last_step else progress.epoch + 1
            progress.batch = 0
            self.state.scored = not self.due
            self.save_last()
            self.stop_if_asked()
        if progress.epoch not in stage.epochs:
            stage.loader.close()

    @property
    def due(self) -> bool:
        """Whether a scoring follows, between two epochs or at the end."""
        epoch, every = self.progress.epoch, self.test_every
        return self.progress.batch == 0 and epoch > 0 and (epoch == self.epochs or (every > 0 and epoch % every == 0))

    def score(self) -> None:
        """The scoring that is due after an epoch; a run that ended within it begins with it again."""
        with self.average.in_place() if self.average and self.score_average else contextlib.nullcontext():
            score = processes.from_all(self.evaluate(self.progress.step))[0]  # the choice is the first's
        with self.signals.held():
            if score is not None and score > self.progress.best:
                self.progress.best = score
                self.state.save("model_best.pth", without=self.method.only_training)
            self.state.scored = True
            self.save_last()

    def batches(self, stage: Stage, pace: Pace) -> None:
        """The steps of an epoch: set the rates, take the step, remember its rows; log, save and stop where that is due."""
        progress = self.progress
        batches = stage.loader.epoch(progress.epoch, start=progress.batch, step=progress.step, plan=self.state.plan)
        bar = tqdm(
            batches,
            desc=f"epoch {progress.epoch + 1}/{self.epochs}",
            total=len(stage.loader),
            initial=progress.batch,
            disable=None if self.run.writes else True,  # None: a bar only where somebody watches
            leave=False,
        )
        for batch in pace.watch(bar):
            if progress.step >= self.last_step:
                break
            # The step. Afterwards BatchNorm's statistics are one for all processes, as their weights are.
            started = time.perf_counter()
            own = {name: factor(progress.step) for name, factor in self.schedules.items()}
            rate = optim.set_lr(self.optimizer, stage.schedule(progress.step), own)
            taken = self.take(batch.to(self.device))
            processes.average(statistics(self.method, moving=True))
            if self.average is not None and not taken.skipped:
                self.average.update(progress.step)
            progress.step += 1
            progress.batch += 1
            pace.seen(len(batch.paths) * runtime.world())
            # What the method keeps of the batch: memories, banks, centres; and a row of the log now and then.
            logged = progress.step % self.log_steps == 0 or progress.step == self.last_step
            seen = self.remember(taken, logged)
            if logged:
                row = self.row(taken, rate) | seen
                self.note(row, data_s=pace.last_wait, step_s=time.perf_counter() - started)
                bar.set_postfix(self.shown)
            # Reasons to end, to measure, to save.
            if progress.in_a_row == SKIPPED_IN_A_ROW or progress.skipped == self.last_step:
                raise _overflowing(progress, self.step.scale.value, batch, self.run)
            if self.drift is not None and (moved := self.drift.measure(progress.step)):
                self.note(moved)
            if self.checkpoint_steps and progress.step % self.checkpoint_steps == 0:
                self.save_last()
            self.stop_if_asked()

    def take(self, batch: Batch) -> Taken:
        """A step of the optimiser for each phase of a batch; in `parts` the one step of all of them, by the mean of losses."""
        if self.freeze is not None:
            self.freeze(self.progress.step)
        if self.parts > 1:
            return self.take_parts(batch.split(self.parts))
        taken = Taken()
        for phase in phases(self.method, batch, AMP[self.amp]):
            taken.norms.append(self.step(self.checked(taken.add(phase), phase.losses, batch), phase.learns))
            if self.overflows(taken, batch):
                break
        return taken

    def take_parts(self, parts: Sequence[Batch]) -> Taken:
        found, opened = [Taken() for _ in parts], [phases(self.method, part, AMP[self.amp]) for part in parts]
        for number, part in enumerate(parts):
            phase = next(opened[number])
            loss = self.checked(found[number].add(phase), phase.losses, part) / len(parts)
            if part is not parts[-1]:
                self.step.gather(loss, phase.learns)
        taken = Taken.mean(found)
        taken.norms.append(self.step(loss, phase.learns))
        if not self.overflows(taken, parts[-1]):
            for rest in opened:  # what stands after a yield sees the weights as they end up
                if next(rest, None) is not None:
                    raise ValueError(
                        f"SOLVER.ACCUMULATE is {len(parts)}, and {type(self.method).__name__} takes several steps a batch; expected 1"
                    )
        return taken

    def checked(self, total: Tensor, losses: dict[str, Tensor], batch: Batch) -> Tensor:
        if not (total.isfinite() or self.step.scale.overflowed):
            raise _non_finite(losses, batch, self.run)
        return total

    def overflows(self, taken: Taken, batch: Batch) -> bool:
        """Whether the last gradient did: in fp16 that happens now and then, nothing was moved, and the batch ends here."""
        if not taken.norms[-1].isfinite():
            if self.amp != "fp16":
                raise _non_finite({"gradient": taken.norms[-1]}, batch, self.run)
            taken.skipped = True
        return taken.skipped

    def remember(self, taken: Taken, logged: bool) -> dict[str, float]:
        """Hands the method the rows of a batch, of all processes; returns what it finds worth a line of the log."""
        if taken.skipped:
            self.progress.skipped += 1
            self.progress.in_a_row += 1
            return {}
        self.progress.in_a_row = 0
        keep = processes.gather(taken.keep)
        seen = self.method.monitor(keep) if logged else {}
        self.method.remember(keep)
        for name, count in processes.add_up(taken.counts).items():
            self.progress.counts[name] = self.progress.counts.get(name, 0) + count
        return seen

    def row(self, taken: Taken, rate: float) -> dict[str, float]:
        """What a logged step says of the losses, means over all processes, and of the optimiser."""
        sums = processes.add_up({"loss": torch.as_tensor(taken.total), **taken.losses})
        losses = {name: value.item() / runtime.world() for name, value in sums.items()}
        self.shown = {name: f"{losses[name]:.3f}" for name in taken.losses}
        if self.progress.skipped:
            self.shown["skipped"] = str(self.progress.skipped)
        counts: dict[str, Any] = {**self.progress.counts, "skipped": self.progress.skipped}
        found = {name: float(count) for name, count in counts.items() if count}
        return {**losses, "lr": rate, "grad_norm": max(map(float, taken.norms)), **found}

    def note(self, row: dict[str, float], **seconds: float) -> None:
        row = {name: value for name, value in row.items() if math.isfinite(value)}  # of a skipped step some are not
        line = {"step": self.progress.step, "epoch": self.progress.epoch, **row}
        self.run.append("metrics.jsonl", [line])
        for logger in self.opened:
            logger.note({**line, **seconds})
        processes.agree()

    def save_last(self) -> None:
        self.state.save_last()
        self.signals.told = f"at step {self.progress.step}: saved; go on with --resume"

    def stop_if_asked(self) -> None:
        """Saves and ends where any process was sent a signal."""
        if signum := processes.agree(self.signals.arrived):
            self.save_last()
            raise errors.InterruptedRun(signum, self.signals.told)


def _non_finite(losses: dict[str, Tensor], batch: Batch, run: RunFolder) -> NonFiniteLoss:
    bad = [f"{name} is {value.item()}" for name, value in losses.items() if not value.isfinite()] or [
        "their sum is not"
    ]
    return NonFiniteLoss(
        f"step {batch.step}: {', '.join(bad)}; {_kept(run)}. Lower SOLVER.LR or set SOLVER.CLIP_GRAD. "
        f"The batch's files: {', '.join(batch.paths)}"
    )


def _overflowing(progress: Progress, scale: float, batch: Batch, run: RunFolder) -> NonFiniteLoss:
    return NonFiniteLoss(
        f"step {batch.step}: {progress.in_a_row} batches in a row were skipped, as gradients in fp16 are not finite even with a "
        f"loss scale of {scale:g}; {_kept(run)}. Set SOLVER.AMP bf16, or off. The last batch's files: {', '.join(batch.paths)}"
    )


def _kept(run: RunFolder) -> str:
    path = run / "model_last.pth"
    return f"{path} is kept" if path.exists() else "no checkpoint was written yet"


@contextlib.contextmanager
def _opened(makers: Sequence[Callable[[], Logger]]) -> Iterator[list[Logger]]:
    opened: list[Logger] = []
    try:
        for make in makers:
            opened.append(make())
        yield opened
    finally:
        for logger in opened:
            logger.finish()
