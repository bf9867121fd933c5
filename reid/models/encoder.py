"""The encoder: pictures in, embeddings out. Holds everything between a uint8 picture and a vector."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid.models import backbones, cameras
from reid.models import pooling as poolings
from reid.models.backbones import Backbone
from reid.models.norms import BATCH_NORM, Conversion, OfDomains, of_domains
from reid.models.pixels import Pixels

FURTHER = ("map", "tokens", "parts")


class Encoder(nn.Module):
    """Normalisation, backbone, pooling, and the neck that strong re-id baselines put before the classifier.

    Args:    backbone, weights, last_stride: see `reid.models.backbones.build`.
             pooling: of a map `avg`, `max`, `avg+max`, `gem`, or `strips4`: the average of each of 4 horizontal strips,
             concatenated. Of tokens `avg`, over those of patches, `cls`, the class token, or `cls+avg`, one behind the other;
             of a grid of patches `strips4` as well.
             dim: size of the embedding, by a linear map before the neck; 0 keeps the pooled feature's size.
             neck: BatchNorm without a learned shift, so that the embedding lies about the origin.
             norms: conversions of the backbone's normalisation layers, of `reid.models.norms`, in this order.
             mirror: while scoring, not while training, average the features of each picture and its mirror image. They
             are averaged before the neck and before any normalisation, so that no view counts more than the other.
             freeze_bn: the backbone's BatchNorm layers keep their running statistics while training (the recipes of
             retrieval, whose batches hold few classes). Their weights still learn.
             mean, std: of pixels, RGB in 0..1. Empty: those that belong to the weights; from scratch ImageNet's.
             size, stride: of pictures, (height, width), and pixels between patches, for timm's networks of patches, which are
             made for them.
             drop_path: of timm's networks, see `reid.models.backbones.build`. recompute: while training, each block of timm's runs again
             in the backward pass, for less memory; the same gradients.
             sie: how many cameras the sources have, each with an embedding of its own, see `reid.models.cameras`; 0: none.
             features: which of `map`, `tokens` and `parts` are given besides.
    Raises:  ValueError for an option out of its range, for a pooling or a feature that the backbone does not have, and
             whatever `reid.models.backbones.build` raises.
    Source:  neck: Luo et al. 2019 (bag of tricks), section 3.6. strips: Sun et al. 2018 (PCB), with one classifier over
             all strips in place of one a strip.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str | type[Backbone] = "mobilenetv2_100",
        weights: str | Path = "none",
        last_stride: int = 2,
        pooling: str = "avg",
        dim: int = 0,
        neck: bool = True,
        norms: Sequence[Conversion] = (),
        freeze_bn: bool = False,
        mirror: bool = False,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        features: Sequence[str] = (),
        size: tuple[int, int] | None = None,
        stride: int = 0,
        drop_path: float = 0.0,
        recompute: bool = False,
        sie: int = 0,
    ) -> None:
        super().__init__()
        if dim < 0:
            raise ValueError(f"dim: found {dim}, expected a size, or 0 for the pooled feature's own")
        frozen = [norm.name for norm in norms if norm.changes_batch_norm and freeze_bn]
        if frozen:
            raise ValueError(
                f"norms.{frozen[0]} replaces BatchNorms, which freeze_bn keeps as they are; give one of the two"
            )
        made = backbones.build(
            backbone,
            weights=weights,
            last_stride=last_stride,
            norms=norms,
            size=size,
            stride=stride,
            drop_path=drop_path,
        )
        if sie:
            cameras.add(made, sie)
        grid: Any = getattr(getattr(made, "patch_embed", None), "grid_size", None)
        first = getattr(made, "cls_token", True) is not None  # of timm's some have only registers
        # In this order: the gradient's norm is summed in it.
        self.pool = poolings.build(pooling, *(made.num_prefix_tokens, grid, first) if made.gives_tokens else ())
        self.backbone = made
        num_pooled = made.num_features * self.pool.num_parts
        self.dim = dim or num_pooled
        self.reduce = nn.Linear(num_pooled, dim, bias=False) if dim else nn.Identity()
        self.neck = nn.BatchNorm1d(self.dim) if neck else nn.Identity()
        if isinstance(self.neck, nn.BatchNorm1d):
            self.neck.bias.requires_grad_(False)
        self._wants_domains = any(isinstance(layer, OfDomains) for layer in made.modules())
        self.freeze_bn = freeze_bn
        self.recompute = recompute
        if recompute:
            self._check_recompute()
            made.set_grad_checkpointing(True)  # type: ignore[operator]
        self.mirror = mirror
        self.features = tuple(features)
        self._check_features()
        own = made.pixels
        # In the state, so that a checkpoint scores the same whatever the defaults are by then.
        for name, values in Pixels(tuple(mean) or own.mean, tuple(std) or own.std).check().tensors().items():
            self.register_buffer(name, values)
        shown = backbone if isinstance(backbone, str) else backbone.__qualname__
        parts = [shown, f"weights {weights}", f"last stride {last_stride}", f"{pooling} pooling"]
        parts += [norm.name for norm in norms] + ["frozen BatchNorm"] * freeze_bn + ["no neck"] * (not neck)
        self._recipe = ", ".join(parts)

    @property
    def pixels(self) -> Pixels:
        """The mean and deviation that pictures are normalised by, unless each is by itself."""
        return Pixels.of(self.mean, self.std)

    @property
    def instance_norm(self) -> bool:
        """Whether each picture is normalised by itself: see `reid.models.norms.input`."""
        return hasattr(self.backbone, "input_norm")

    def forward(self, images: Tensor, domains: Tensor | None = None, camids: Tensor | None = None) -> dict[str, Tensor]:
        """images (B, 3, H, W), uint8 or float in 0..1, RGB, in either memory format -> features by name, all float32,
        also under autocast.

        `before` and `after` the neck, (B, dim) each; the same tensor without a neck. As far as the encoder was made to
        give them: `map`, the backbone's (B, C, h, w), or `tokens`, its (B, T, C) with the prefix; `parts` (B, P, C), the
        vectors that pooling concatenates, P is 1 for all but strips. With `mirror` only `before`, and so `after`, is of
        both views: `map`, `tokens` and `parts` are of the picture as it is, for places in a mirror image are others.

        domains: (B,) int64, of each picture; needed while training with norms that go by domains. camids: the same, of cameras of the
        sources counted through; needed while training with `sie`.
        """
        images = self.normalise(images)
        with of_domains(self.backbone, domains, camids) if self._wants_domains else contextlib.nullcontext():
            before, further = self._features(images)
        if self.mirror and not self.training:
            before = (before + self._features(images.flip(-1))[0]) / 2
        return {"before": before, "after": self.neck(before), **further}

    def _features(self, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The feature before the neck, and what was asked for besides."""
        given = self.backbone(images)  # (B, C, h, w) or (B, T, C)
        pooled = self.pool(given)  # (B, P * C)
        further = {}
        for name in self.features:
            further[name] = (pooled.unflatten(1, (self.pool.num_parts, -1)) if name == "parts" else given).float()
        return self.reduce(pooled).float(), further

    def _check_features(self) -> None:
        kind = "tokens" if self.backbone.gives_tokens else "map"
        for name in self.features:
            if name not in FURTHER:
                raise ValueError(f"features: no {name}; there are {', '.join(FURTHER)}")
            if name not in (kind, "parts"):
                raise ValueError(f"features: found {name}, expected {kind} or parts, which this backbone gives")

    def _check_recompute(self) -> None:
        twice = [name for name, module in self.backbone.named_modules() if isinstance(module, BATCH_NORM)]
        if twice or not hasattr(self.backbone, "set_grad_checkpointing"):
            found = f"{twice[0]}, a BatchNorm, which would count pictures twice" if twice else "a network that cannot"
            raise ValueError(f"recompute: found {found}; expected one of timm's without BatchNorm, such as a ViT")

    def normalise(self, images: Tensor) -> Tensor:
        """images as in `forward` -> float32 (B, 3, H, W) as the backbone takes them."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"encoder: found images {tuple(images.shape)}, expected (B, 3, H, W)")
        if images.dtype == torch.uint8:
            images = images.float() / 255
        elif not images.is_floating_point():
            raise ValueError(f"encoder: found {images.dtype} images, expected uint8, or float in 0..1")
        images = images.float()
        if self.instance_norm:
            return self.backbone.input_norm(images)  # type: ignore[operator]
        return (images - self.mean) / self.std

    def train(self, mode: bool = True) -> Encoder:
        super().train(mode)
        if self.recompute:
            self.backbone.set_grad_checkpointing(mode)  # type: ignore[operator]
        if self.freeze_bn:
            for module in self.backbone.modules():
                if isinstance(module, BATCH_NORM):
                    module.eval()
        return self

    def describe(self) -> str:
        """One line for the log."""
        num_parameters = sum(parameter.numel() for parameter in self.parameters())
        pixels = "" if self.instance_norm else f"pixels by {self.pixels}, "
        return f"<encoder {self._recipe}, {pixels}{self.dim}-d, {num_parameters / 1e6:.2f}M parameters>"

    __repr__ = describe
