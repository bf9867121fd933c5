"""The mean and deviation of pixels are those of the weights, unless one says otherwise."""

import logging
import math

import pytest
import timm
import torch

from reid.models import backbones
from reid.models.encoder import Encoder
from reid.models.norms.input import Input
from reid.models.pixels import IMAGENET, Pixels

HALF = Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = Pixels((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@pytest.fixture
def hub(monkeypatch):
    """timm's hub, with random numbers for weights."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **options: create(name, **options))


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("mobilenetv2_100", "timm", IMAGENET),
        ("tf_mobilenetv3_large_100", "timm", HALF),
        ("resnet50_clip", "timm", CLIP),
        ("tf_efficientnet_b0", "timm", IMAGENET),  # one network, two makers
        ("tf_efficientnet_b0", "timm:ap_in1k", HALF),
        ("tf_efficientnet_b0.ap_in1k", "timm", HALF),
        ("timm:tf_efficientnet_b0.ap_in1k", "timm", HALF),
    ],
)
def test_timms_weights_bring_their_own(hub, caplog, name, weights, expected):
    with caplog.at_level(logging.INFO, logger="reid"):
        encoder = Encoder(name, weights=weights)
    assert encoder.backbone.pixels == expected
    assert encoder.pixels == Pixels.of(**expected.tensors())
    assert f"pixels by {expected}, as timm says of them" in caplog.text
    picture = torch.full((1, 3, 2, 2), 102, dtype=torch.uint8)
    for channel, (mean, std) in enumerate(zip(*expected, strict=True)):
        assert encoder.normalise(picture)[0, channel, 1, 1].item() == pytest.approx((0.4 - mean) / std, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"), [("tf_efficientnet_b0", IMAGENET), ("tf_efficientnet_b0.ap_in1k", HALF), ("tiny", IMAGENET)]
)
def test_a_file_that_does_not_say_takes_those_of_the_name(tmp_path, caplog, name, expected):
    torch.save(backbones.build(name).state_dict(), tmp_path / "weights.pth")
    with caplog.at_level(logging.INFO, logger="reid"):
        assert Encoder(name, weights=tmp_path / "weights.pth").pixels == expected
    assert f"pixels by {expected}, as is usual for {name}" in caplog.text


@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_a_file_of_ours_brings_its_own(tmp_path, caplog, prefix):
    trained = Encoder("tiny", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    state = {prefix + key: tensor for key, tensor in trained.state_dict().items()}
    torch.save({"model": state}, tmp_path / "model_final.pth")
    with caplog.at_level(logging.INFO, logger="reid"):
        encoder = Encoder("tiny", weights=tmp_path / "model_final.pth")
    assert encoder.pixels == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert torch.equal(encoder.mean, trained.mean)
    assert "pixels by mean 0.1 0.2 0.3, std 0.4 0.5 0.6, as the file says" in caplog.text


@pytest.mark.parametrize("name", ["tf_mobilenetv3_small_minimal_100", "tf_efficientnet_b0.ap_in1k", "tiny"])
def test_from_scratch_they_are_imagenets(name):
    assert Encoder(name).pixels == IMAGENET


def test_one_may_say_otherwise(tmp_path, hub):
    assert Encoder("tiny", mean=[0.5, 0.4, 0.3]).pixels == ((0.5, 0.4, 0.3), IMAGENET.std)
    own = Encoder("tf_efficientnet_b0", weights="timm:ap_in1k", std=[0.2, 0.2, 0.2])
    assert own.pixels == (HALF.mean, (0.2, 0.2, 0.2))
    assert "pixels by mean 0.5 0.5 0.5, std 0.2 0.2 0.2" in repr(own)
    assert "pixels" not in repr(Encoder("tiny", norms=[Input()]))  # which uses none


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": [0.5]}, r"found mean \[0.5\], expected one number per channel"),
        ({"std": [0.2, 0.2, 0.2, 0.2]}, "found std .*one number per channel"),
        ({"mean": [0.5, math.nan, 0.5]}, "found mean .*one number per channel"),
        ({"mean": [0.5, "grey", 0.5]}, "found mean .*one number per channel"),
        ({"std": [0.2, 0.0, 0.2]}, r"found std \[0.2, 0.0, 0.2\], expected numbers above 0"),
    ],
)
def test_what_cannot_be_divided_by_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Encoder("tiny", **options)


def test_they_are_read_back_from_float32_as_they_were_written():
    for pixels in (IMAGENET, CLIP, Pixels((0.0, 1.0, 1 / 3), (1e-3, 0.15625, 2.0))):
        tensors = pixels.tensors()
        assert {name: tuple(values.shape) for name, values in tensors.items()} == {"mean": (3, 1, 1), "std": (3, 1, 1)}
        assert Pixels.of(**tensors).tensors()["mean"].equal(tensors["mean"])
    assert Pixels.of(**IMAGENET.tensors()) == IMAGENET
