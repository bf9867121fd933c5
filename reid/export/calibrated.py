"""Where a calibration is kept: in the header of vectors (a folder, a collection of Milvus), and in the card of an export, of the
model it was measured with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from reid.export import card as cards
from reid.export.model import load
from reid.vectors import milvus
from reid.vectors.calibrate import Calibration
from reid.vectors.search import check_same_model
from reid.vectors.store import HEADER, Store

Write = Callable[[Sequence[Calibration]], str]  # -> what it wrote into


def place(store: Store, folder: str | Path) -> Write:
    """What writes calibrations that were measured on `store` into vectors or an export, in place of those of the same rate.
    folder: of either, or milvus:URI. Raises FileNotFoundError, or ValueError for a folder of another model or preprocessing."""
    on_milvus = str(folder).startswith(milvus.PREFIX)
    if on_milvus or (Path(folder) / HEADER).is_file():
        other = milvus.Collection.open(str(folder)) if on_milvus else Store.open(folder)
        header = other.header
        check_same_model(store, header["model"]["sha256"], header["preprocessing"], header["dim"])

        def write(rows: Sequence[Calibration]) -> str:
            header["calibration"] = _joined(header["calibration"], rows)
            other.write_header()
            return str(other)

        return write
    folder = Path(folder)
    card = cards.read(folder)
    model = load(folder)
    identity = model.identity()
    check_same_model(store, identity["sha256"], identity["preprocessing"], model.dim)

    def write_card(rows: Sequence[Calibration]) -> str:
        cards.write(folder, {**card, "calibration": _joined(card.get("calibration", []), rows)})
        return str(folder / cards.MARKDOWN_NAME)

    return write_card


def _joined(there: Sequence[Calibration], rows: Sequence[Calibration]) -> list[Calibration]:
    by_rate = {row["fmr"]: row for row in (*there, *rows)}
    return [by_rate[fmr] for fmr in sorted(by_rate, reverse=True)]
