"""Which gallery pictures count for which query: the junk rule, distractors, and a picture that searches among its own kind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Relevance:
    """The gallery pictures of each query's own class, and which of them are matches; all others of the class are junk.

    Args:
        query_classes, gallery_classes: (Q,), (G,) int64.
        query_cameras, gallery_cameras: (Q,), (G,) int64, or None: nothing is junk. Where given, a gallery picture of the
            query's class AND camera is junk.
        distractor: a class that matches nothing (Market-1501's 0), or None.
        skip_same_index: gallery row i is the picture of query i, so it is junk for it.
    """

    def __init__(
        self,
        query_classes: Ints,
        gallery_classes: Ints,
        query_cameras: Ints | None = None,
        gallery_cameras: Ints | None = None,
        *,
        distractor: int | None = None,
        skip_same_index: bool = False,
    ) -> None:
        self.query_cameras, self.gallery_cameras = query_cameras, gallery_cameras
        self.skip_same_index = skip_same_index
        self.num_query, self.num_gallery = len(query_classes), len(gallery_classes)
        self.same_classes = np.array_equal(query_classes, gallery_classes)  # row i and column i are of one
        # Gallery pictures of one class stand together in this order, so a query's own class is one slice of it.
        self.order = np.argsort(gallery_classes, kind="stable")
        grouped = gallery_classes[self.order]
        self.first = np.searchsorted(grouped, query_classes, side="left")
        self.size = np.searchsorted(grouped, query_classes, side="right") - self.first
        if distractor is not None:
            self.size[query_classes == distractor] = 0

    @property
    def largest(self) -> int:
        """The most gallery pictures that any query's class has."""
        return int(self.size.max(initial=0))

    @property
    def any_match(self) -> bool:
        """Whether a single query has a match."""
        step = max(1, (1 << 20) // max(1, self.largest))  # cells at once
        return any(self.own_class(slice(i, i + step))[2].any() for i in range(0, self.num_query, step))

    def own_class(self, rows: slice) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
        """For a slice of queries: gallery columns (B, M) of their class, which cells are filled, which are matches."""
        size = self.size[rows]
        slot = np.arange(max(int(size.max(initial=0)), 1))
        filled = slot < size[:, None]  # (B, M)
        place = np.minimum(self.first[rows, None] + slot, self.num_gallery - 1)
        columns = self.order[place]
        match = filled.copy()
        if self.query_cameras is not None and self.gallery_cameras is not None:
            match &= self.gallery_cameras[columns] != self.query_cameras[rows, None]
        if self.skip_same_index:
            match &= columns != np.arange(self.num_query)[rows, None]
        return columns, filled, match
