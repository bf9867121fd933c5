"""The encoder from a picture to its embedding."""

import math

import pytest
import torch
from torch import nn

from reid.models import pooling
from reid.models.backbones import Backbone
from reid.models.encoder import Encoder
from reid.models.norms.input import Input
from reid.models.pixels import IMAGENET

POOLINGS = ["avg", "max", "avg+max", "gem", "strips4"]


def pictures(count: int = 4, height: int = 64, width: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("norms", [[], [Input()]])
def test_uint8_and_float_pictures_give_the_same_embedding(norms):
    encoder = Encoder("tiny", norms=norms).eval()
    images = pictures()
    torch.testing.assert_close(encoder(images), encoder(images.double() / 255))


def test_pictures_are_normalised_by_channel():
    images = pictures(1)
    normalised = Encoder("tiny").normalise(images)
    for channel in range(3):
        value = (images[0, channel, 5, 7].item() / 255 - IMAGENET.mean[channel]) / IMAGENET.std[channel]
        assert normalised[0, channel, 5, 7].item() == pytest.approx(value, abs=1e-5)


def test_instance_norm_takes_a_cast_and_contrast_away():
    images = torch.rand(2, 3, 64, 32)
    cast = images * torch.tensor([0.5, 0.7, 0.6])[:, None, None] + torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    normalise = Encoder("tiny", norms=[Input()]).normalise
    torch.testing.assert_close(normalise(cast), normalise(images), atol=0.02, rtol=0.0)
    assert normalise(images).mean((2, 3)).abs().max() < 1e-5
    assert (normalise(images).std((2, 3)) - 1).abs().max() < 1e-2


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_instance_norm_of_a_constant_picture_is_zero(value):
    encoder = Encoder("tiny", norms=[Input()])
    images = torch.full((2, 3, 64, 32), value, dtype=torch.uint8)
    assert encoder.normalise(images).abs().max() < 1e-3
    before, after = encoder(images).values()
    after.sum().backward()
    assert before.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.requires_grad)


def pooled_slowly(name: str, channel: list[list[float]]) -> list[float]:
    """One channel of a map, row by row: one number, or one a strip."""
    rows = len(channel)
    values = [value for row in channel for value in row]
    if name == "avg":
        return [sum(values) / len(values)]
    if name == "max":
        return [max(values)]
    if name == "avg+max":
        return [sum(values) / len(values) + max(values)]
    if name == "gem":
        return [(sum(max(value, 1e-6) ** 3 for value in values) / len(values)) ** (1 / 3)]
    strips = [channel[rows * strip // 4 : rows * (strip + 1) // 4] for strip in range(4)]
    return [sum(sum(row) for row in strip) / sum(len(row) for row in strip) for strip in strips]


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_equals_a_plain_loop(name):
    maps = torch.randn(2, 3, 8, 5)
    pool = pooling.build(name)
    pooled = pool(maps)
    assert pooled.shape == (2, 3 * pool.num_parts)
    for image in range(2):
        for channel in range(3):
            slow = pooled_slowly(name, maps[image, channel].double().tolist())
            for part, value in enumerate(slow):  # a strip's channels stand together
                assert pooled[image, part * 3 + channel].item() == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_of_bfloat16_maps_is_float32(name):
    maps = torch.rand(2, 3, 8, 4).bfloat16()
    pooled = pooling.build(name)(maps)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, pooling.build(name)(maps.float()))


def test_more_strips_than_rows_is_refused():
    with pytest.raises(ValueError, match=r"strips9: found a map 8 high"):
        Encoder("tiny", pooling="strips9")(pictures())


@pytest.mark.parametrize("name", ["mean", "strips", "strips0", "strips-2", "strips4x", ""])
def test_unknown_pooling_is_refused(name):
    with pytest.raises(ValueError, match=r"expected avg, max, avg\+max, gem or strips"):
        Encoder("tiny", pooling=name)


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": "tiny", "pooling": "gem", "dim": 16},
        {"backbone": "tiny", "pooling": "strips4", "norms": [Input()]},
        {"backbone": "tiny", "pooling": "max", "neck": False},
        {"backbone": "mobilenetv2_100", "last_stride": 1},
    ],
)
def test_gradient_reaches_every_parameter(options):
    torch.manual_seed(0)
    encoder = Encoder(**options)
    after = encoder(pictures())["after"]
    (after * torch.randn_like(after)).sum().backward()
    without = [
        name for name, p in encoder.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not without


def test_sizes_and_neck():
    assert Encoder("tiny").dim == 128
    assert Encoder("tiny", pooling="strips4").dim == 512
    encoder = Encoder("tiny", pooling="strips4", dim=64)
    before, after = encoder(pictures()).values()
    assert before.shape == after.shape == (4, encoder.dim) == (4, 64)
    torch.testing.assert_close(after, (before - before.mean(0)) / (before.var(0, correction=0) + 1e-5).sqrt())
    assert [name for name, p in encoder.named_parameters() if not p.requires_grad] == ["neck.bias"]
    before, after = Encoder("tiny", neck=False)(pictures()).values()
    assert after is before


@pytest.mark.parametrize("pool", POOLINGS)
def test_output_is_float32_under_autocast(pool):
    encoder = Encoder("tiny", pooling=pool, dim=32)
    with torch.autocast("cpu", torch.bfloat16):
        before, after = encoder(pictures()).values()
    assert before.dtype == after.dtype == torch.float32


def test_either_memory_format_gives_the_same_embedding():
    encoder = Encoder("tiny", pooling="strips4").eval()
    images = pictures()
    expected = encoder(images)["after"]
    encoder = encoder.to(memory_format=torch.channels_last)
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(
            encoder(images.contiguous(memory_format=layout))["after"], expected, atol=1e-5, rtol=1e-4
        )


def test_freeze_bn_keeps_the_backbones_statistics_and_not_the_necks():
    encoder = Encoder("tiny", freeze_bn=True).train()
    frozen = encoder.backbone.block1.conv1[1]
    expected, neck = frozen.running_mean.clone(), encoder.neck.running_mean.clone()
    encoder(pictures())
    assert encoder.training
    assert torch.equal(frozen.running_mean, expected)
    assert not torch.equal(encoder.neck.running_mean, neck)
    assert frozen.weight.requires_grad


def test_the_state_holds_all_that_decides_an_embedding():
    encoder = Encoder("tiny", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)).eval()
    other = Encoder("tiny").eval()
    other.load_state_dict(encoder.state_dict())
    images = pictures()
    assert torch.equal(encoder(images)["after"], other(images)["after"])


def test_the_encoder_can_be_exported_with_a_free_batch_size():
    encoder = Encoder("tiny", pooling="strips4", norms=[Input()], dim=32).eval()
    batch = torch.export.Dim("batch", min=1, max=512)
    program = torch.export.export(encoder, (pictures(2),), dynamic_shapes=({0: batch},))
    images = pictures(5)
    torch.testing.assert_close(program.module()(images)["after"], encoder(images)["after"])


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.rand(3, 64, 32), r"\(3, 64, 32\)"),
        (torch.rand(2, 1, 64, 32), r"\(2, 1, 64, 32\)"),
        (torch.zeros(2, 3, 64, 32, dtype=torch.int64), "int64"),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused(images, found):
    with pytest.raises(ValueError, match=f"found .*{found}.*expected"):
        Encoder("tiny")(images)


def test_options_are_checked():
    with pytest.raises(ValueError, match="dim: found -1"):
        Encoder("tiny", dim=-1)
    with pytest.raises(ValueError, match="one number per channel"):
        Encoder("tiny", mean=(0.5,))


def test_describes_itself_in_one_line():
    encoder = Encoder("tiny", pooling="strips4", norms=[Input()])
    total = sum(p.numel() for p in encoder.parameters())
    assert repr(encoder) == encoder.describe()
    assert "\n" not in repr(encoder)
    for part in ("tiny", "strips4", "512-d", f"{total / 1e6:.2f}M", " input,"):
        assert part in repr(encoder)


def test_gem_starts_at_three_and_nears_the_maximum():
    pool, maps = pooling.build("gem"), torch.rand(1, 4, 6, 6)
    assert isinstance(pool.power, nn.Parameter)
    assert pool.power.item() == 3
    with torch.no_grad():
        pool.power.fill_(300)
    assert torch.allclose(pool(maps), maps.amax((2, 3)), atol=0.02)
    assert math.isfinite(pool(torch.zeros(1, 4, 6, 6)).sum().item())


def test_mirror_averages_features_of_both_views_while_scoring_only():
    torch.manual_seed(0)
    images = torch.randint(256, (4, 3, 64, 32), dtype=torch.uint8)
    plain, mirrored = Encoder("tiny", pooling="strips2"), Encoder("tiny", pooling="strips2", mirror=True)
    mirrored.load_state_dict(plain.state_dict())
    assert torch.equal(plain(images)["before"], mirrored(images)["before"])  # in training it makes no difference
    plain.eval(), mirrored.eval()
    with torch.no_grad():
        mean = (plain(images)["before"] + plain(images.flip(-1))["before"]) / 2
        before, after = mirrored(images).values()
    torch.testing.assert_close(before, mean)
    torch.testing.assert_close(after, mirrored.neck(mean))
    torch.testing.assert_close(mirrored(images.flip(-1))["after"], after)


def test_the_map_and_the_parts_are_what_is_pooled():
    encoder = Encoder("tiny", pooling="strips4", dim=32, features=("parts", "map"), mirror=True).eval()
    images = pictures()
    found = encoder(images)
    assert list(found) == ["before", "after", "parts", "map"]
    expected = encoder.backbone(encoder.normalise(images))
    torch.testing.assert_close(found["map"], expected)  # of the picture as it is, also under the flip test
    for part, rows in enumerate(expected.split(2, dim=2)):  # 8 rows in 4 strips
        torch.testing.assert_close(found["parts"][:, part], rows.mean((2, 3)))
    encoder.mirror = False
    torch.testing.assert_close(encoder(images)["before"], encoder.reduce(found["parts"].flatten(1)))
    torch.testing.assert_close(found["before"], (encoder(images)["before"] + encoder(images.flip(-1))["before"]) / 2)


def test_every_pooling_has_a_part():
    for pool in POOLINGS:
        encoder = Encoder("tiny", pooling=pool, features=("parts",))
        found = encoder(pictures())
        assert found["parts"].shape == (4, 4 if pool == "strips4" else 1, 128)
        assert torch.equal(found["parts"].flatten(1), found["before"])


def test_further_features_are_float32_under_autocast_and_carry_gradient():
    encoder = Encoder("tiny", features=("map", "parts"))
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(pictures())
    assert {feature.dtype for feature in found.values()} == {torch.float32}
    gradients = torch.autograd.grad(found["map"].sum() + found["parts"].sum(), encoder.backbone.stem[0].weight)
    assert gradients[0].any()


class Tokens(Backbone):
    """A class token and a register, then one token a cell of 8x8 pixels: its mean colour, and a place for the third axis."""

    num_prefix_tokens = 2

    def __init__(self):
        super().__init__()
        self.prefix = nn.Parameter(torch.randn(2, 4))

    def forward(self, images):
        colours = nn.functional.avg_pool2d(images, 8)
        cells = torch.cat([colours, colours[:, :1] ** 2], dim=1).flatten(2).mT  # (B, T, 4)
        return torch.cat([self.prefix.expand(len(images), -1, -1), cells], dim=1)


def test_poolings_of_tokens():
    images = pictures()
    encoder = Encoder(Tokens, features=("tokens", "parts")).eval()
    found = encoder(images)
    assert found["tokens"].shape == (4, 2 + 8 * 4, 4)
    slow = [sum(found["tokens"][i, t].double() for t in range(2, 34)) / 32 for i in range(4)]
    torch.testing.assert_close(found["before"].double(), torch.stack(slow))
    assert torch.equal(found["parts"][:, 0], found["before"])
    assert encoder.dim == 4
    of_class = Encoder(Tokens, pooling="cls")
    assert torch.equal(of_class(images)["before"], of_class.backbone.prefix[:1].expand(4, -1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ["maps"]}, "features: no maps; there are map, tokens, parts"),
        ({"features": ["map", "tokens"]}, "features: found tokens, expected map or parts, which this backbone gives"),
        ({"backbone": Tokens, "features": ["map"]}, "features: found map, expected tokens or parts"),
        (
            {"backbone": Tokens, "pooling": "gem"},
            "'gem' for a backbone that gives tokens, expected avg, cls or cls.avg",
        ),
        ({"pooling": "cls"}, "pooling: found 'cls', expected avg, max"),
    ],
)
def test_what_a_backbone_does_not_give_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Encoder(**{"backbone": "tiny", **options})


def test_there_is_no_class_token_without_a_prefix(monkeypatch):
    monkeypatch.setattr(Tokens, "num_prefix_tokens", 0)
    with pytest.raises(ValueError, match=r"found 'cls' .* expected avg: there is no class token"):
        Encoder(Tokens, pooling="cls")
