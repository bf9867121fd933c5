"""Scores that differ from a base's in few cells: re-ranking's bonus."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from reid.similarity import Similarity


class Sum(Similarity):
    """A base's scores, and on top of a few of them a bonus: what re-ranking gives.

    bonus: (Q, G) float32, sparse, on the CPU.
    """

    def __init__(self, base: Similarity, bonus: csr_array) -> None:
        if bonus.shape != base.shape:
            raise ValueError(f"similarity: found a bonus of shape {bonus.shape}; expected {base.shape}")
        self.base, self.cells = base, Cells(bonus, base.device)
        self.shape, self.device = base.shape, base.device
        self.one_scale, self.rescoring = base.one_scale, base.rescoring

    @property
    def scale(self) -> float:
        return self.base.scale + float(self.cells.values.abs().max())

    def tile(self, rows: slice, columns: slice, out: Tensor) -> Tensor:
        scores = self.base.tile(rows, columns, out)
        row, column, values = self.cells.of_tile(rows, columns)
        scores[row, column] += values
        return scores

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.base.pairs(rows, columns) + self.cells.of_pairs(rows, columns)[0]


class Cells:
    """The filled cells of a sparse (Q, G) matrix, to be found by tile and by pair."""

    def __init__(self, matrix: csr_array, device: torch.device) -> None:
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self.width = matrix.shape[1]
        starts = np.arange(matrix.shape[0]) * self.width
        # A cell's number, row by row; what ends the list is never asked for, and lets every search end inside.
        numbers = np.append(np.repeat(starts, np.diff(matrix.indptr)), np.iinfo(np.int64).max)
        numbers[:-1] += matrix.indices
        self.numbers = torch.from_numpy(numbers).to(device)
        self.values = torch.from_numpy(np.append(matrix.data, 0).astype(np.float32, copy=False)).to(device)

    def of_tile(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Row and column within the tile (n,) int64, and value (n,) float32, of each filled cell."""
        starts = torch.arange(rows.start, rows.stop, device=self.numbers.device) * self.width
        first = torch.searchsorted(self.numbers, starts + columns.start)
        sizes = torch.searchsorted(self.numbers, starts + columns.stop) - first
        row = torch.arange(len(starts), device=starts.device).repeat_interleave(sizes)
        place = torch.arange(len(row), device=starts.device) + (first - sizes.cumsum(0) + sizes)[row]
        return row, self.numbers[place] - starts[row] - columns.start, self.values[place]

    def of_pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) float32 values, 0 where a cell is empty, and (P,) bool whether it is filled."""
        numbers = rows * self.width + columns
        place = torch.searchsorted(self.numbers, numbers)
        filled = self.numbers[place] == numbers
        return self.values[place].where(filled, 0), filled
