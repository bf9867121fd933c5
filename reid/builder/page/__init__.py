"""`run.html`: what came of a run, or of several side by side, as one page that loads nothing.

It is made of the files of the run folders alone: `results.jsonl`, `metrics.jsonl`, and `page.json`, which a scoring leaves there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from reid import pages, schema, whole
from reid.builder import recipes
from reid.builder.page import charts, compared
from reid.builder.page.lists import Album, data_set
from reid.evaluation import report, summary
from reid.evaluation.kept.form import File, Kept
from reid.evaluation.summary import Recipe, Run

PAGE, KEPT = "run.html", "page.json"
OF = ("fingerprint", "selection", "step", "seed")  # the scoring that a file of what was kept belongs to


def keep(folder: Path, rows: Sequence[dict[str, Any]], sets: Sequence[Kept]) -> None:
    """Writes what a scoring with these rows keeps for the page."""
    content = {name: rows[0][name] for name in OF} | {"sets": list(sets)}
    with whole.writing(folder / KEPT) as file:
        file.write(json.dumps(content, allow_nan=False).encode())


def write(folders: Sequence[str | Path], output: str | Path, *, pictures: bool = False) -> None:
    """Writes the page of one run, or of several and what they differ by.

    pictures: show those also of sets whose terms do not allow it, or are not known. The page then is personal data.
    Raises what `recipes.read` does, and ValueError for runs of two protocols, or for a damaged `page.json`.
    """
    found = recipes.read(folders)
    summary.check_one_protocol(found)
    names = _names(found)
    album = Album(pictures)
    views = [_view(names[str(path)], *recipes.read_run(path), album) for path in map(Path, folders)]
    kept = {view["name"]: view["kept"] for view in views}
    first = found[0].runs[0]
    alone = len(views) == 1
    pages.write(
        output,
        "run.html",
        title=views[0]["name"] if alone else f"{len(views)} runs",
        grids=report.grids(first.rows) if alone else compared.grids(found),
        protocol=first.rows[0]["fingerprint"] + report.selected(first.rows),
        words=summary.words(first),
        notes=summary.notes(found),
        differences=compared.differences(found, names, kept),
        spreads=charts.spreads(found),
        cmc=charts.cmc(kept),
        views=views,
        training=charts.training({name: Path(path) for path, name in names.items()}),
        album=album,
    )


def _names(found: Sequence[Recipe]) -> dict[str, str]:
    """What each run is called, by its path: its recipe's name, and its seed where the recipe has several; alone, its folder's."""
    runs = [(recipe, run) for recipe in found for run in recipe.runs]
    if len(runs) == 1:
        return {runs[0][1].path: Path(runs[0][1].path).absolute().name}
    return {
        run.path: recipe.name if len(recipe.runs) == 1 else f"{recipe.name}, seed {run.seed}" for recipe, run in runs
    }


def _view(name: str, cfg: CfgNode, run: Run, album: Album) -> dict[str, Any]:
    """What the page says of one run. kept: what its scoring left for the page, empty where it did not."""
    kept = kept_of(run)
    return {
        "name": name,
        "about": {**{key: run.rows[0][key] for key in ("step", "seed", "selection")}, "folder": run.path},
        "kept": kept,
        "sets": [data_set(each, cfg, album) for each in kept],
    }


def kept_of(run: Run) -> list[Kept]:
    """What was kept of the run's last scoring; nothing where it was of another, or made without TEST.REPORT."""
    path = Path(run.path, KEPT)
    if not path.is_file():
        return []
    try:
        content: File = json.loads(path.read_text(encoding="utf-8"))
        schema.check(content, File)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not what a scoring keeps for its page ({error}); delete it") from None
    same = all(content[name] == run.rows[0][name] for name in OF)  # type: ignore[literal-required]
    return content["sets"] if same else []
