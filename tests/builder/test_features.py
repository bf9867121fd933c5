"""What a method says it wants of the encoder, from its class to its batches."""

import pytest
import tiny_run
import torch

from reid.builder import objects
from reid.methods.baseline import Baseline


def made(tiny_world, tmp_path, **overrides):
    cfg = tiny_run.build(tiny_world, tmp_path, {"LOSSES": "[softmax]", "MODEL.POOLING": "strips2", **overrides})
    return objects.method(cfg, num_classes=20, num_samples=160)


def test_a_methods_encoder_gives_what_the_method_declares(tiny_world, tmp_path, monkeypatch):
    images = torch.randint(256, (2, 3, 32, 16), dtype=torch.uint8)
    assert list(made(tiny_world, tmp_path).encoder(images)) == ["before", "after"]
    monkeypatch.setattr(Baseline, "features", ("map", "parts"))
    shapes = {name: tuple(feature.shape) for name, feature in made(tiny_world, tmp_path).encoder(images).items()}
    assert shapes == {"before": (2, 256), "after": (2, 256), "map": (2, 128, 4, 2), "parts": (2, 2, 128)}


def test_what_the_backbone_does_not_give_is_refused_before_work(tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr(Baseline, "features", ("tokens",))
    with pytest.raises(ValueError, match="features: found tokens, expected map or parts"):
        made(tiny_world, tmp_path)
