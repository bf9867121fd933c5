"""Files as DINOv2, CLIP, TransReID, Microsoft and SOLIDER write them: made here from timm's networks, loaded key for key."""

import importlib
import logging
import re

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg
from torch import nn

from reid.models import backbones, patches, weights
from reid.models.pixels import IMAGENET

# timm's networks with few and narrow blocks: names do not depend on either.
OF_VIT = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 56}
OF_SWIN = {"embed_dim": 16, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 2, 4), "img_size": 56}
SMALL = {
    "vit_small_patch14_dinov2": OF_VIT,
    "vit_small_patch14_reg4_dinov2": OF_VIT,
    "vit_giant_patch14_dinov2": {**OF_VIT, "mlp_ratio": 2},
    "vit_base_patch16_clip_224": {**OF_VIT, "img_size": 64},
    "test_vit": {"img_size": 64},
    "swin_tiny_patch4_window7_224": OF_SWIN,
    "swinv2_tiny_window8_256": {**OF_SWIN, "img_size": 64},
}


def network(name):
    """One of timm's, every number of which is random."""
    torch.manual_seed(0)
    if name.startswith("resnet50_clip"):
        made = clips_resnet("attn_abs" if name == "resnet50_clip" else "classifier")
    else:
        made = timm.create_model(name, num_classes=0, global_pool="", **SMALL[name])
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.05, 0.15)
    return made.eval()


def clips_resnet(head):
    blocks = tuple(ByoBlockCfg(type="bottle", d=2, c=64, s=stride, br=0.25) for stride in (1, 2, 2, 2))
    form = {"stem_chs": (4, 4, 8), "stem_type": "", "stem_pool": "avg2", "downsample": "avg", "aa_layer": "avg"}
    return ByobNet(ByoModelCfg(blocks=blocks, head_type=head, **form), num_classes=0, global_pool="", img_size=64)


def load(backbone, content, name="it"):
    return weights.load(backbone, content, "w.pth", name, IMAGENET)


def renamed(state, pairs, before=""):
    """Every name with each first of the pairs replaced by its second."""
    found = {}
    for key, tensor in state.items():
        for ours, theirs in pairs:
            key = re.sub(ours, theirs, key)
        found[before + key] = tensor
    return found


def dinov2(state):
    return {**state, "mask_token": torch.rand(1, state["cls_token"].shape[-1])}


def dinov2_giant(state):
    return renamed(dinov2(state), [(r"mlp\.fc1", "mlp.w12"), (r"mlp\.fc2", "mlp.w3")])


def dinov2_with_registers(state):
    """The class token has a place, whose embedding timm adds to the token."""
    place = torch.rand_like(state["cls_token"])
    state = dinov2({**state, "register_tokens": state.pop("reg_token"), "cls_token": state["cls_token"] - place})
    return {**state, "pos_embed": torch.cat([place, state["pos_embed"]], 1)}


CLIP = [
    *((r"^cls_token$", "class_embedding"), (r"^pos_embed$", "positional_embedding"), (r"^patch_embed.proj", "conv1")),
    *((r"^norm_pre", "ln_pre"), (r"^norm\.", "ln_post."), (r"^blocks", "transformer.resblocks")),
    *((r"\.norm(\d)", r".ln_\1"), (r"attn.qkv.", "attn.in_proj_"), (r"attn.proj", "attn.out_proj")),
    *((r"mlp.fc1", "mlp.c_fc"), (r"mlp.fc2", "mlp.c_proj")),
]
TEXT = {
    "positional_embedding": torch.rand(7, 5),
    "transformer.resblocks.0.ln_1.weight": torch.rand(5),
    "token_embedding.weight": torch.rand(9, 5),
    "ln_final.weight": torch.rand(5),
    "logit_scale": torch.rand(()),
}


def clip(state):
    found = renamed(
        {**state, "cls_token": state["cls_token"][0, 0], "pos_embed": state["pos_embed"][0]}, CLIP, "visual."
    )
    return {**found, "visual.proj": torch.rand(state["norm.weight"].shape[0], 5), **TEXT}


def clip_resnet(state):
    pairs = [(rf"^stages\.{number}", f"layer{number + 1}") for number in range(4)]
    pairs += [(r"^stem\.conv(\d)\.(conv|bn)", r"\2\1"), (r"shortcut\.conv\.conv", "downsample.0")]
    pairs += [(r"shortcut\.conv\.bn", "downsample.1"), (r"conv(\d)_(?:1x1|kxk)\.(conv|bn)", r"\2\1")]
    pairs += [(r"^head\.pos_embed", "attnpool.positional_embedding"), (r"^head\.([qkv])\.", r"attnpool.\1_proj.")]
    return renamed(state, pairs, "visual.") | {"visual.attnpool.c_proj.weight": torch.rand(5, 64), **TEXT}


def open_clip_trunk(state):
    return renamed(state, [], "visual.trunk.") | {"visual.head.proj.weight": torch.rand(5, 64), **TEXT}


def transreid(state):
    beside = {"base.fc.weight": torch.rand(9, 64), "base.sie_embed": torch.rand(6, 1, 64)}
    return (
        renamed(state, [], "base.")
        | beside
        | {"bottleneck.weight": torch.rand(64), "classifier.weight": torch.rand(9, 64)}
    )


def transreid_jigsaw(state):
    """The branch of the global feature has a last block and a norm of its own."""
    stale = {key: torch.rand_like(tensor) for key, tensor in state.items() if key.startswith(("blocks.5.", "norm."))}
    branch = renamed({key: state[key] for key in stale}, [(r"^blocks\.5\.", "b1.0."), (r"^norm\.", "b1.1.")])
    other = {key.replace("b1.", "b2.", 1): torch.rand_like(tensor) for key, tensor in branch.items()}
    return transreid({**state, **stale}) | branch | other


def microsoft(state):
    last = [(r"^layers\.(\d)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample")]
    follows = {
        "layers.0.blocks.1.attn_mask": torch.rand(4, 4),
        "layers.0.blocks.0.attn.relative_position_index": torch.rand(3),
    }
    return renamed(state, last) | follows | {"head.weight": torch.rand(9, 128)}


def solider(state):
    """Channels of four merged places as nn.Unfold gives them."""
    pairs = [(r"^layers", "stages"), (r"^norm\.", "norm3."), (r"patch_embed.proj", "patch_embed.projection")]
    pairs += [(r"\.attn\.", ".attn.w_msa."), (r"mlp\.fc1", "ffn.layers.0.0"), (r"mlp\.fc2", "ffn.layers.1")]
    found = renamed(microsoft(state), pairs, "backbone.")
    for key in found:
        if ".downsample." in key:
            columns = found[key].unflatten(-1, (2, 2, -1))  # column, row, channel
            found[key] = columns.movedim((-3, -2, -1), (-1, -2, -3)).flatten(-3).contiguous()
    beside = {"backbone.semantic_embed_w.0.weight": torch.rand(192, 2), "backbone.norm0.bias": torch.rand(96)}
    return found | beside | {"head.mlp.0.weight": torch.rand(3, 3)}


LAYOUTS = [
    ("vit_small_patch14_dinov2", dinov2, "left out: mask_token;"),
    ("vit_giant_patch14_dinov2", dinov2_giant, "left out: mask_token;"),
    ("vit_small_patch14_reg4_dinov2", dinov2_with_registers, "left out: mask_token;"),
    ("vit_base_patch16_clip_224", clip, "token_embedding.weight, ln_final.weight, logit_scale, proj;"),
    ("resnet50_clip", clip_resnet, "token_embedding.weight, ln_final.weight, logit_scale, attnpool.c_proj.weight;"),
    ("test_vit", open_clip_trunk, "left out: visual.head.proj.weight, positional_embedding, "),
    ("test_vit", transreid, "left out: bottleneck.weight, classifier.weight, fc.weight, sie_embed;"),
    (
        "test_vit",
        transreid_jigsaw,
        "left out: untrained (14), bottleneck (1), classifier (1), b2 (14), fc (1), sie_embed (1);",
    ),
    (
        "swin_tiny_patch4_window7_224",
        microsoft,
        "attn_mask, layers.0.blocks.0.attn.relative_position_index, head.weight;",
    ),
    ("swinv2_tiny_window8_256", microsoft, "attn_mask, layers.0.blocks.0.attn.relative_position_index, head.weight;"),
    ("swin_tiny_patch4_window7_224", solider, "semantic_embed_w.0.weight, heads.norm0.bias;"),
]


@pytest.mark.parametrize(("name", "write", "left_out"), LAYOUTS)
def test_it_is_loaded_key_for_key(name, write, left_out, caplog):
    caplog.set_level(logging.INFO, logger="reid")
    expected, made = network(name).state_dict(), network(name)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    load(made, write(dict(expected)), name)
    assert made.state_dict().keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(made.state_dict()[key], tensor, rtol=0, atol=2e-7, msg=key)
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{len(expected)} tensors into {name}; left out: " in line
    assert left_out in line
    assert "resampled" not in line


@pytest.mark.parametrize(
    ("name", "write"),
    [(name, write) for name, write, _ in LAYOUTS if "transreid" not in write.__name__ and write != solider],
)
def test_it_is_what_timms_own_converter_gives(name, write):
    made, theirs = network(name), network(name)
    content = write(dict(made.state_dict()))
    convert = importlib.import_module(type(theirs).__module__).checkpoint_filter_fn
    theirs.load_state_dict(convert(dict(content), theirs), strict=False)
    load(made, content)
    for key, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, made.state_dict()[key]), key


def test_soliders_halving_is_the_same_map():
    """As nn.Unfold merges, norm and reduction in the file's order give what timm's give in timm's."""
    made = network("swin_tiny_patch4_window7_224")
    halving, content = made.layers[1].downsample, solider(dict(made.state_dict()))
    weight, norm, bias = (
        content[f"backbone.stages.0.downsample.{key}"] for key in ("reduction.weight", "norm.weight", "norm.bias")
    )
    maps = torch.randn(2, 6, 4, 16)
    merged = nn.functional.unfold(maps.permute(0, 3, 1, 2), 2, stride=2).mT
    expected = nn.functional.layer_norm(merged, (64,), norm, bias) @ weight.T
    torch.testing.assert_close(halving(maps).flatten(1, 2), expected)


def test_a_file_with_the_teacher_beside_the_student_is_the_teachers(tmp_path):
    expected = network("swin_tiny_patch4_window7_224").state_dict()
    torch.save({"student": {"a": torch.rand(1)}, "teacher": solider(dict(expected)), "epoch": 3}, tmp_path / "w.pth")
    made = network("swin_tiny_patch4_window7_224")
    load(made, weights.read(tmp_path / "w.pth"))
    assert torch.equal(
        made.state_dict()["layers.3.downsample.reduction.weight"], expected["layers.3.downsample.reduction.weight"]
    )


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("vit_small_patch14_dinov2", dinov2),
        ("vit_small_patch14_reg4_dinov2", dinov2_with_registers),
        ("vit_base_patch16_clip_224", clip),
        ("test_vit", transreid),
    ],
)
def test_places_are_resampled_as_timm_does_in_every_layout(name, write, caplog):
    caplog.set_level(logging.INFO, logger="reid")
    theirs, made = network(name), network(name)
    patches.fit(made, (112, 56))
    load(made, write(dict(theirs.state_dict())))
    prefix = 0 if made.no_embed_class else 1
    grid = made.patch_embed.grid_size
    expected = resample_abs_pos_embed(theirs.pos_embed, list(grid), num_prefix_tokens=prefix)
    torch.testing.assert_close(made.pos_embed, expected, rtol=0, atol=2e-7)
    assert "; embeddings of places resampled from 4x4 to {}x{}; pixels by".format(*grid) in caplog.text


def test_transreids_own_grid_of_overlapping_patches_is_known(caplog):
    caplog.set_level(logging.INFO, logger="reid")
    theirs = backbones.build("test_vit", size=(256, 128), stride=12)
    assert theirs.patch_embed.grid_size == (21, 10)
    content = transreid(dict(theirs.state_dict()))
    again = backbones.build("test_vit", size=(256, 128), stride=12)
    load(again, content)
    assert torch.equal(again.pos_embed, theirs.pos_embed)
    assert "resampled" not in caplog.text
    other = backbones.build("test_vit", size=(128, 64))
    load(other, content)
    expected = resample_abs_pos_embed(theirs.pos_embed, [8, 4], [21, 10], num_prefix_tokens=1)
    assert torch.equal(other.pos_embed, expected)
    assert "resampled from 21x10 to 8x4" in caplog.text


@pytest.mark.parametrize(
    ("num", "grid"),
    [
        (196, (14, 14)),
        (128, (16, 8)),
        (210, (21, 10)),
        (162, (18, 9)),
        (192, (24, 8)),
        (310, (31, 10)),
        (23, None),
        (-1, None),
        (0, None),
    ],
)
def test_a_grid_is_known_from_its_number(num, grid):
    assert patches._grid(num) == grid


@torch.no_grad()
def test_clips_resnet_takes_its_embeddings_of_places_once(caplog):
    """timm resamples them in every forward; the same numbers come out."""
    caplog.set_level(logging.INFO, logger="reid")
    theirs, made = network("resnet50_clip"), network("resnet50_clip")
    assert patches.attends(made)
    patches.fit_pool(made, (128, 64))
    assert made.head.feat_size == (4, 2)
    made.eval()
    images = torch.rand(2, 3, 128, 64)
    expected = theirs(images)
    assert torch.equal(made(images), expected)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    load(made, clip_resnet(dict(theirs.state_dict())))
    assert "embeddings of places resampled from 2x2 to 4x2" in caplog.text
    assert torch.equal(made(images), expected)
    gap = clips_resnet("classifier").eval()
    load(gap, clip_resnet(dict(theirs.state_dict())))
    assert (
        "left out: positional_embedding (1), transformer (1), token_embedding (1), ln_final (1), logit_scale (1), head (7), attnpool (1)"
        in caplog.text
    )
    assert torch.equal(gap(images), theirs.forward_features(images))


@torch.no_grad()
def test_a_forward_at_the_original_size_is_unchanged():
    theirs, made = network("vit_base_patch16_clip_224"), network("vit_base_patch16_clip_224")
    patches.fit(made, (64, 64))
    load(made, clip(dict(theirs.state_dict())))
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(made(images), theirs(images))


@pytest.mark.parametrize(
    ("name", "write", "change", "message"),
    [
        (
            "vit_base_patch16_clip_224",
            clip,
            ("visual.conv1.weight", lambda t: t[:, :, :14, :14]),
            r"patches of 14x14, expected 16x16, ",
        ),
        ("test_vit", transreid, ("base.patch_embed.proj.weight", lambda t: t[:48]), r"width 48, expected 64, "),
        (
            "swin_tiny_patch4_window7_224",
            solider,
            ("backbone.patch_embed.projection.weight", lambda t: t[:8]),
            "width 8, expected 16",
        ),
        (
            "vit_small_patch14_reg4_dinov2",
            dinov2_with_registers,
            ("register_tokens", lambda t: t[:, :2]),
            r"reg_token is \(1, 2, 32\), expected \(1, 4, 32\)",
        ),
        (
            "vit_base_patch16_clip_224",
            clip,
            ("visual.class_embedding", lambda t: t[:0]),
            r"cls_token is \(1, 1, 0\), expected",
        ),
        (
            "swin_tiny_patch4_window7_224",
            solider,
            ("backbone.stages.0.downsample.norm.bias", lambda t: t[:3]),
            r"layers.1.downsample.norm.bias is \(3,\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(name, write, change, message):
    content = write(dict(network(name).state_dict()))
    content[change[0]] = change[1](content[change[0]])
    with pytest.raises(ValueError, match=f"weights w.pth: do not fit backbone {name}: {message}") as error:
        load(network(name), content, name)
    assert "\n" not in str(error.value)


def test_registers_that_the_network_does_not_have_are_refused():
    content = dinov2_with_registers(dict(network("vit_small_patch14_reg4_dinov2").state_dict()))
    with pytest.raises(ValueError, match=r"unexpected reg_token"):
        load(network("vit_small_patch14_dinov2"), content)
    content = dinov2(dict(network("vit_small_patch14_dinov2").state_dict()))
    with pytest.raises(ValueError, match=r"missing reg_token"):
        load(network("vit_small_patch14_reg4_dinov2"), content)
