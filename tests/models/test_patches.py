"""timm's networks of patches at any size: against timm's own, against loops in float64, and what is refused."""

import logging

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch.nn import functional as F

from reid.models import backbones
from reid.models.encoder import Encoder


def pictures(size, num=2):
    return torch.rand(num, 3, *size, generator=torch.Generator().manual_seed(0))


def plain(name):
    return timm.create_model(name, num_classes=0, global_pool="").eval()


@pytest.mark.parametrize(
    ("name", "size", "prefix", "num_tokens"),
    [
        ("test_vit", (128, 64), 1, 33),
        ("test_vit2", (64, 96), 1, 25),  # a register, no class token
        ("test_vit3", (130, 70), 1, 33),
        ("eva02_tiny_patch14_224", (56, 28), 1, 9),
    ],
)
def test_tokens_of_any_size(name, size, prefix, num_tokens):
    made = backbones.build(name, size=size).eval()
    assert (made.gives_tokens, made.num_prefix_tokens, made.picture_size) == (True, prefix, size)
    with torch.no_grad():
        assert made(pictures(size)).shape == (2, num_tokens, made.num_features)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"])
def test_windows_keep_their_size_and_give_maps_with_channels_first(name):
    made, theirs = backbones.build(name, size=(96, 48)).eval(), plain(name)
    assert {key: value.shape for key, value in made.state_dict().items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }
    with torch.no_grad():
        assert made(pictures((96, 48))).shape == (2, 768, 3, 2)
    assert not made.gives_tokens


@pytest.mark.parametrize(
    "name",
    ["test_vit", "test_vit2", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"],
)
@torch.no_grad()
def test_a_forward_at_the_original_size_is_unchanged(name, tmp_path):
    theirs = plain(name)
    size = tuple(theirs.patch_embed.img_size)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    images = pictures(size, 1)
    for ours in (
        backbones.build(name, weights=tmp_path / "w.pth", size=size),
        backbones.build(name, weights=tmp_path / "w.pth"),
    ):
        given = ours.eval()(images)
        torch.testing.assert_close(
            given.permute(0, 2, 3, 1) if given.ndim == 4 else given, theirs(images), rtol=0, atol=0
        )


@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
@torch.no_grad()
def test_embeddings_of_places_are_resampled_as_timm_does(name, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    theirs = plain(name)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    ours = backbones.build(name, weights=tmp_path / "w.pth", size=(128, 64)).eval()
    assert "left out: nothing; embeddings of places resampled from 10x10 to 8x4; pixels by" in caplog.text
    theirs.set_input_size(img_size=(128, 64))
    torch.testing.assert_close(ours.pos_embed, theirs.pos_embed, rtol=0, atol=0)
    torch.testing.assert_close(ours(pictures((128, 64))), theirs(pictures((128, 64))), rtol=0, atol=0)


@torch.no_grad()
def test_a_files_grid_may_be_twice_as_high_as_wide(tmp_path):
    first = backbones.build("test_vit", size=(128, 64))
    first.pos_embed.normal_()
    torch.save(first.state_dict(), tmp_path / "w.pth")
    again = backbones.build("test_vit", weights=tmp_path / "w.pth", size=(192, 96), stride=12)
    expected = resample_abs_pos_embed(first.pos_embed, [15, 7], [8, 4], num_prefix_tokens=1)
    torch.testing.assert_close(again.pos_embed, expected, rtol=0, atol=0)


@torch.no_grad()
def test_overlapping_patches_equal_a_loop(caplog):
    caplog.set_level(logging.INFO)
    made = backbones.build("test_vit", size=(64, 40), stride=12).double()
    assert "64x40: 5x3 patches of 16x16" in caplog.text
    image = pictures((64, 40), 1).double()
    weight, bias = made.patch_embed.proj.weight, made.patch_embed.proj.bias
    expected = torch.stack(
        [
            (weight * image[:, :, 12 * row : 12 * row + 16, 12 * column : 12 * column + 16]).sum((1, 2, 3)) + bias
            for row in range(5)
            for column in range(3)
        ]
    )
    torch.testing.assert_close(made.patch_embed(image)[0], expected)
    native = timm.create_model("test_vit")
    assert made.pos_embed.shape == (1, 16, 64)
    assert native.pos_embed.shape == (1, 101, 64)


@torch.no_grad()
def test_overlapping_places_are_resampled_from_the_weights_own_grid(tmp_path):
    theirs = plain("test_vit")
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    made = backbones.build("test_vit", weights=tmp_path / "w.pth", size=(256, 128), stride=12)
    expected = resample_abs_pos_embed(theirs.pos_embed, [21, 10], [10, 10], num_prefix_tokens=1)  # as in TransReID
    torch.testing.assert_close(made.pos_embed, expected, rtol=0, atol=0)


@torch.no_grad()
def test_a_window_block_equals_a_loop_over_pairs_of_places():
    """Of a map of 8x4 and windows of 7: padded, shifted in height alone, and the top never meets the bottom."""
    made = backbones.build("swin_tiny_patch4_window7_224", size=(256, 128)).double().eval()
    block = made.layers[3].blocks[1]
    assert (block.input_resolution, block.window_size, block.shift_size) == ((8, 4), (7, 7), (3, 0))
    attn, maps = block.attn, torch.randn(1, 8, 4, 768, dtype=torch.float64)
    attn.relative_position_bias_table.normal_()
    normed = block.norm1(maps)[0]
    # Slots of the two windows: (row, column) of the map, and whether the shift has brought it round; None: padding.
    slots = [
        [((r + 3) % 8, c, r >= 5) if r < 8 and c < 4 else (None, None, False) for r in rows for c in range(7)]
        for rows in (range(7), range(7, 14))
    ]
    expected = torch.zeros(8, 4, 768, dtype=torch.float64)
    for window in slots:
        inside = torch.stack([normed[r, c] if r is not None else torch.zeros(768).double() for r, c, _ in window])
        q, k, v = attn.qkv(inside).view(49, 3, 24, 32).permute(1, 2, 0, 3)
        scores = 32**-0.5 * q @ k.mT
        for i in range(49):
            for j in range(49):
                place = (i // 7 - j // 7 + 6) * 13 + i % 7 - j % 7 + 6
                scores[:, i, j] += attn.relative_position_bias_table[place] - 100 * (window[i][2] != window[j][2])
        out = attn.proj((scores.softmax(-1) @ v).permute(1, 0, 2).flatten(1))
        for slot, (r, c, _) in enumerate(window):
            if r is not None:
                expected[r, c] = out[slot]
    torch.testing.assert_close(block._attn(block.norm1(maps))[0], expected)


@torch.no_grad()
def test_poolings_of_a_grid_of_patches():
    made = {
        name: Encoder(
            "test_vit", pooling=name, neck=False, features=("tokens", "parts"), size=(96, 64), stride=12
        ).eval()
        for name in ("avg", "cls", "cls+avg", "strips3")
    }
    for encoder in made.values():
        encoder.load_state_dict(made["avg"].state_dict())
    found = {name: encoder(pictures((96, 64))) for name, encoder in made.items()}
    tokens = found["avg"]["tokens"]
    patches = tokens[:, 1:].unflatten(1, (7, 5))
    torch.testing.assert_close(found["avg"]["before"], patches.mean((1, 2)))
    torch.testing.assert_close(found["cls"]["before"], tokens[:, 0])
    torch.testing.assert_close(found["cls+avg"]["before"], torch.cat([tokens[:, 0], patches.mean((1, 2))], 1))
    expected = torch.stack([patches[:, a:b].mean((1, 2)) for a, b in ((0, 3), (2, 5), (4, 7))], 1)
    torch.testing.assert_close(found["strips3"]["parts"], expected)
    torch.testing.assert_close(found["strips3"]["before"], expected.flatten(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (8, 64)}, r"backbone test_vit: found pictures of 8x64, expected room for a patch of 16x16"),
        ({"stride": 20}, r"backbone test_vit: found STRIDE 20, expected at most the patch's 16"),
        (
            {"name": "resnet18", "stride": 12},
            r"resnet18: found STRIDE 12, expected a network of patches, such as a ViT",
        ),
        (
            {"name": "eva02_tiny_patch14_224", "stride": 7},
            r"found STRIDE 7, expected a network with an embedding of each",
        ),
        (
            {"name": "swin_tiny_patch4_window7_224", "stride": 2},
            r"found STRIDE 2, expected a network with an embedding",
        ),
        ({"name": "deit_tiny_distilled_patch16_224"}, r"timm does not make it without its head"),
        ({"last_stride": 1}, r"test_vit: last_stride 1 needs a feature map, and it gives tokens"),
    ],
)
def test_what_cannot_be_is_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        backbones.build(**{"name": "test_vit", "size": (64, 32), **options})
    assert "\n" not in str(error.value)


def test_a_pooling_that_tokens_do_not_have_is_answered_with_those_they_have():
    with pytest.raises(ValueError, match=r"expected avg: there is no class token, or strips with a number"):
        Encoder("test_vit3", pooling="cls", size=(64, 32))
    with pytest.raises(ValueError, match=r"expected avg, cls or cls\+avg, or strips with a number"):
        Encoder("test_vit", pooling="gem", size=(64, 32))


def test_pixels_that_no_patch_holds_are_told(caplog):
    caplog.set_level(logging.INFO)
    backbones.build("test_vit", size=(70, 32))
    assert "70x32: 4x2 patches of 16x16; the last 6 rows and 0 columns of pixels make no whole patch" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[:, :, :8, :8], r"do not fit backbone test_vit: patches of 8x8, expected 16x16, "),
        (lambda w: F.pad(w, (0, 0, 0, 0, 0, 0, 0, 32)), r"do not fit backbone test_vit: width 96, expected 64, "),
    ],
)
def test_weights_of_another_patch_or_width_are_refused_naming_both(tmp_path, change, message):
    state = plain("test_vit").state_dict()
    state["patch_embed.proj.weight"] = change(state["patch_embed.proj.weight"]).clone()
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        backbones.build("test_vit", weights=tmp_path / "w.pth", size=(64, 32))


def test_places_that_make_no_grid_are_refused(tmp_path):
    state = plain("test_vit").state_dict()
    state["pos_embed"] = torch.zeros(1, 1 + 23, 64)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"pos_embed is \(1, 24, 64\), expected \(1, 9, 64\)"):
        backbones.build("test_vit", weights=tmp_path / "w.pth", size=(64, 32))
