"""A picture of ranked results: each row a query and what it finds first, right in green and wrong in red."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from reid.data.loader import read_image
from reid.data.records import Sample, Trial
from reid.similarity import Similarity

GREEN, RED, GREY = (40, 160, 60), (200, 50, 50), (120, 120, 120)  # RGB
BORDER, GAP = 4, 6  # px


def sheet(
    trial: Trial,
    similarity: Similarity,
    path: str | Path,
    *,
    num_queries: int = 8,
    depth: int = 10,
    size: tuple[int, int] = (128, 64),
) -> None:
    """Writes the sheet: `num_queries` queries spread evenly over the trial, each before its first `depth` pictures.

    Junk is left out, as in scoring. similarity: the scores of the trial. size: px a picture.
    The sheet holds the pictures themselves: of real people it is personal data.
    """
    samples = trial.query if trial.gallery is None else trial.gallery
    picked = np.unique(np.linspace(0, len(trial.query) - 1, num_queries).round().astype(int))
    buffer = torch.empty(1, len(samples), device=similarity.device, dtype=torch.float32)
    rows = []
    for index in picked.tolist():
        asked = trial.query[index]
        scores = similarity.tile(slice(index, index + 1), slice(0, len(samples)), buffer)[0]  # (G,)
        order = [i for i in scores.argsort(descending=True).tolist() if not _is_junk(asked, samples[i])]
        if trial.gallery is None:
            order.remove(index)
        found = [samples[i] for i in order[:depth]]
        cells = [_cell(asked, GREY, size)]
        cells += [_cell(sample, GREEN if sample.pid == asked.pid else RED, size) for sample in found]
        rows.append(_join(cells, axis=1))
    image = _join(rows, axis=0)
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise OSError(f"{path}: the picture of ranked results could not be written; expected a folder with room")


def _is_junk(query: Sample, other: Sample) -> bool:
    return query.camid is not None and (query.pid, query.camid) == (other.pid, other.camid)


def _cell(sample: Sample, colour: tuple[int, int, int], size: tuple[int, int]) -> np.ndarray:
    image = cv2.resize(read_image(sample.path), size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(image, *(BORDER,) * 4, cv2.BORDER_CONSTANT, value=colour)


def _join(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """The parts side by side (axis 1) or above each other, with white gaps."""
    pads = [(0, 0), (0, 0), (0, 0)]
    pads[axis] = (0, GAP)
    return np.concatenate([np.pad(part, pads, constant_values=255) for part in parts], axis=axis)
