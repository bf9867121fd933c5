"""The encoder: pictures in, embeddings out. Holds everything between a uint8 picture and a vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from reid.models import backbones
from reid.models import pooling as poolings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """Normalisation, backbone, pooling, and the neck that strong re-id baselines put before the classifier.

    Args:    backbone, weights, last_stride: see `reid.models.backbones.build`.
             pooling: `avg`, `max`, `avg+max`, `gem`, or `strips4`: the average of each of 4 horizontal strips, concatenated.
             dim: size of the embedding, by a linear map before the neck; 0 keeps the pooled feature's size.
             neck: BatchNorm without a learned shift, so that the embedding lies about the origin.
             instance_norm: normalise each channel of each picture by its own mean and deviation instead of by `mean`
             and `std`, which takes a camera's cast and contrast away. For training from scratch: weights made
             with `mean` and `std` do not expect it.
             mirror: while scoring, not while training, average the features of each picture and its mirror image. They
             are averaged before the neck and before any normalisation, so that no view counts more than the other.
             freeze_bn: the backbone's BatchNorm layers keep their running statistics while training (the recipes of
             retrieval, whose batches hold few classes). Their weights still learn.
             mean, std: RGB in 0..1, as the weights expect them.
    Source:  neck: Luo et al. 2019 (bag of tricks), section 3.6. strips: Sun et al. 2018 (PCB), with one classifier over
             all strips in place of one a strip.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str = "mobilenetv2_100",
        weights: str | Path = "none",
        last_stride: int = 2,
        pooling: str = "avg",
        dim: int = 0,
        neck: bool = True,
        instance_norm: bool = False,
        freeze_bn: bool = False,
        mirror: bool = False,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        if dim < 0:
            raise ValueError(f"dim: found {dim}, expected a size, or 0 for the pooled feature's own")
        self.pool = poolings.build(pooling)
        self.backbone = backbones.build(backbone, weights=weights, last_stride=last_stride)
        num_pooled = int(self.backbone.num_features) * self.pool.num_parts  # type: ignore[arg-type]
        self.dim = dim or num_pooled
        self.reduce = nn.Linear(num_pooled, dim, bias=False) if dim else nn.Identity()
        self.neck = nn.BatchNorm1d(self.dim) if neck else nn.Identity()
        if isinstance(self.neck, nn.BatchNorm1d):
            self.neck.bias.requires_grad_(False)
        self.instance_norm = instance_norm
        self.freeze_bn = freeze_bn
        self.mirror = mirror
        # In the state, so that a checkpoint scores the same whatever the defaults are by then.
        self.register_buffer("mean", _per_channel(mean))
        self.register_buffer("std", _per_channel(std))
        parts = [backbone, f"weights {weights}", f"last stride {last_stride}", f"{pooling} pooling"]
        parts += ["instance norm"] * instance_norm + ["frozen BatchNorm"] * freeze_bn + ["no neck"] * (not neck)
        self._recipe = ", ".join(parts)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W), uint8 or float in 0..1, RGB, in either memory format -> two (B, dim) float32, also under
        autocast: the feature before the neck and the one after it. The same tensor without a neck.
        """
        images = self.normalise(images)
        before = self._features(images)
        if self.mirror and not self.training:
            before = (before + self._features(images.flip(-1))) / 2
        return before, self.neck(before)

    def _features(self, images: Tensor) -> Tensor:
        maps = self.backbone(images)  # (B, C, h, w)
        return self.reduce(self.pool(maps)).float()

    def normalise(self, images: Tensor) -> Tensor:
        """images as in `forward` -> float32 (B, 3, H, W) as the backbone takes them."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"encoder: found images {tuple(images.shape)}, expected (B, 3, H, W)")
        if images.dtype == torch.uint8:
            images = images.float() / 255
        elif not images.is_floating_point():
            raise ValueError(f"encoder: found {images.dtype} images, expected uint8, or float in 0..1")
        images = images.float()
        if not self.instance_norm:
            return (images - self.mean) / self.std
        variance, mean = torch.var_mean(images, dim=(2, 3), correction=0, keepdim=True)  # (B, 3, 1, 1)
        # 1e-4 is the variance of 2.5 grey levels: an almost constant picture stays quiet, a constant one gives 0.
        return (images - mean) * torch.rsqrt(variance + 1e-4)

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        if self.freeze_bn:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def describe(self) -> str:
        """One line for the log."""
        num_parameters = sum(parameter.numel() for parameter in self.parameters())
        return f"<encoder {self._recipe}, {self.dim}-d, {num_parameters / 1e6:.2f}M parameters>"

    __repr__ = describe


def _per_channel(values: Sequence[float]) -> Tensor:
    if len(values) != 3:
        raise ValueError(f"encoder: found {list(values)} for mean or std, expected one number a channel (RGB)")
    return torch.tensor(values, dtype=torch.float32)[:, None, None]  # (3, 1, 1)
