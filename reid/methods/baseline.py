"""The strong baseline: one encoder, any class losses after its neck, any pair losses before it, a memory behind them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid import processes
from reid.data.loader import Batch
from reid.losses import FEATURES, PairLoss, Term
from reid.memory import CrossBatch, EmbeddingQueue
from reid.methods import Method, Phase
from reid.methods._distances import class_plan
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows
from reid.plan import Plan

METRICS = ("cosine", "euclidean")


class Baseline(Method):
    """Joint training of one encoder with any list of losses; scored by cosine or Euclidean distance.

    Args:
        negatives_within_domain: pair losses see negatives of the anchor's own source only.
        metric: `cosine` between embeddings, or `euclidean`: two more columns turn its ranking into an inner product.
        classes: (N,) int64 of the training samples, while training.
    Source: Luo et al. 2019, Bag of Tricks; the memory is Wang et al. 2020 (XBM).
    """

    gives = frozenset({"distances", "neighbours"})
    only_training: tuple[str, ...] = ("queues.", "key_encoder.")
    encoder: Encoder

    def __init__(
        self,
        encoder: Encoder,
        losses: Sequence[Term],
        memory: CrossBatch | None = None,
        negatives_within_domain: bool = False,
        metric: str = "cosine",
        classes: np.ndarray | None = None,
    ):
        super().__init__()
        if metric not in METRICS:
            raise ValueError(f"METRIC: no {metric}; there are {', '.join(METRICS)}")
        self.encoder = encoder
        self.terms = tuple(losses)
        self.losses = nn.ModuleDict({term.name: term.loss for term in losses})
        self.negatives_within_domain = negatives_within_domain
        self.metric = metric
        self.asymmetric = metric == "euclidean"
        self.classes = classes
        self.memory = memory
        remembered = {term.feature for term in losses if isinstance(term.loss, PairLoss)} if memory else set()
        if memory and not remembered:
            raise ValueError("MEMORY.SIZE is set and no loss is a pair loss; add one to LOSSES, or set MEMORY.SIZE 0")
        queues = {name: EmbeddingQueue(memory.size, encoder.dim) for name in FEATURES if memory and name in remembered}
        self.queues: Mapping[str, EmbeddingQueue] = nn.ModuleDict(queues)  # type: ignore[assignment]
        self.key_encoder: Encoder | None = None
        if memory and memory.momentum > 0:
            self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)

    def __repr__(self) -> str:
        return f"<baseline {self.encoder!r}, losses {', '.join(self.losses)}, memory {self.memory}>"

    def phases(self, batch: Batch) -> Iterator[Phase]:
        """One."""
        yield self(batch)

    def forward(self, batch: Batch) -> Phase:
        """All losses of a batch."""
        return self.phase_of(self.encoder(batch.images, batch.domains, batch.camids), batch)

    def phase_of(self, features: Mapping[str, Tensor], batch: Batch) -> Phase:
        """All losses of a batch, by the encoder's features of it.

        counts: of each pair loss, the batches without an anchor it can use, in which it was 0.
        """
        losses: dict[str, Tensor] = {}
        counts: dict[str, Tensor] = {}
        for term in self.terms:
            if isinstance(term.loss, PairLoss):
                found = self._pairs(term, term.loss, features[term.feature], batch)
                for name, (weight, pairs) in found.items():
                    losses |= {own: weight * value for own, value in self._of_pairs(name, term.loss, pairs).items()}
                usable = torch.stack([term.loss.usable(pairs).any() for _, pairs in found.values()]).any()
                counts[f"unusable_{term.name}"] = ~usable
            else:
                losses[term.name] = term.weight * term.loss(features["after"], batch.classes)
        return Phase(losses, keep=self._kept(features, batch), counts=counts)

    def monitor(self, keep: dict[str, Tensor]) -> dict[str, float]:
        """Feature drift, for free: how far samples that come round again have moved from what the queues hold of them.

        Their pictures are augmented anew, so this is drift and augmentation together.
        """
        found = {name: queue.drift(keep[name], keep["indices"]) for name, queue in self.queues.items() if name in keep}
        return {f"memory_{key}_{name}": value for name, values in found.items() for key, value in values.items()}

    def remember(self, keep: dict[str, Tensor]) -> None:
        for term in self.terms:
            term.loss.after_step()
        for name, queue in self.queues.items():
            if name in keep:
                queue.push(Rows(keep[name], keep["classes"], keep["domains"], keep["indices"]))
        if self.key_encoder is not None and self.memory is not None:
            with torch.no_grad():
                for key, parameter in zip(self.key_encoder.parameters(), self.encoder.parameters(), strict=True):
                    key.lerp_(parameter, 1 - self.memory.momentum)

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """Distances between classes and neighbours, where they are needed; not before the first epoch, whose encoder may
        know nothing yet.

        Raises ValueError where they are needed and the classes of the training set are not known.
        """
        planned = [term for term in self.terms if term.loss.needs]
        needs = self.needs.union(*(term.loss.needs for term in planned))
        if needs and self.classes is None:
            raise ValueError(
                f"baseline: found no classes of the training samples, which {' and '.join(sorted(needs))} are measured by; "
                "expected the argument `classes`"
            )
        if not needs or epoch == 0:
            return None
        rows = embed("after" if any(term.feature == "after" for term in planned) else "before")
        classes = torch.from_numpy(self.classes)
        plan = processes.from_first(lambda: class_plan(rows, classes, needs))
        for term in planned:
            term.loss.use_plan(plan)
        return plan

    def encode_query(self, images: Tensor) -> Tensor:
        embedding = self.encoder(images)["after"]
        if self.metric == "cosine":
            return F.normalize(embedding)
        # -|q - g|^2 / 2 = q.g - |q|^2 / 2 - |g|^2 / 2, so two columns a side make it an inner product.
        half = embedding.square().sum(dim=1, keepdim=True) / 2
        return torch.cat([embedding, -half, torch.ones_like(half)], dim=1)

    def encode_gallery(self, images: Tensor) -> Tensor:
        query = self.encode_query(images)
        if self.metric == "cosine":
            return query
        return torch.cat([query[:, :-2], query[:, -1:], query[:, -2:-1]], dim=1)

    def param_groups(self) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = [{"name": "encoder", "params": _trainable(self.encoder)}]
        for term in self.terms:
            decay = {} if term.weight_decay is None else {"weight_decay": term.weight_decay}
            groups.append({"name": term.name, "params": _trainable(term.loss), "lr_factor": term.lr_factor, **decay})
        return [group for group in groups if group["params"]]

    def _pairs(self, term: Term, loss: PairLoss, embeddings: Tensor, batch: Batch) -> dict[str, tuple[float, Pairs]]:
        """What a pair loss is taken over: weight and pairs, by the name of the loss that comes of them."""
        rows = self._compared(Rows(embeddings, batch.classes, batch.domains, batch.indices), loss, batch)
        limited = self.negatives_within_domain
        memory = self._remembered(term.feature, loss, batch)
        if self.memory is None or memory is None or self.memory.mode == "joint":
            return {term.name: (term.weight, Pairs.within(rows, memory, negatives_within_domain=limited))}
        against = Pairs.between(rows, memory, negatives_within_domain=limited)
        return {
            term.name: (term.weight, Pairs.within(rows, negatives_within_domain=limited)),
            f"{term.name}_memory": (term.weight * self.memory.weight, against),
        }

    def _of_pairs(self, name: str, loss: PairLoss, pairs: Pairs) -> dict[str, Tensor]:
        """The loss of pairs, by what the log calls it."""
        return {name: loss(pairs)}

    def _remembered(self, feature: str, loss: PairLoss, batch: Batch) -> Rows | None:
        """The queue's rows as the loss takes them, or None while there is nothing to compare with."""
        if self.memory is None or batch.step < self.memory.start_step or not len(self.queues[feature]):
            return None
        return self._compared(self.queues[feature].rows(normalize=loss.normalize), loss, batch)

    def _compared(self, rows: Rows, loss: PairLoss, batch: Batch) -> Rows:
        """Rows of the batch or of the queue as the loss compares them."""
        return rows.normalized() if loss.normalize else rows

    def _kept(self, features: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """What the queues should keep of this batch: nothing before START_STEP."""
        if self.memory is None or batch.step < self.memory.start_step:
            return {}
        if self.key_encoder is not None:
            with torch.no_grad():
                features = self.key_encoder(batch.images, batch.domains, batch.camids)
        kept = {name: features[name].detach() for name in self.queues}
        return {**kept, "classes": batch.classes, "domains": batch.domains, "indices": batch.indices}


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
