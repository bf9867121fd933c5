"""MODEL.NORM from a config to the log, the checkpoint, a resumed run and the card."""

import json

import pytest
import torch
import yaml
from tiny_run import build

from reid import checkpoint, config
from reid.builder import exports, registry, runs

NORMS = "[input, {NAME: mixstyle, AFTER: [block1], MIX: crossdomain}, domain_bn]"
OVERRIDES = {"MODEL.NORM": NORMS, "LOSSES": "[softmax]", "SOLVER.CHECKPOINT_STEPS": "3"}


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("norms") / "whole"
    return folder, runs.train(build(tiny_world, folder, OVERRIDES))


def test_log_and_card_repeat_them_and_a_checkpoint_brings_them_back(whole, tmp_path):
    folder, rows = whole
    log = (folder / "log.txt").read_text()
    assert "input, mixstyle, domain_bn" in log
    state = checkpoint.load(folder / "model_final.pth")["model"]
    means = [state[f"encoder.backbone.block1.conv1.1.sets.{source}.running_mean"] for source in (0, 1)]
    assert not torch.equal(*means)
    again = runs.score(None, folder / "model_final.pth")
    assert [row["mAP"] for row in again] == [row["mAP"] for row in rows]
    card = exports.export(folder / "model_final.pth", tmp_path / "export")
    assert card["training"]["norms"] == ["input", "mixstyle AFTER ['block1'] MIX crossdomain", "domain_bn"]
    assert "its norms: input; mixstyle AFTER" in (tmp_path / "export" / "card.md").read_text().replace("\\", "")
    assert card["input"]["normalise"] == {"scale": 255, "mean": [0.0] * 3, "std": [1.0] * 3}


def test_a_resumed_run_mixes_as_an_unbroken_one(tiny_world, whole, tmp_path, monkeypatch):
    """Which pictures take whose style is drawn anew at every step: the generator's state is part of the checkpoint."""

    class Killed(BaseException):
        pass

    cfg, save, saves = build(tiny_world, tmp_path / "run", OVERRIDES), checkpoint.save, []

    def kill(path, content):
        save(path, content)
        saves.append(path)
        if len(saves) == 2:
            raise Killed

    monkeypatch.setattr(checkpoint, "save", kill)
    with pytest.raises(Killed):
        runs.train(cfg)
    monkeypatch.undo()
    runs.train(cfg, resume=True)
    one, other = (checkpoint.load(folder / "model_final.pth")["model"] for folder in (whole[0], tmp_path / "run"))
    assert all(torch.equal(value, other[key]) for key, value in one.items() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_config_of_before_says_the_same_today(by_itself):
    old = yaml.safe_load(config.dump(config.load(None)))
    del old["MODEL"]["NORM"], old["INPUT"]["AUGMENT"]
    old["MODEL"]["INSTANCE_NORM"], old["INPUT"]["FLIP"] = by_itself, 0.5
    old["TEST"]["FROZEN"] = ["MODEL.INSTANCE_NORM"]
    cfg = config.parse(yaml.safe_dump(old))
    assert (["input"] if by_itself else []) == cfg.MODEL.NORM
    assert cfg.TEST.FROZEN == ["MODEL.NORM"]
    with pytest.raises(ValueError, match=r"MODEL.INSTANCE_NORM has moved; write MODEL.NORM: \[input\]"):
        config.load(None, ["MODEL.INSTANCE_NORM", str(by_itself)])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"MODEL.NORM": "[ibn_c]"}, r"models/norms: no ibn_c; did you mean ibn_b\?"),
        ({"MODEL.NORM": "[{NAME: mixstyle, BEFORE: [block1]}]"}, "norms.mixstyle: no option BEFORE"),
        ({"MODEL.NORM": "[{NAME: domain_bn, NUM_DOMAINS: 2}]"}, "norms.domain_bn: no option NUM_DOMAINS"),
        ({"MODEL.NORM": "[{NAME: mixstyle, AFTER: [layer9]}]"}, "norms.mixstyle: found no place layer9"),
        ({"MODEL.NORM": "[bin]", "MODEL.FREEZE_BN": "true"}, "norms.bin replaces BatchNorms"),
        ({"MODEL.NORM": "[3]"}, "MODEL.NORM|models/norms.*entry 3"),
    ],
)
def test_what_cannot_be_is_refused_before_a_run(tiny_world, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**OVERRIDES, **overrides}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_defaults_of_a_norm_do_not_change_a_frozen_protocol():
    cfgs = [
        config.load(None, ["MODEL.NORM", norm, "TEST.FROZEN", "[MODEL]"])
        for norm in ("[mixstyle]", "[{NAME: mixstyle, PROB: 0.5}]", "[{NAME: mixstyle, PROB: 0.4}]")
    ]
    one, same, other = (json.dumps(registry.frozen(cfg), sort_keys=True) for cfg in cfgs)
    assert one == same != other
