"""The stages of a run, SOLVER.STAGES: each with its stage_cfg batches, rate and groups that learn. Without any, the run is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from yacs.config import CfgNode

from reid import config, optim
from reid.builder import objects
from reid.data.samplers import Sampler
from reid.data.sources import TrainSet
from reid.freeze import Freeze
from reid.methods import Method
from reid.trainer import Stage


def samplers(cfg: CfgNode, train_set: TrainSet) -> list[Sampler]:
    """Of each stage."""
    return [objects.sampler(stage_cfg, train_set) for stage_cfg in config.stages(cfg)]


def make(cfg: CfgNode, train_set: TrainSet, batches: Sequence[Sampler], method: Method) -> list[Stage]:
    """The stages that begin before MAX_STEPS; `batches` are those of `samplers`.

    Raises ValueError for groups to learn that the method has not, and as loaders and schedules do.
    """
    made: list[Stage] = []
    epoch = step = 0
    for number, (stage_cfg, sampler) in enumerate(zip(config.stages(cfg), batches, strict=True)):
        steps = stage_cfg.SOLVER.EPOCHS * len(sampler)
        if cfg.SOLVER.MAX_STEPS:
            steps = min(steps, cfg.SOLVER.MAX_STEPS - step)
        objects.check_pairs(stage_cfg, sampler, train_set)
        made.append(
            Stage(
                range(epoch, epoch + stage_cfg.SOLVER.EPOCHS),
                objects.loader(stage_cfg, train_set, sampler),
                _schedule(cfg, stage_cfg, step, steps, len(sampler)),
                _learns(cfg, number, method),
            )
        )
        epoch, step = epoch + stage_cfg.SOLVER.EPOCHS, step + steps
        if cfg.SOLVER.MAX_STEPS and step == cfg.SOLVER.MAX_STEPS:
            break
    return made


def freeze(cfg: CfgNode, method: Method, stages: Sequence[Stage]) -> Freeze | None:
    """SOLVER.FREEZE, or None where it is empty. Raises ValueError where it would leave nothing to learn in some stage."""
    entries = []
    for number, entry in enumerate(cfg.SOLVER.FREEZE):
        if not isinstance(entry, dict) or entry.keys() != {"PATTERN", "STEPS"}:
            raise ValueError(
                f"SOLVER.FREEZE.{number} is {entry!r}; expected a block such as {{PATTERN: encoder.backbone.*, STEPS: 1000}}"
            )
        where = f"SOLVER.FREEZE.{number}"
        kinds = {"PATTERN": str, "STEPS": int}
        entries.append(tuple(config.coerce(entry[key], kind, f"{where}.{key}") for key, kind in kinds.items()))
    if not entries:
        return None
    made, groups = Freeze(method, entries), {group["name"]: group["params"] for group in method.param_groups()}
    step = 0
    for number, stage in enumerate(stages):
        names = stage.learns or list(groups)
        if all(made.holds(p, step) for name in names for p in groups[name]):
            raise ValueError(
                f"SOLVER.FREEZE: holds all of {', '.join(names)} at step {step}, and stage {number} learns nothing else; "
                "expected some that move: freeze fewer, or for fewer steps"
            )
        step += len(stage.epochs) * len(stage.loader)
    return made


def num_steps(cfg: CfgNode, stages: Sequence[Stage]) -> int:
    """Optimiser steps of the whole run."""
    whole = sum(len(stage.epochs) * len(stage.loader) for stage in stages)
    return min(whole, cfg.SOLVER.MAX_STEPS) if cfg.SOLVER.MAX_STEPS else whole


def _schedule(
    cfg: CfgNode, stage_cfg: CfgNode, first: int, num_steps: int, steps_per_epoch: int
) -> Callable[[int], float]:
    """From the run's step to the factor on SOLVER.LR; the stage has `num_steps` from step `first` on."""
    factor = optim.schedule(
        name=stage_cfg.SOLVER.SCHEDULE,
        steps_per_epoch=steps_per_epoch,
        num_steps=num_steps,
        milestones=stage_cfg.SOLVER.STEPS,
        gamma=stage_cfg.SOLVER.GAMMA,
        warmup_steps=stage_cfg.SOLVER.WARMUP_STEPS,
        warmup_factor=stage_cfg.SOLVER.WARMUP_FACTOR,
    )
    share = stage_cfg.SOLVER.LR / cfg.SOLVER.LR
    return lambda step: share * factor(step - first)


def _learns(cfg: CfgNode, number: int, method: Method) -> list[str] | None:
    if not cfg.SOLVER.STAGES or "LEARNS" not in cfg.SOLVER.STAGES[number]:
        return None
    names, known = cfg.SOLVER.STAGES[number]["LEARNS"], [group["name"] for group in method.param_groups()]
    if not isinstance(names, list) or not names or any(name not in known for name in names):
        raise ValueError(
            f"SOLVER.STAGES.{number}.LEARNS is {names!r}; expected a list of some of the parameter groups of METHOD "
            f"{cfg.METHOD.NAME}: {', '.join(known)}"
        )
    return names
