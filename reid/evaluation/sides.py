"""The two sides of a data set's searches as embeddings: each picture once a side, however many trials name it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reid import runtime
from reid.data.records import Dataset, Sample, Trial
from reid.evaluation import cache
from reid.evaluation.embed import embed
from reid.methods import Method
from reid.similarity import Inner, Similarity


def gallery_of(trial: Trial) -> Sequence[Sample]:
    """The gallery; of a trial without one, the queries, which search each other."""
    return trial.query if trial.gallery is None else trial.gallery


class Sides:
    """A data set's pictures as queries and as gallery.

    Args:
        both: encode every picture for both sides, which re-ranking by an asymmetric method needs.
        folder: where embeddings are kept, None to keep none; see `reid.evaluation.cache`.
        options: of `embed`.
    """

    def __init__(
        self,
        method: Method,
        dataset: Dataset,
        options: dict[str, Any],
        *,
        both: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.method, self.dataset, self.options, self.folder = method, dataset, options, folder
        queries = [sample for trial in dataset.searches for side in (trial.query, *trial.together) for sample in side]
        galleries = [sample for trial in dataset.searches for sample in gallery_of(trial)]
        everything = queries + galleries
        self.symmetric = not method.asymmetric
        if self.symmetric:
            self._query = self._gallery = self._side("encode_query", everything)
        else:
            self._query = self._side("encode_query", everything if both else queries)
            self._gallery = self._side("encode_gallery", everything if both else galleries)

    def query(self, samples: Sequence[Sample]) -> Tensor:
        """(N, D) or (N, *shape) float32 of samples as queries, in their order."""
        return _rows(*self._query, samples)

    def gallery(self, samples: Sequence[Sample]) -> Tensor:
        """(N, D) or (N, *shape) float32 of samples as gallery, in their order."""
        return _rows(*self._gallery, samples)

    def similarity(self, query: Tensor, gallery: Tensor) -> Similarity:
        """The method's. Raises ValueError where it is not what the method says of itself."""
        found = self.method.similarity(query, gallery)
        said = self.method.inner_product, self.method.rescoring
        if (isinstance(found, Inner), found.rescoring) != said:
            raise ValueError(
                f"{type(self.method).__name__}: found a similarity {type(found).__name__} with rescoring {found.rescoring!r}, "
                f"and the method says inner_product {said[0]}, rescoring {said[1]!r}; make them agree"
            )
        return found

    def _side(self, encoding: str, samples: Iterable[Sample]) -> tuple[Tensor, dict[str, int]]:
        """The embeddings of all samples, each once in the order in which it first comes, and the row of each path."""
        unique = {sample.path: sample for sample in samples}
        listed = list(unique.values())
        places = {path: place for place, path in enumerate(unique)}

        def compute() -> Tensor:
            return embed(getattr(self.method, encoding), listed, title=self.dataset.name, **self.options)

        if self.folder is None:
            return compute(), places
        # Neither changes a vector by more than the last digits.
        choices = {name: value for name, value in self.options.items() if name not in ("batch_size", "workers")}
        name = cache.key(self.method, listed, encoding=encoding, **choices)
        title = f"{self.dataset.name}-{encoding.removeprefix('encode_')}"
        return cache.kept(self.folder, title, name, len(listed), compute, writes=runtime.rank() == 0), places


def _rows(embeddings: Tensor, places: dict[str, int], samples: Sequence[Sample]) -> Tensor:
    """The rows of samples; a view, not a copy, where they stand together."""
    rows = [places[sample.path] for sample in samples]
    if rows == list(range(rows[0], rows[0] + len(rows))):
        return embeddings[rows[0] : rows[0] + len(rows)]
    return embeddings[torch.tensor(rows)]
