"""Run folders back into memory, and the runs that differ by their seeds only put together."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from yacs.config import CfgNode

from reid import config
from reid.evaluation import report, summary
from reid.evaluation.summary import Recipe, Run

# What a folder's name is left with when the seed's own number is cut off.
_SEED_WORD = re.compile(r"[/_\-. ]+((seeds?|s)[=_\-]?\d*)?[/_\-. ]*$", re.IGNORECASE)


def read(paths: Sequence[str | Path], role: str = "target") -> list[Recipe]:
    """The run folders `paths` as recipes, in the order in which they are named.

    role: whose figures, of the targets or of what was held out of the sources (`source`).
    Raises FileNotFoundError or ValueError for a folder that is no finished run, naming it.
    """
    groups: list[tuple[CfgNode, list[Run]]] = []
    for path in paths:
        cfg, run = read_run(Path(path), role)
        for other, runs in groups:
            if config.differences(cfg, other).keys() <= {"SEED"}:
                runs.append(run)
                break
        else:
            groups.append((cfg, [run]))
    names = _names([[run.path for run in runs] for _, runs in groups])
    return [Recipe(name, tuple(runs)) for name, (_, runs) in zip(names, groups, strict=True)]


def find(recipes: Sequence[Recipe], name: str) -> Recipe:
    """The recipe of that name, or of that run folder. Raises ValueError with those there are."""
    for recipe in recipes:
        if name == recipe.name or any(Path(name).absolute() == Path(run.path).absolute() for run in recipe.runs):
            return recipe
    names = [recipe.name for recipe in recipes]
    raise ValueError(f"summary: no recipe {name}{config.nearest(name, names)}; there are {', '.join(names)}")


def read_run(path: Path, role: str = "target") -> tuple[CfgNode, Run]:
    """The config and the rows of a finished run; raises as `read` does."""
    for name in ("config.yaml", "results.jsonl"):
        if not (path / name).is_file():
            raise FileNotFoundError(f"{path}: found no {name}; expected the folder of a run that has been scored")
    if (path / "model_last.pth").exists() and not (path / "model_final.pth").exists():
        raise ValueError(f"{path}: found a run that is not finished; go on with it by --resume")
    try:
        cfg = config.parse((path / "config.yaml").read_text(encoding="utf-8"))
        rows = summary.last_scoring(report.read(path / "results.jsonl"), role)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return cfg, Run(str(path), rows[0]["seed"], rows)


def _names(groups: Sequence[Sequence[str]]) -> list[str]:
    """What the folders of each group have in common, without the seed and without what all groups share."""
    absolute = [[Path(path).absolute().as_posix() for path in group] for group in groups]
    # Letter by letter, as folders differ within a name: run_s0, run_s1.
    shared = [os.path.commonprefix(group) for group in absolute]  # noqa: RUF071
    common = [
        group[0] if len(group) == 1 else _SEED_WORD.sub("", name) for group, name in zip(absolute, shared, strict=True)
    ]
    if len(set(common)) < len(common):
        common = [group[0] for group in absolute]
    base = os.path.commonpath([PurePosixPath(name).parent for name in common])
    return [PurePosixPath(name).relative_to(base).as_posix() for name in common]
