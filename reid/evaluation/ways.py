"""The ways to score a trial: as it is, with query expansion, re-ranked."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.sparse import csr_array
from torch import Tensor

from reid.data.records import Trial
from reid.evaluation import rerank
from reid.evaluation.sides import Sides, gallery_of


@dataclass(frozen=True)
class Way:
    """As it is: the inner product of a query's vector and a gallery picture's. name: what the rows say of it."""

    name: str = ""

    def apply(self, sides: Sides, trial: Trial) -> tuple[Tensor, Tensor, csr_array | None]:
        """Query (Q, D), gallery (G, D), and what is added to some scores."""
        query = sides.query(trial.query)
        if trial.gallery is None and sides.symmetric:
            return query, query, None  # one tensor: half of the scores are enough
        return query, sides.gallery(gallery_of(trial)), None


@dataclass(frozen=True)
class Expansion(Way):
    """Average query expansion with the `num` pictures a query finds first; fewer where the gallery is smaller."""

    name: str = "query expansion"
    num: int = 5

    def apply(self, sides: Sides, trial: Trial) -> tuple[Tensor, Tensor, csr_array | None]:
        others = gallery_of(trial)
        alone = trial.gallery is None
        query, gallery = sides.query(trial.query), sides.gallery(others)
        num = min(self.num, len(others) - alone)
        expanded = rerank.expand_queries(
            query, gallery, num=num, gallery_as_query=sides.query(others), skip_same_index=alone
        )
        return expanded, gallery, None


@dataclass(frozen=True)
class Reranking(Way):
    """k-reciprocal re-ranking with the published settings."""

    name: str = "re-ranking"

    def apply(self, sides: Sides, trial: Trial) -> tuple[Tensor, Tensor, csr_array | None]:
        query, alone = sides.query(trial.query), trial.gallery is None
        asymmetric = not sides.symmetric
        found = rerank.k_reciprocal(
            query,
            None if alone else sides.gallery(gallery_of(trial)),
            query_as_gallery=sides.gallery(trial.query) if asymmetric else None,
            gallery_as_query=sides.query(gallery_of(trial)) if asymmetric and not alone else None,
        )
        return found.query, found.gallery, found.bonus
