"""Methods: one file each; the config's NAME is the file's name, the constructor's signature its options.

The trainer and the evaluator know only the contract below, never which method runs. `encoder`, `losses`, `memory`,
`num_classes`, `classes`, `dim` and `num_samples` in a constructor are injected by `reid.builder`, never options; `classes`
are those of the training set, (N,) int64, and None where a checkpoint is only scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from reid.plan import Plan
from reid.similarity import Inner, Similarity


@dataclass
class Phase:
    """One step of the optimiser: what is minimised, and what moves.

    losses: scalars by name, weighted: their sum is minimised. learns: names of the parameter groups that move; None: all.
    keep: detached rows (B, ...) for `remember`. counts: 0-d numbers of this batch by name; the trainer adds them up over
    the run and writes the sums into the log, once they are above 0.
    """

    losses: dict[str, Tensor]
    learns: Sequence[str] | None = None
    keep: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where in a run a method is: the number of the stage of SOLVER.STAGES, 0 without any; the stage's epochs, of the run's;
    batches per epoch."""

    stage: int = 0
    epochs: range = range(0)
    steps_per_epoch: int = 0


def inner_grad(loss: Tensor, inputs: Sequence[Tensor], create_graph: bool = False) -> tuple[Tensor, ...]:
    """The gradient of the scalar `loss` with respect to each of `inputs`; create_graph: it can be learned through.

    Of an input that the loss does not depend on it is 0. The loss can still be part of what a phase minimises.
    """
    with torch.autocast(loss.device.type, enabled=False):
        return torch.autograd.grad(
            loss, list(inputs), retain_graph=True, create_graph=create_graph, materialize_grads=True
        )


def rate(group: str) -> float:
    """Raises ValueError: outside of a training no parameter group has a learning rate."""
    raise ValueError(f"found no optimiser for the parameter group {group}; expected a method in training")


class Method(nn.Module):
    """What turns a batch into losses and a picture into a vector that can be searched for.

    A method of one step per batch writes `training_losses`, one of several steps writes `phases` in its place. Memories are
    buffers of the method, so they travel in its checkpoint.
    """

    encoder: nn.Module
    asymmetric = False  # True where encode_gallery differs from encode_query
    maps_gallery = False  # True where encode_gallery changes vectors that could be searched as encode_query gives them
    inner_product = True  # False where `similarity` is overridden to give anything but an Inner
    rescoring = ""  # that of its similarity: what rows of results say where only shortlists are scored, else empty
    several_steps = False  # True where `phases` yields more than once: its batches are not taken in parts
    sampler: str | None = None  # the one SAMPLER whose batches it understands; None: any
    gives: frozenset[str] = frozenset()  # the fields of a `Plan` that samplers and losses may need of it
    needs: frozenset[str] = frozenset()  # those that its run's sampler needs: set by whoever puts the two together
    features: tuple[str, ...] = ()  # what its encoder gives besides `before` and `after`: see `Encoder.forward`
    views: frozenset[str] = frozenset()  # the INPUT.VIEWS that it reads, and finds in `Batch.views`
    only_training: tuple[str, ...] = ()  # what keys of its state begin with that `model_final.pth` leaves out
    place = Place()  # told by the trainer before `start_epoch`
    # For a step within a phase. While training the trainer's own stands here: it keeps fp16 from losing small gradients.
    inner_grad: Callable[..., tuple[Tensor, ...]] = staticmethod(inner_grad)
    # While training: the learning rate of a parameter group at this step; the largest, where rates fall with depth.
    rate: Callable[[str], float] = staticmethod(rate)

    def training_losses(self, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`losses` and `keep` of the only phase. Nothing is remembered here: calling this twice gives equal losses."""
        raise NotImplementedError

    def phases(self, batch: Any) -> Iterator[Phase]:
        """The steps of a batch in turn. After each `yield` the optimiser has moved, so the next forward sees it.

        A step that fp16 makes overflow is skipped and ends the batch: what stands after its `yield` is not run. No
        autocast may be open across a `yield`.
        """
        losses, keep = self.training_losses(batch)
        yield Phase(losses, keep=keep)

    def monitor(self, keep: dict[str, Tensor]) -> dict[str, float]:
        """What is worth a line of the log beside the losses. Called at logged steps, before `remember(keep)`."""
        return {}

    def remember(self, keep: dict[str, Tensor]) -> None:
        """After the last phase: push to the queue, commit to the bank, move a momentum encoder.

        keep: that of all phases, from all processes. Not called where a phase was skipped.
        """

    def encode_query(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) uint8, or float in 0..1 -> (B, D) float32; any (B, *shape) that `similarity` scores."""
        raise NotImplementedError

    def encode_gallery(self, images: Tensor) -> Tensor:
        """As `encode_query`, for the gallery's side."""
        return self.encode_query(images)

    def similarity(self, query: Tensor, gallery: Tensor) -> Similarity:
        """The scores of queries (Q, *shape) against gallery pictures (G, *shape), as encoded for either side.

        One tensor is given twice where the queries are the gallery and encodings are the same.
        """
        return Inner(query, gallery)

    def param_groups(self) -> list[dict[str, Any]]:
        """Every trainable parameter in exactly one group: `params`, `name`, and what `reid.optim.optimizer` takes besides."""
        raise NotImplementedError

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """Before an epoch: what the sampler deals by from here on; None: the plan before, if any, goes on.

        `embed(feature="embedding", indices=None) -> (N, D)` or (N, *shape) float32 on the CPU embeds the training set, or
        those samples of it alone, as it is scored: `embedding` is what `encode_query` gives, `before` and `after` are the
        encoder's features at the neck.
        Of several processes each calls this, and `embed` alike; all then go by the plan of the first. Checkpoints carry it.
        """
        return None
