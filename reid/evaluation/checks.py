"""What scoring accepts. Every refusal says what was found, what was expected and what to do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from reid.similarity import Inner, Similarity

ROWS_AT_ONCE = 8192
UNIT = 1e-2  # how far from 1 the length of a normalised row may lie; float16 rounds to about 1e-3
LONGEST = 1e38  # float32 ends at 3.4e38


def embeddings(query: Tensor | NDArray, gallery: Tensor | NDArray | None) -> tuple[Tensor, Tensor]:
    """Both sides as tensors on one device, without a copy; one tensor where there is no gallery, or it is the query.

    Raises ValueError for another dtype than float32 and float16, for shapes that do not fit, for an empty side, for values
    that are not finite, and for a row of length zero among normalised rows, whose cosine is undefined.
    """
    one = _matrix(query, "query")
    other = one if gallery is None or gallery is query else _matrix(gallery, "gallery")
    if one.shape[1] != other.shape[1]:
        raise ValueError(
            f"scoring: found query {tuple(one.shape)} and gallery {tuple(other.shape)}; "
            "expected the same number of columns. Embed both with one model"
        )
    if one.device != other.device:
        raise ValueError(f"scoring: found query on {one.device} and gallery on {other.device}; move one to the other")
    longest_query = _longest(one, "query")
    longest_gallery = longest_query if other is one else _longest(other, "gallery")
    if longest_query * longest_gallery > LONGEST:
        raise ValueError(
            f"scoring: found embeddings of length {longest_query:.3g} and {longest_gallery:.3g}, whose product leaves "
            "float32; normalise them"
        )
    return one, other


def similarity(query: Tensor | NDArray | Similarity, gallery: Tensor | NDArray | None, *, named: bool) -> Similarity:
    """The inner products of two sides that `embeddings` accepts, or a similarity in their place, which has both sides.

    named: whether the caller says who is on the gallery's pictures; without, the queries search each other.
    Raises ValueError for a gallery without names or names without one, and as `embeddings` does.
    """
    if not isinstance(query, Similarity):
        if (gallery is not None) != named:
            raise ValueError("scoring: found only one of the gallery and who is on it; give both or neither")
        return Inner(*embeddings(query, gallery))
    if gallery is not None:
        raise ValueError("scoring: found a gallery beside a similarity, which has one; leave it out")
    if not named and query.shape[0] != query.shape[1]:
        raise ValueError(
            f"scoring: found a similarity of {query.shape[0]} queries and {query.shape[1]} gallery pictures; say who is on "
            "the gallery's too"
        )
    if isinstance(query, Inner):
        embeddings(query.query, query.gallery)
    return query


def integers(values: ArrayLike | Tensor, expected: int, what: str) -> NDArray[np.int64]:
    """One whole number a row as int64 (N,); `what` names them in the message."""
    array = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim != 1 or len(array) != expected:
        raise ValueError(
            f"scoring: found {what} of shape {array.shape}; expected ({expected},), one for each embedding"
        )
    if len(array) and array.dtype.kind not in "iu":
        raise ValueError(f"scoring: found {what} of type {array.dtype}; expected whole numbers")
    return array.astype(np.int64)


def one_list(skip_same_index: bool, query: NDArray, gallery: NDArray) -> None:
    """Refuses two lists of different length where row i of both is to be one picture."""
    if skip_same_index and len(query) != len(gallery):
        raise ValueError(
            f"scoring: found {len(query)} queries and {len(gallery)} gallery pictures; skip_same_index needs one list"
        )


def normalised(matrix: Tensor) -> bool:
    """Whether all rows have length 1, so that inner products are cosines."""
    lengths = torch.linalg.vector_norm(matrix, dim=1, dtype=torch.float32)
    return bool(((lengths - 1).abs() < UNIT).all())


def some_rows(rows: Sequence[int]) -> str:
    """A few row numbers for a message: `3, 17 and 40 more`."""
    shown = ", ".join(str(row) for row in rows[:5])
    return shown if len(rows) <= 5 else f"{shown} and {len(rows) - 5} more"


def _matrix(values: Tensor | NDArray, side: str) -> Tensor:
    if not isinstance(values, Tensor | np.ndarray):
        raise ValueError(
            f"scoring: found {side} embeddings of type {type(values).__name__}; expected a tensor or an array"
        )
    if str(values.dtype).removeprefix("torch.") not in ("float32", "float16"):
        raise ValueError(
            f"scoring: found {side} embeddings of {values.dtype}; expected float32 or float16. Convert them"
        )
    matrix = values.detach() if isinstance(values, Tensor) else _tensor(np.ascontiguousarray(values))
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"scoring: found {side} embeddings of shape {tuple(matrix.shape)}; expected (N, D), neither 0")
    return matrix


def _tensor(array: NDArray) -> Tensor:
    """Without a copy. Torch warns of arrays that must not be written to (a file mapped into memory); we do not write."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _longest(matrix: Tensor, side: str) -> float:
    """The length of the longest row; refuses rows that are not finite, and zero rows among normalised ones."""
    parts = matrix.split(ROWS_AT_ONCE)
    lengths = torch.cat([torch.linalg.vector_norm(part, dim=1, dtype=torch.float32) for part in parts])
    # A length overflows only where values are above 1e19 or not finite; which of the two is asked of those rows alone.
    unsound = (~lengths.isfinite()).nonzero().flatten()
    if len(unsound):
        broken = unsound[~matrix[unsound].isfinite().all(dim=1)].tolist()
        if broken:
            raise ValueError(
                f"scoring: found NaN or infinite values in {len(broken)} {side} embeddings, rows {some_rows(broken)}; "
                "expected finite values. Look at the pictures of these rows and at the weights"
            )
        return float("inf")
    zero = (lengths == 0).nonzero().flatten().tolist()
    rest = lengths[lengths > 0]
    if zero and len(rest) and bool(((rest - 1).abs() < UNIT).all()):
        raise ValueError(
            f"scoring: found {len(zero)} {side} embeddings of length zero, rows {some_rows(zero)}, among normalised ones; "
            "a cosine with them is undefined. Look at the pictures of these rows"
        )
    return float(lengths.max())
