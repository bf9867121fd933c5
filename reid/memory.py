"""Memories: what a method remembers from one step to the next. All of them travel in the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.pairs import Rows

MODES = ("separate", "joint")
FIRST_VISITS = ("replace", "blend")


@dataclass(frozen=True)
class CrossBatch:
    """How pair losses use a memory of past embeddings.

    size: embeddings kept. start_step: the step from which they are kept and used. weight: of the memory's own term.
    mode: `separate` adds the loss of the batch against the memory to the loss within the batch, as the XBM paper does;
    `joint` takes one loss over the columns of both. momentum: of the encoder that fills the memory; 0 is XBM, 0.999 MoCo.
    """

    size: int
    start_step: int = 0
    weight: float = 1.0
    mode: str = "separate"
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"MEMORY.MODE: no {self.mode}; there are {', '.join(MODES)}")
        if self.size < 1 or self.start_step < 0:
            raise ValueError(
                f"MEMORY: SIZE is {self.size}, START_STEP {self.start_step}; expected 1 or more, 0 or more"
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(f"MEMORY.MOMENTUM is {self.momentum}; expected 0 (XBM) up to, not including, 1")


class EmbeddingQueue(nn.Module):
    """The newest `size` embeddings with their classes, domains and sample indices, float32 whatever the autocast.

    Rows are kept as unit vectors and norms, so that a loss on unit vectors pays for normalising them once, when they
    are pushed. The order of the rows is that of a ring.

    Source: Wang et al. 2020, Cross-Batch Memory for Embedding Learning. Deviation: the queue is read before the batch
    is pushed, so that an anchor never meets itself in it.
    """

    units: Tensor
    norms: Tensor
    labels: Tensor

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.size = size
        self.position = 0  # of the next row to be written
        self.filled = 0
        self.register_buffer("units", torch.zeros(size, dim, dtype=torch.float32))
        self.register_buffer("norms", torch.zeros(size, dtype=torch.float32))
        self.register_buffer("labels", torch.zeros(3, size, dtype=torch.int64))  # rows: class, domain, sample index

    def __len__(self) -> int:
        return self.filled

    @torch.no_grad()
    def push(self, rows: Rows) -> None:
        """Adds rows with raw embeddings (B, D), any float type; the oldest rows fall out.

        Raises ValueError for other shapes: what a score that is no inner product compares, such as feature maps, is not kept.
        """
        if rows.embeddings.shape[1:] != self.units.shape[1:]:
            raise ValueError(
                f"memory: found embeddings {tuple(rows.embeddings.shape)}; expected vectors (B, {self.units.shape[1]}): "
                "for rows of another shape set MEMORY.SIZE 0"
            )
        embeddings = rows.embeddings.detach().float()[-self.size :]
        norms = embeddings.norm(dim=1).clamp_min(1e-12)
        labels = torch.stack([rows.classes, rows.domains, rows.indices])[:, -self.size :]
        where = (self.position + torch.arange(len(embeddings), device=norms.device)) % self.size
        self.units[where] = embeddings / norms[:, None]
        self.norms[where] = norms
        self.labels[:, where] = labels
        self.position = (self.position + len(embeddings)) % self.size
        self.filled = min(self.size, self.filled + len(embeddings))

    @torch.no_grad()
    def drift(self, embeddings: Tensor, indices: Tensor) -> dict[str, float]:
        """How far samples still held have moved, from their embeddings (B, D) as they are now, before these are pushed.

        `drift`: mean squared distance, 0..4, of the unit embeddings of (B,) `indices` from every row held of the same
        sample. `age`: the mean number of steps since those were pushed, B rows per step. Empty where none is held.
        """
        now, then = (indices[:, None] == self.labels[2, : self.filled]).nonzero(as_tuple=True)
        if not len(now):
            return {}
        moved = F.normalize(embeddings.float())[now] - self.units[then]
        age = (self.position - 1 - then) % self.size // len(indices) + 1
        return {"drift": moved.square().sum(dim=1).mean().item(), "age": age.float().mean().item()}

    def rows(self, *, normalize: bool) -> Rows:
        """Every row now held, as unit vectors (a view, nothing is copied) or raw."""
        units = self.units[: self.filled]
        embeddings = units if normalize else units * self.norms[: self.filled, None]
        classes, domains, indices = self.labels[:, : self.filled]
        return Rows(embeddings, classes, domains, indices, unit=normalize)

    # Position and fill are plain integers, kept out of the device's memory so that reading them never waits for it.

    def get_extra_state(self) -> dict[str, int]:
        return {"position": self.position, "filled": self.filled}

    def set_extra_state(self, state: Any) -> None:
        self.position, self.filled = int(state["position"]), int(state["filled"])


class IdentityBank(nn.Module):
    """One row per identity, of unit length, float32 whatever the autocast: DIMN's classifier weights, prototypes of BAU and M3L.

    rows: (C, D). stored: (C,) bool, the rows that hold something; the others are zero. visited: (C,) bool, the rows that
    an update has reached. A row that `fill` wrote is stored and not visited. No gradient reaches any of them.

    Args:
        momentum: weight of the OLD row in an update; 0 keeps the newest, above 0.5 the past weighs more.
        first_visit: what the first update of a row does with what `fill` wrote: `replace` it whole, or `blend` with it.
            Whatever fills a bank is a guess, and at a high momentum a guess would stay for the whole run.
        in_turn: several rows of one class are blended one after another, so that the last weighs most; else by their mean.
    Source: Song et al. 2019 (DIMN), the memory's running average, as others relate it: which of alpha and 1 - alpha
    falls on the old row is not known to us; at the published 0.5 it does not matter. first_visit is ours.
    """

    rows: Tensor
    stored: Tensor
    visited: Tensor

    def __init__(
        self, num_classes: int, dim: int, momentum: float = 0.5, first_visit: str = "replace", in_turn: bool = False
    ):
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"MOMENTUM is {momentum}; expected 0 (the newest row) up to, not including, 1")
        if first_visit not in FIRST_VISITS:
            raise ValueError(f"FIRST_VISIT: no {first_visit}; there are {', '.join(FIRST_VISITS)}")
        self.momentum, self.first_visit, self.in_turn = momentum, first_visit, in_turn
        self.register_buffer("rows", torch.zeros(num_classes, dim, dtype=torch.float32))
        self.register_buffer("stored", torch.zeros(num_classes, dtype=torch.bool))
        self.register_buffer("visited", torch.zeros(num_classes, dtype=torch.bool))

    @torch.no_grad()
    def fill(self, rows: Tensor) -> None:
        """Every row at once, (C, D), brought to unit length."""
        self.rows.copy_(F.normalize(rows.float()))
        self.stored.fill_(True)

    @torch.no_grad()
    def update(self, rows: Tensor, classes: Tensor) -> None:
        """Blends rows (B, D) into those of their classes (B,); several of one class by their mean, whatever their order, or in turn."""
        turns = torch.zeros_like(classes)
        if self.in_turn:
            turns = (classes[:, None] == classes).tril(-1).sum(dim=1)  # how many of its class stand before a row
        for turn in range(int(turns.max()) + 1):
            self._blend(rows[turns == turn], classes[turns == turn])

    def _blend(self, rows: Tensor, classes: Tensor) -> None:
        """By the mean of a class's rows.

        A product with the matrix of who belongs to whom, not an indexed sum: on a GPU that would add in no fixed order,
        and the banks of several processes would drift apart in their last digits.
        """
        own = classes.unique()  # sorted
        share = (own[:, None] == classes).float()  # (U, B)
        means = (share / share.sum(dim=1, keepdim=True)) @ rows.float()  # (U, D)
        old = self.momentum * self.rows[own]
        if self.first_visit == "replace":
            old *= self.visited[own][:, None]
        self.rows[own] = F.normalize(old + (1 - self.momentum) * means)
        self.stored[own] = True
        self.visited[own] = True

    @torch.no_grad()
    def cosine(self) -> float:
        """Mean cosine of two different stored rows: near 0 where identities are told apart, 1 where all rows are one."""
        rows = self.rows[self.stored]
        num = len(rows)
        # The squared length of the sum is the sum of all products, the n of a row with itself among them.
        return (rows.sum(dim=0).square().sum().item() - num) / max(1, num * (num - 1))
