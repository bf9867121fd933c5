"""What a run is between two batches: all of it is in `model_last.pth`, and a run goes on from it as if it had never stopped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from reid import checkpoint, processes, runtime
from reid.average import Average
from reid.evaluation.drift import Drift
from reid.methods import Method
from reid.plan import Plan
from reid.run_folder import RunFolder
from reid.step import LossScale


@dataclass
class Progress:
    """Where a run is."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch already taken
    step: int = 0  # optimiser steps taken
    best: float = -math.inf  # of the selection score
    lengths: dict[str, int] = field(default_factory=dict)  # bytes in the run's line files
    counts: dict[str, Tensor] = field(default_factory=dict)  # the methods' counts, over all batches and processes
    skipped: int = 0  # batches that fp16 made overflow
    in_a_row: int = 0  # of those the last ones, since a step was taken


def share(method: Method, optimizer: torch.optim.Optimizer) -> None:
    """Gives every process the weights and buffers of the first, but for groups that are a process's own."""
    local = {id(p) for group in optimizer.param_groups if group.get("local") for p in group["params"]}
    processes.copy_first(v for v in (*method.parameters(), *method.buffers()) if id(v) not in local)


@dataclass
class State:
    """A run, and how it is written and read.

    about: what every checkpoint says of itself (label map, config, protocol). keep_older: checkpoints that stay.
    plan: as the method last gave it. scored: False while the scoring that is due after an epoch is still to come.
    """

    method: Method
    optimizer: torch.optim.Optimizer
    scale: LossScale
    average: Average | None
    drift: Drift | None
    run: RunFolder
    about: dict[str, Any]
    keep_older: int = 0
    progress: Progress = field(default_factory=Progress)
    plan: Plan | None = None
    scored: bool = True

    def save(self, name: str, more: dict[str, Any] | None = None, without: Sequence[str] = ()) -> None:
        """Writes a checkpoint; `without`: what the names of weights begin with that are left out."""
        self.progress.lengths = self.run.lengths()
        if self.run.writes:
            model = {key: v for key, v in self.method.state_dict().items() if not key.startswith(tuple(without))}
            average = {"average": self.average.values} if self.average else {}
            content = {**self.about, "model": model, **average, "progress": asdict(self.progress), **(more or {})}
            checkpoint.save(self.run / name, content)
        processes.agree()

    def save_last(self) -> None:
        """Writes all that the run goes on from."""
        more = {
            "optimizer": self.optimizer.state_dict(),
            "scale": self.scale.state_dict(),
            "plan": self.plan and vars(self.plan),
            "drift": self.drift.kept if self.drift else {},
            "random": processes.from_all(runtime.random_state()),
            "scored": self.scored,
        }
        self.save("model_last.pth", more)
        if self.keep_older and self.run.writes:
            checkpoint.keep(self.run / "model_last.pth", self.progress.step, self.keep_older)

    def restore(self, content: dict[str, Any]) -> None:
        """Becomes what `save_last` wrote; the run's line files are cut back to what they were."""
        path = self.run / "model_last.pth"
        checkpoint.load_state(self.method, content["model"], path, resume=True)
        with checkpoint.fitting(path):
            self.optimizer.load_state_dict(content["optimizer"])
            self.scale.load_state_dict(content["scale"])
            if self.average is not None:
                self.average.load(content["average"])
            self.plan = Plan(**content["plan"]) if content["plan"] else None
            runtime.set_random_state(content["random"][runtime.rank() % len(content["random"])])
        self.progress = Progress(**content["progress"])
        if self.drift is not None:
            self.drift.kept = content["drift"]
        self.scored = content["scored"]
        self.run.cut(self.progress.lengths)
        runtime.log.info("resumed at step %d, epoch %d", self.progress.step, self.progress.epoch)
