"""The ways to score a trial: as it is, several pictures a query, with query expansion, re-ranked."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from reid.data.records import Trial
from reid.evaluation import rerank
from reid.evaluation.sides import Sides, gallery_of
from reid.similarity import Similarity


@dataclass(frozen=True)
class Way:
    """As it is: the method's own scores. name: what the rows say of it."""

    name: str = ""

    def apply(self, sides: Sides, trial: Trial) -> Similarity:
        """The scores of a trial's queries against its gallery."""
        query = sides.query(trial.query)
        if trial.gallery is None and sides.symmetric:
            return sides.similarity(query, query)  # one tensor: half of the scores may be enough
        return sides.similarity(query, sides.gallery(gallery_of(trial)))


@dataclass(frozen=True)
class Unmapped(Way):
    """As it would be without what the method makes of the gallery's vectors: encoded as queries on both sides."""

    name: str = "unmapped"

    def apply(self, sides: Sides, trial: Trial) -> Similarity:
        return sides.similarity(sides.query(trial.query), sides.query(gallery_of(trial)))


@dataclass(frozen=True)
class Together(Way):
    """Each query as the mean row of the pictures it is together with: Market-1501's multi-query, or a track.

    Source: Zheng et al. 2015 (Market-1501), as recalled: the average of all pictures of the query's person by its camera.
    """

    name: str = "multi-query"

    def apply(self, sides: Sides, trial: Trial) -> Similarity:
        query = torch.stack([sides.query(group).mean(dim=0) for group in trial.together])
        return sides.similarity(query, sides.gallery(gallery_of(trial)))


@dataclass(frozen=True)
class Expansion(Way):
    """Average query expansion with the `num` pictures a query finds first; fewer where the gallery is smaller."""

    name: str = "query expansion"
    num: int = 5

    def apply(self, sides: Sides, trial: Trial) -> Similarity:
        others = gallery_of(trial)
        alone = trial.gallery is None
        query, gallery = sides.query(trial.query), sides.gallery(others)
        num = min(self.num, len(others) - alone)
        expanded = rerank.expand_queries(
            query, gallery, num=num, gallery_as_query=sides.query(others), skip_same_index=alone
        )
        return sides.similarity(expanded, gallery)


@dataclass(frozen=True)
class Reranking(Way):
    """k-reciprocal re-ranking with the published settings."""

    name: str = "re-ranking"

    def apply(self, sides: Sides, trial: Trial) -> Similarity:
        search, others = super().apply(sides, trial), gallery_of(trial)
        if trial.gallery is None:
            return rerank.reranked(search, search).similarity
        asking = torch.cat([sides.query(trial.query), sides.query(others)])
        answering = asking if sides.symmetric else torch.cat([sides.gallery(trial.query), sides.gallery(others)])
        return rerank.reranked(search, sides.similarity(asking, answering)).similarity
