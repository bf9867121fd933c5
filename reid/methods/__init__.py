"""Methods: one file each; the config's NAME is the file's name, the constructor's signature its options.

The trainer and the evaluator know only the contract below, never which method runs. `encoder`, `losses`, `memory`,
`num_classes`, `classes`, `dim`, `num_samples` and `needs` in a constructor are injected by `reid.builder`, never options;
`classes` are those of the training set, (N,) int64, and None where a checkpoint is only scored; `needs` is what the sampler
goes by, fields of a `Plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from reid.plan import Plan
from reid.similarity import Inner, Similarity


class Method(nn.Module):
    """What turns a batch into losses and a picture into a vector that can be searched for.

    Memories are buffers of the method, so they travel in its checkpoint.
    """

    encoder: nn.Module
    asymmetric = False  # True where encode_gallery differs from encode_query
    inner_product = True  # False where `similarity` is overridden to give anything but an Inner
    rescoring = ""  # that of its similarity: what rows of results say where only shortlists are scored, else empty
    sampler: str | None = None  # the one SAMPLER whose batches it understands; None: any
    gives: frozenset[str] = frozenset()  # the fields of a `Plan` that samplers and losses may need of it

    def training_losses(self, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses by name (scalars, weighted: the trainer minimises their sum), and what a memory should keep.

        The second dict holds detached tensors (B, ...). Nothing is remembered here: calling this twice gives equal losses.
        """
        raise NotImplementedError

    def forward(self, batch: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The same as `training_losses`, so that a method can be wrapped for several processes."""
        return self.training_losses(batch)

    def monitor(self, fresh: dict[str, Tensor]) -> dict[str, float]:
        """What is worth a line of the log beside the losses. Called at logged steps, before `remember(fresh)`."""
        return {}

    def remember(self, fresh: dict[str, Tensor]) -> None:
        """After the optimiser's step: push to the queue, commit to the bank, move a momentum encoder."""

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
        """Every trainable parameter in exactly one group: `params`, `name`, and optionally `lr_factor`, `weight_decay`."""
        raise NotImplementedError

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Plan | None:
        """Before an epoch: what the sampler deals by from here on; None: the plan before, if any, goes on.

        `embed(feature="embedding", indices=None) -> (N, D)` or (N, *shape) float32 on the CPU embeds the training set, or
        those samples of it alone, as it is scored: `embedding` is what `encode_query` gives, `before` and `after` are the
        encoder's features at the neck.
        Of several processes each calls this, and `embed` alike; all then go by the plan of the first. Checkpoints carry it.
        """
        return None
