"""Rates that fall towards the picture, blocks left out, blocks run again."""

import pytest
import torch

from reid import optim
from reid.models import backbones, depth
from reid.models.encoder import Encoder


def test_each_block_learns_at_a_share_of_the_next_ones_rate():
    """Six blocks of test_vit, and what stands before them; the last norm goes with the last block."""
    network = backbones.build("test_vit", size=(32, 16))
    expected = {"pos_embed": 6, "cls_token": 6, "patch_embed.proj.bias": 6, "blocks.0.attn.qkv.weight": 5}
    expected |= {"blocks.3.norm1.bias": 2, "blocks.5.mlp.fc2.weight": 0, "norm.weight": 0}
    start = {name: p.detach().clone() for name, p in network.named_parameters()}
    group = {"name": "encoder", "params": [*network.parameters()], "lr_factor": 2.0}
    made = optim.optimizer([group], name="sgd", lr=0.5, weight_decay=0.0, factors=depth.factors(network, 0.1))
    assert [g["name"] for g in made.param_groups] == ["encoder"] * 7
    assert optim.set_lr(made, 0.5) == 0.5
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    made.step()
    for name, power in expected.items():
        moved = start[name] - network.get_parameter(name)
        torch.testing.assert_close(moved, torch.full_like(moved, 0.5 * 0.1**power), atol=3e-8, rtol=1e-3)


def test_parameters_without_a_factor_keep_their_rate_and_a_group_its_options():
    one, two, three = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    groups = [{"name": "a", "params": [one, two], "clip": 1.0}, {"name": "b", "params": [three]}]
    made = optim.optimizer(groups, name="adamw", lr=1.0, weight_decay=0.0, factors={one: 0.25}).param_groups
    assert [(g["name"], g["lr"], g.get("clip")) for g in made] == [("a", 1.0, 1.0), ("a", 0.25, 1.0), ("b", 1.0, None)]
    assert [g["params"] for g in made] == [[two], [one], [three]]


@pytest.mark.parametrize("name", ["tiny", "osnet_x0_25"])
def test_a_network_without_known_blocks_has_no_depths(name):
    with pytest.raises(
        ValueError, match=r"found LAYER_DECAY 0\.5 and no blocks in the backbone, expected one of timm's"
    ):
        depth.factors(backbones.build(name), 0.5)


def test_blocks_are_left_out_while_training_only():
    made = backbones.build("test_vit", size=(32, 16), drop_path=0.9)
    images = torch.rand(4, 3, 32, 16)
    assert [block.drop_path1.drop_prob for block in made.blocks[1:]] == pytest.approx([0.18, 0.36, 0.54, 0.72, 0.9])
    assert not torch.equal(made.train()(images), made(images))
    assert torch.equal(made.eval()(images), made(images))
    for name in ("tiny", "vgg11"):
        with pytest.raises(ValueError, match=rf"backbone {name}: found DROP_PATH 0\.5, expected .* or 0"):
            backbones.build(name, drop_path=0.5)


def test_recomputing_gives_the_same_gradients_and_runs_each_block_twice():
    torch.manual_seed(0)
    plain, again = (Encoder("test_vit", size=(32, 16), drop_path=0.5, recompute=how) for how in (False, True))
    again.load_state_dict(plain.state_dict())
    images, calls = torch.rand(4, 3, 32, 16), []
    again.backbone.blocks[2].register_forward_pre_hook(lambda *_: calls.append(1))
    for encoder in (plain, again):
        torch.manual_seed(1)
        encoder(images)["after"].square().sum().backward()
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)
    assert len(calls) == 2
    again.eval()
    again(images)["after"].square().sum().backward()
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("name", "found"), [("resnet18", "bn1, a BatchNorm"), ("tiny", "a BatchNorm"), ("osnet_lct_x0_25", "")]
)
def test_recomputing_is_refused_where_statistics_would_count_twice(name, found):
    with pytest.raises(ValueError, match=f"recompute: found .*{found}.*expected one of timm's without BatchNorm"):
        Encoder(name, recompute=True)
