"""BIER: slices of an embedding as learners, each boosted by those before it and kept apart from them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses import PairLoss, Term
from reid.losses.binomial import BinomialDeviance
from reid.memory import CrossBatch
from reid.methods import Phase
from reid.methods._boost import BOOSTING, boosted_losses, slices_of
from reid.methods._learners import split_encoder
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows

DIVERSITY = ("adversarial", "activation", "none")


class BIER(Baseline):
    """The baseline with M learners, slices of the embedding, small ones first; each is scored by its own cosine.

    Learner m takes its own loss, in which a pair counts by how much the learners before it have left to learn: see
    `reid.methods._boost`. The loss of all is the mean over learners, and the log has each one's own. Diversity teaches the
    linear map alone, from features that are held: `activation` makes the products of two slices' numbers small;
    `adversarial` has a small net foretell a slice from each larger one, and slices that escape it.

    Args:
        losses: pair losses that are sums over pairs; none: binomial deviance.
        slices: the size of each; their sum is the embedding's.
        boosting: `released`, as the code has it, for binomial alone; `paper`; `none`.
        diversity: one of the three. diversity_weight: of it, and of the norms. norm_weight: further weight of how far the
            norms of the rows of its weights are from 1. hidden: width of the nets.
        head_lr_factor, regressor_lr_factor: on the rate, of the linear map and of the nets.
        scored: `all`, the unit slices in a row, each times its share of the numbers, which an inner product squares;
            `slice1` to the last; or `pooled`, the feature before the linear map, at length 1.
    Raises ValueError for slices that do not fit the embedding, unknown words, and losses that are no sum over pairs.
    Source: Opitz et al. 2017 (BIER) and 2018 (A-BIER), as their code has it. Deviations: the linear map has no bias; the
        norms of the nets' weights are those of output units, as for the linear map, where the code takes input units.
    """

    only_training = (*Baseline.only_training, "regressors.")
    features = ("parts",)

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        memory: CrossBatch | None = None,
        classes: np.ndarray | None = None,
        slices: Sequence[int] = (96, 160, 256),
        boosting: str = "paper",
        diversity: str = "adversarial",
        diversity_weight: float = 5e-5,
        norm_weight: float = 1e5,
        hidden: int = 512,
        head_lr_factor: float = 10.0,
        regressor_lr_factor: float = 1.0,
        scored: str = "all",
    ):
        for key, word, known in (
            ("BOOSTING", boosting, BOOSTING),
            ("DIVERSITY", diversity, DIVERSITY),
            ("SCORED", scored, ("all", *(f"slice{m + 1}" for m in range(len(slices))), "pooled")),
        ):
            if word not in known:
                raise ValueError(f"{key}: no {word}; there are {', '.join(known)}")
        whole = all(type(size) is int and size > 0 for size in slices)
        if not whole or sum(slices) != encoder.dim or not isinstance(encoder.reduce, nn.Linear):
            made = (
                f"embeddings of {encoder.dim} numbers{'' if isinstance(encoder.reduce, nn.Linear) else ', as pooled'}"
            )
            raise ValueError(f"SLICES are {list(slices)}, and there are {made}; expected sizes whose sum is MODEL.DIM")
        terms = list(losses) or [Term("binomial", BinomialDeviance())]
        for term in terms:
            _check_loss(term, boosting)
        super().__init__(encoder, terms, memory, classes=classes)
        self.slices, self.boosting, self.diversity, self.scored = tuple(slices), boosting, diversity, scored
        self.diversity_weight, self.norm_weight = diversity_weight, norm_weight
        self.head_lr_factor, self.regressor_lr_factor = head_lr_factor, regressor_lr_factor
        for rows in encoder.reduce.weight.data.split(self.slices):
            nn.init.xavier_uniform_(rows)
        between = itertools.combinations(self.slices, 2) if diversity == "adversarial" else ()
        self.regressors = nn.ModuleList(_Regressor(larger, hidden, smaller) for smaller, larger in between)

    def __repr__(self) -> str:
        plan = f"slices {'+'.join(map(str, self.slices))}, boosting {self.boosting}, diversity {self.diversity}"
        return f"<bier {self.encoder!r}, {plan}, losses {', '.join(self.losses)}, memory {self.memory}>"

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One."""
        features = self.encoder(batch.images, batch.domains, batch.camids)
        phase = self.phase_of(features, batch)
        if self.diversity != "none":
            with torch.autocast(batch.images.device.type, enabled=False):
                phase.losses.update(self._diversity(features["parts"].flatten(1).detach()))
        yield phase

    def encode_query(self, images: Tensor) -> Tensor:
        features = self.encoder(images)
        if self.scored == "pooled":
            return F.normalize(features["parts"].flatten(1))
        units = [F.normalize(part) for part in features["after"].split(self.slices, dim=1)]
        if self.scored == "all":
            return torch.cat([unit * (unit.shape[1] / sum(self.slices)) for unit in units], dim=1)
        return units[int(self.scored.removeprefix("slice")) - 1]

    def param_groups(self) -> list[dict[str, Any]]:
        groups = split_encoder(super().param_groups(), self.encoder, self.head_lr_factor)
        nets = list(self.regressors.parameters())
        groups.append({"name": "regressors", "params": nets, "lr_factor": self.regressor_lr_factor})
        return [group for group in groups if group["params"]]

    def _compared(self, rows: Rows, loss: PairLoss, batch: Batch) -> Rows:
        return rows  # each slice is brought to length 1 by itself

    def _of_pairs(self, name: str, loss: PairLoss, pairs: Pairs) -> dict[str, Tensor]:
        found = boosted_losses(loss, slices_of(pairs, self.slices), self.boosting)
        return {f"{name}_{m}": value / len(found) for m, value in enumerate(found, start=1)}

    def _diversity(self, pooled: Tensor) -> dict[str, Tensor]:
        """`diversity` and `norms`, weighted; pooled (B, C), which learns nothing here."""
        assert isinstance(self.encoder.reduce, nn.Linear)
        weights = self.encoder.reduce.weight.split(self.slices)
        acts = [F.linear(pooled, weight) for weight in weights]
        norms = torch.stack([unit_rows(weight) for weight in weights]).sum()
        pairs = list(itertools.combinations(acts, 2))
        if self.diversity == "activation":
            # The mean over all products of a number of one and a number of the other.
            apart = [(one.square().mean(dim=1) * other.square().mean(dim=1)).mean() for one, other in pairs]
        else:
            apart = []
            for net, (smaller, larger) in zip(self.regressors, pairs, strict=True):
                assert isinstance(net, _Regressor)
                apart.append(-(reverse(smaller) * net(reverse(larger))).square().mean())
                for layer in (net.first, net.last):
                    norms = norms + unit_rows(layer.weight) + F.relu(layer.bias.square().sum() - 1)
        return {
            "diversity": self.diversity_weight * torch.stack(apart).sum(),
            "norms": self.diversity_weight * self.norm_weight * norms,
        }


def reverse(x: Tensor) -> Tensor:
    """x, with the gradient turned round."""
    return 2 * x.detach() - x


def unit_rows(weight: Tensor) -> Tensor:
    """How far the rows of (out, in) are from length 1: the mean of (|row|^2 - 1)^2."""
    return (weight.square().sum(dim=1) - 1).square().mean()


class _Regressor(nn.Module):
    """Foretells the numbers of a smaller slice from a larger one."""

    def __init__(self, larger: int, hidden: int, smaller: int):
        super().__init__()
        self.first, self.last = nn.Linear(larger, hidden), nn.Linear(hidden, smaller)
        for layer in (self.first, self.last):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


def _check_loss(term: Term, boosting: str) -> None:
    """Raises ValueError for a loss that cannot be boosted."""
    if not (isinstance(term.loss, PairLoss) and term.loss.sums_pairs):
        raise ValueError(
            f"LOSSES: found {term.name}, which is no sum over pairs, so that no pair has a weight of its own in it; "
            "expected binomial, or contrastive with FORM xbm"
        )
    if boosting == "released" and not isinstance(term.loss, BinomialDeviance):
        raise ValueError(
            f"BOOSTING is released, which is written in what binomial makes of scores, and LOSSES has {term.name}; expected "
            "BOOSTING paper, or binomial alone"
        )
