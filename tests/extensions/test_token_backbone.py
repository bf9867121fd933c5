"""A backbone of tokens from a file of its own: against torch's encoder layer, in whole runs, exported, refused."""

import json

import numpy as np
import pytest
import torch
from tiny_run import build
from token_backbone import Tokens
from torch import nn

import reid
from reid import checkpoint
from reid.builder import exports, runs
from reid.models.encoder import Encoder

OVERRIDES = {
    "MODEL.BACKBONE.NAME": "token_backbone:Tokens",
    "MODEL.POOLING": "cls",
    "LOSSES": "[softmax, triplet]",
    "TEST.FLIP": "true",
}


@torch.no_grad()
def test_its_blocks_are_torchs_pre_norm_encoder_layers():
    made = Tokens().double().eval()
    for block in made.blocks:
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True).double().eval()
        one, other, ask, join = block.norms[0], block.norms[1], block.ask, block.join
        state = {f"norm1.{k}": v for k, v in one.state_dict().items()}
        state |= {f"norm2.{k}": v for k, v in other.state_dict().items()}
        state |= {f"linear1.{k}": v for k, v in block.think[0].state_dict().items()}
        state |= {f"linear2.{k}": v for k, v in block.think[2].state_dict().items()}
        state |= {f"self_attn.in_proj_{k}": v for k, v in ask.state_dict().items()}
        state |= {f"self_attn.out_proj.{k}": v for k, v in join.state_dict().items()}
        layer.load_state_dict(state)
        tokens = torch.randn(3, 9, 32, dtype=torch.float64)
        torch.testing.assert_close(block(tokens), layer(tokens))


@pytest.mark.parametrize(("size", "num_tokens"), [((32, 16), 9), ((64, 32), 33), ((128, 64), 129)])
def test_it_takes_any_size_that_its_patches_divide(size, num_tokens):
    encoder = Encoder(Tokens, features=("tokens",))
    found = encoder(torch.randint(256, (2, 3, *size), dtype=torch.uint8))
    assert found["tokens"].shape == (2, num_tokens, 32)
    torch.testing.assert_close(found["before"], found["tokens"][:, 1:].mean(1))


@pytest.fixture(scope="module")
def run(tiny_world, tmp_path_factory):
    """A run's folder, with its rows."""
    folder = tmp_path_factory.mktemp("tokens") / "run"
    return folder, runs.train(build(tiny_world, folder, OVERRIDES))


def test_it_learns_is_scored_and_comes_back_from_its_checkpoint(run):
    folder, rows = run
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    state = checkpoint.load(folder / "model_final.pth")["model"]
    assert {"encoder.backbone.class_token", "encoder.backbone.places", "encoder.mean", "encoder.std"} <= state.keys()
    assert "Tokens" in (folder / "log.txt").read_text()
    again = runs.score(None, folder / "model_final.pth")
    assert [(row["dataset"], row["mAP"]) for row in again] == [(row["dataset"], row["mAP"]) for row in rows]


def test_its_export_gives_the_vectors_of_its_checkpoint(run, tiny_world, tmp_path):
    card = exports.export(run[0] / "model_final.pth", tmp_path / "export")
    assert max(card["graphs"][0]["differences"]) < 1e-4
    assert card["training"]["plugins"][0]["name"] == "token_backbone:Tokens"
    paths = [str(path) for path in sorted((tiny_world / "target" / "query").iterdir())]
    ours, theirs = (reid.load(place).embed(paths) for place in (run[0] / "model_final.pth", tmp_path / "export"))
    assert ours.shape == (16, 32)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_its_weights_start_another_run(run, tiny_world, tmp_path, caplog):
    weights = {"MODEL.BACKBONE.WEIGHTS": str(run[0] / "model_final.pth"), "SOLVER.MAX_STEPS": "1", "SOLVER.LR": "1e-12"}
    assert runs.train(build(tiny_world, tmp_path / "run", {**OVERRIDES, **weights, "MODEL.POOLING": "avg"}))
    one, other = (checkpoint.load(place / "model_final.pth")["model"] for place in (run[0], tmp_path / "run"))
    key = "encoder.backbone.places"
    torch.testing.assert_close(one[key], other[key], atol=1e-6, rtol=0)
    assert "into token_backbone:Tokens" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"MODEL.POOLING": "strips2"},
            "pooling: found 'strips2' for a backbone that gives tokens, expected avg, cls or cls.avg",
        ),
        ({"MODEL.BACKBONE.LAST_STRIDE": "1"}, "token_backbone:Tokens: last_stride 1 needs a feature map"),
        ({"MODEL.BACKBONE.WEIGHTS": "timm"}, "weights timm:: .*Tokens.* is none of timm's networks"),
        ({"MODEL.BACKBONE.NAME": "token_backbone:GRID"}, "GRID is a tuple; expected a subclass of Backbone"),
    ],
)
def test_what_tokens_cannot_do_is_refused_before_a_run(tiny_world, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**OVERRIDES, **overrides}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
