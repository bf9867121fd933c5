"""Methods: one file each; the config's NAME is the file's name, the constructor's signature its options.

The trainer and the evaluator know only the contract below, never which method runs. `encoder`, `losses`, `memory`,
`num_classes`, `classes`, `dim` and `num_samples` in a constructor are injected by `reid.builder`, never options; `classes`
are those of the training set, (N,) int64, and None where a checkpoint is only scored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Method(nn.Module):
    """What turns a batch into losses and a picture into a vector that can be searched for.

    Memories are buffers of the method, so they travel in its checkpoint.
    """

    encoder: nn.Module
    asymmetric = False  # True where encode_gallery differs from encode_query
    sampler: str | None = None  # the one SAMPLER whose batches it understands; None: any

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
        """images (B, 3, H, W) uint8, or float in 0..1 -> (B, D) float32. A score is the inner product of two vectors."""
        raise NotImplementedError

    def encode_gallery(self, images: Tensor) -> Tensor:
        """As `encode_query`, for the gallery's side."""
        return self.encode_query(images)

    def param_groups(self) -> list[dict[str, Any]]:
        """Every trainable parameter in exactly one group: `params`, `name`, and optionally `lr_factor`, `weight_decay`."""
        raise NotImplementedError

    def start_epoch(self, epoch: int, embed: Callable[..., Tensor]) -> Tensor | None:
        """Before an epoch; `embed(stage='embedding' | 'penultimate') -> (N, D)` embeds the training set.

        May return the part each training sample belongs to, (N,) int64, which batches carry; or the distances between
        classes, (C, C) float32, smaller is nearer, which the sampler is given. Checkpoints keep either.
        """
        return None
