"""What a search found, to be read: as a table, as JSON; as a page of pictures by `reid.vectors.page`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid import escape
from reid.vectors import index, search
from reid.vectors.rows import Row
from reid.vectors.search import Filter, Found, Hit
from reid.vectors.store import Header, Store

SHOWN = ("camera", "time", "track", "person", "frame", "box", "path")
_UNKNOWN: dict[str, Any] = dict.fromkeys(SHOWN, "") | {"frame": -1, "box": (0, 0, 0, 0)}


@dataclass(frozen=True)
class Answer:
    """query: what was asked. found: (score, hit), the best first; empty where nothing reached the threshold. rescoring: what the
    scores are, if not those of single pictures."""

    query: Hit
    found: list[tuple[float, Hit]]
    rescoring: str = ""


def find(store: Store, queries: np.ndarray, top: int, keep: Filter) -> tuple[Found, dict[int, Hit]]:
    """By the store's index where it has one, else exact; and the rows of what was found, by their ids."""
    found = index.search_best(store, queries, top, keep)
    return found, search.hits(store, found.ids)


def of(
    queries: Sequence[Hit],
    found: Found,
    rows: dict[int, Hit],
    threshold: float | None = None,
    *,
    pictures: Sequence[int] = (),
    one_per_track: bool = False,
) -> list[Answer]:
    """What was found for each query, those below `threshold` left out.

    pictures: of how many each query is the mean; 1 each unless given. one_per_track: whether tracks were found once.
    """
    answers = []
    counts = pictures or [1] * len(queries)
    for query, ids, scores, count in zip(queries, found.ids.tolist(), found.scores.tolist(), counts, strict=True):
        kept = [(score, rows[i]) for i, score in zip(ids, scores, strict=True) if i >= 0]
        mean = f"mean of {count:,} pictures" if count > 1 else ""
        said = "; ".join(filter(None, [mean, "the best row of each track" if one_per_track else ""]))
        above = [(score, hit) for score, hit in kept if threshold is None or score >= threshold]
        answers.append(Answer(query, above, said))
    return answers


def known(row: Row) -> dict[str, Any]:
    """What is known of a row, by name."""
    said = {name: getattr(row, name) for name in SHOWN}
    return {name: value for name, value in said.items() if not (value == _UNKNOWN[name] or value != value)}


def to_json(answers: Sequence[Answer], header: Header, threshold: float | None) -> str:
    """One document: the model, the terms of what it learned from, and each query with what it found."""
    said = {
        "model": header["model"]["sha256"],
        "terms": header["terms"],
        "threshold": threshold,
        "answers": [
            {
                "query": known(answer.query.row),
                **({"rescoring": answer.rescoring} if answer.rescoring else {}),
                "found": [
                    {"rank": rank, "score": round(score, 6), **known(hit.row)}
                    for rank, (score, hit) in enumerate(answer.found, start=1)
                ],
            }
            for answer in answers
        ],
    }
    return json.dumps(said, indent=2, ensure_ascii=True, allow_nan=False)


def to_table(answers: Sequence[Answer], threshold: float | None) -> str:
    """A block of lines per query; columns that nothing is known of are left out."""
    hits = [hit.row for answer in answers for _, hit in answer.found]
    names = [name for name in SHOWN if any(name in known(row) for row in hits)]
    lines = []
    for answer in answers:
        said = f" ({answer.rescoring})" if answer.rescoring else ""
        lines.append(f"query {escape.line(answer.query.row.path)}{_at(answer.query.row)}{said}")
        if not answer.found:
            lines.append(f"  unknown: nothing scores {threshold:.4f} or more" if threshold is not None else "  nothing")
        cells = [["rank", "score", *names]] if answer.found else []
        for rank, (score, hit) in enumerate(answer.found, start=1):
            cells.append([str(rank), f"{score:.4f}", *(written(hit.row, name) for name in names)])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            lines.append("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return "\n".join(lines)


def written(row: Row, name: str) -> str:
    """A value of a row for people; empty where it is not known."""
    value = known(row).get(name, "")
    if name == "box":
        return " ".join(map(str, value))
    return f"{value:.2f}" if isinstance(value, float) and math.isfinite(value) else escape.line(str(value))


def _at(row: Row) -> str:
    return f", frame {row.frame}, box {' '.join(map(str, row.box))}" if row.frame >= 0 else ""
