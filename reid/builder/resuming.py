"""Going on with a run: which checkpoint, what may have changed since, and whether anything is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yacs.config import CfgNode

from reid import checkpoint, config, processes, runtime
from reid.methods import Method
from reid.run_folder import RunFolder

MOVED = "resumed at step"  # how a note begins that says so


@dataclass(frozen=True)
class Earlier:
    """What there is of a run already.

    content: the checkpoint to go on from, None where there is none. changed: what its config said otherwise, for the log.
    notes: what rows have to say of how the run went on. finished: nothing is left to do.
    """

    content: dict[str, Any] | None = None
    changed: Sequence[str] = ()
    notes: Sequence[str] = ()
    finished: bool = False


def look(cfg: CfgNode, run: RunFolder, *, resume: bool, anyway: bool) -> Earlier:
    """Raises ValueError for a folder that holds another run, or one that cannot go on as `cfg` and the processes are now."""
    if not run.holds_run:
        return Earlier()
    if not (resume or anyway):
        raise ValueError(
            f"OUTPUT_DIR {run.path} already holds a run; go on with it by --resume, or give another OUTPUT_DIR"
        )
    try:
        kept = config.parse((run / "config.yaml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"--resume: {run / 'config.yaml'} is of no run of ours ({error}); use another OUTPUT_DIR"
        ) from None
    content = checkpoint.load(run / "model_last.pth", resume=True) if (run / "model_last.pth").exists() else None
    finished = content is not None and _finished(run, content)
    processes.agree()  # all have read before any writes
    changed = config.differences(kept, cfg)
    free = frozenset() if content is None or finished else _of_rows(cfg, content)
    told = [f"{key} was {was!r}, is {now!r}" for key, (was, now) in changed.items()]
    if changed.keys() - free:
        raise ValueError(
            f"--resume: this is not the config of the run in {run.path}: {'; '.join(told[:5])}. Use another OUTPUT_DIR"
        )
    if content is None:
        run.cut({})  # it ended before its first checkpoint: from the beginning
        return Earlier()
    return Earlier(
        content, [f"{line}, which decides rows and no weights" for line in told], _moved(content, anyway), finished
    )


def _finished(run: RunFolder, content: dict[str, Any]) -> bool:
    """Whether the run whose last checkpoint this is has been scored to its end, and its rows are still there."""
    if not (run / "model_final.pth").exists():
        return False
    final = checkpoint.load(run / "model_final.pth")["progress"]
    return final["step"] == content["progress"]["step"] and not run.shorter(final["lengths"])


def _of_rows(cfg: CfgNode, content: dict[str, Any]) -> frozenset[str]:
    """The keys that decide what is scored and how, and no weights any more."""
    if cfg.TEST.SELECT == "oracle":  # which goes by the targets
        return frozenset()
    trained = content["progress"]["epoch"] >= sum(stage.SOLVER.EPOCHS for stage in config.stages(cfg))
    views = {"TEST.FLIP", "TEST.EMA"} if trained and cfg.TEST.SELECT == "last" else set()
    return config.OF_ROWS | views


def _moved(saved: dict[str, Any], anyway: bool) -> list[str]:
    """What rows have to say of how their run went on: where it has changed the number of its processes, now or before.

    Raises ValueError where it does so now and not `anyway`.
    """
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


def begin(run: RunFolder) -> None:
    """A run is not finished any more once it goes on."""
    if run.writes:
        (run / "model_final.pth").unlink(missing_ok=True)


def finish(run: RunFolder, method: Method) -> None:
    """Writes `model_final.pth`, the weights after the last step: the mark of a run whose targets have been scored."""
    if run.writes:
        last = checkpoint.load(run / "model_last.pth")
        checkpoint.save(run / "model_final.pth", checkpoint.final(last, run.lengths(), method.only_training))
    processes.agree()
