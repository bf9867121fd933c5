"""The folder is the registry: names, options, and what a wrong one is answered with."""

import inspect
import sys

import pytest

from reid import config, losses
from reid.builder import objects, registry

LOSS = """
import dataclasses
from reid.losses import PairLoss

@dataclasses.dataclass
class Helper:
    width: int = 3

class Mine(PairLoss):
    def __init__(self, seed: int = 2, scale: float = 1.0):
        super().__init__()
        self.seed, self.scale = seed, scale
"""


@pytest.fixture
def own_loss(tmp_path, monkeypatch):
    """Writes a text as `mine.py` into what `reid.losses` looks through."""
    monkeypatch.setattr(losses, "__path__", [*losses.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "reid.losses.mine", raising=False)
    yield (tmp_path / "mine.py").write_text
    sys.modules.pop("reid.losses.mine", None)


def test_files_are_the_names_and_helpers_are_not():
    assert {"circle", "softmax", "triplet"} <= set(registry.names("losses"))
    assert {"market1501", "pku_reid", "folder", "omniglot", "grocery_store"} <= set(registry.names("data/datasets"))
    for folder in registry.FOLDERS:
        names = registry.names(folder)
        assert names == sorted(names)
        assert not [name for name in names if name.startswith("_")]


def test_class_is_found_by_its_base_beside_any_helper(own_loss):
    own_loss(LOSS)
    assert registry.find("losses", "mine").__name__ == "Mine"
    assert "mine" in registry.names("losses")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            LOSS + "class Other(Mine):\n    pass\n",
            r"mine\.py makes Mine, Other public; expected a subclass of PairLoss or ClassLoss",
        ),
        (
            LOSS.replace("(PairLoss)", ""),
            r"mine\.py makes nothing public; expected a subclass of PairLoss or ClassLoss \(reid\.losses\)",
        ),
    ],
)
def test_file_without_its_one_class_is_refused(own_loss, text, message):
    own_loss(text)
    with pytest.raises(ValueError, match=message):
        registry.find("losses", "mine")


def test_what_is_injected_belongs_to_a_folder(own_loss):
    """A loss may have an option that is injected into samplers."""
    own_loss(LOSS)
    assert list(registry.options("losses", "mine")) == ["SEED", "SCALE"]
    assert registry.make("losses", {"NAME": "mine", "SEED": 5}, num_classes=3, dim=2).seed == 5


@pytest.mark.parametrize("folder", list(registry.FOLDERS))
def test_every_file_makes_one_thing_public_with_plain_options(folder):
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for name in registry.names(folder):
        made = inspect.signature(registry.find(folder, name)).parameters.values()
        assert not [parameter for parameter in made if parameter.kind in variable], f"{folder}/{name}"


def test_options_are_made_of_the_kind_of_their_default():
    loss = registry.make("losses", {"NAME": "circle", "MARGIN": 1, "GAMMA": "6e1"}, num_classes=3, dim=2)
    assert (loss.margin, loss.gamma) == (1.0, 60.0)
    assert isinstance(loss.margin, float)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"NAME": "circle", "GAMA": 1},
            r"losses\.circle: no option GAMA; did you mean GAMMA\?; it takes MARGIN \(0\.25\), GAMMA",
        ),
        ({"NAME": "circle", "a\nb": 1}, r"^losses\.circle: no option a\\nb; it takes"),
        ({"NAME": "a\nb\x1b[31m"}, r"^losses: no a\\nb\\x1b\[31m; there are a_softmax, "),
        ({"NAME": "circel"}, r"losses: no circel; did you mean circle\?; there are a_softmax, "),
        ({"NAME": "circle", "MARGIN": "wide"}, r"losses\.circle\.MARGIN is 'wide'"),
        ({"NAME": "triplet", "DISTANCE": "manhattan"}, r"losses\.triplet: DISTANCE: no manhattan"),
        ({"NAME": "softmax", "NUM_CLASSES": 3}, "no option NUM_CLASSES"),
        ({"NAME": "_helper"}, "no _helper"),
        ({"MARGIN": 1}, r"losses: found the entry \{'MARGIN': 1\}; expected NAME or"),
        ({"NAME": "circle", 5: 1}, r"losses: found the entry"),
        ({"NAME": ["circle"]}, r"losses: found the entry"),
        (None, r"losses: found the entry None"),
    ],
)
def test_wrong_block_is_one_clear_line(block, message):
    with pytest.raises(ValueError, match=message) as error:
        registry.make("losses", block, num_classes=3, dim=2)
    assert "\n" not in str(error.value)


def test_needed_option_is_asked_for():
    with pytest.raises(ValueError, match=r"datasets\.folder: option PATH is needed"):
        registry.make("data/datasets", {"NAME": "folder"}, root=".")


def terms(losses: str):
    return objects.losses(config.load(None, ["LOSSES", losses]), num_classes=4, dim=3)


def test_losses_carry_their_frame_and_equal_names_are_told_apart():
    made = terms(
        "[{NAME: triplet, WEIGHT: 2, FEATURE: after}, triplet, {NAME: softmax, LR_FACTOR: 10, WEIGHT_DECAY: 0}]"
    )
    assert [t.name for t in made] == ["triplet", "triplet2", "softmax"]
    assert (made[0].weight, made[0].feature, made[1].feature) == (2, "after", "before")
    assert (made[2].lr_factor, made[2].weight_decay) == (10, 0)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ("[{MARGIN: 1}]", "LOSSES: found the entry {'MARGIN': 1}"),
        ("[{NAME: softmax, FEATURE: before}]", "FEATURE is for pair losses"),
        ("[{NAME: triplet, FEATURE: middle}]", "no FEATURE middle; there are before, after"),
    ],
)
def test_wrong_losses_are_refused(losses, message):
    with pytest.raises(ValueError, match=message):
        terms(losses)


def test_memory_without_a_pair_loss_is_refused():
    cfg = config.load(None, ["MODEL.BACKBONE.NAME", "tiny", "LOSSES", "[softmax]", "MEMORY.SIZE", "8"])
    with pytest.raises(ValueError, match="no loss is a pair loss"):
        objects.method(cfg, num_classes=4, num_samples=10)


def frozen(keys, *words):
    return registry.frozen(config.load(None, ["TEST.FROZEN", keys, *words]))


def test_frozen_block_is_what_differs_from_its_default():
    assert frozen("[]") == {}
    assert frozen("[MODEL, DATALOADER.BATCH_SIZE]", "MODEL.DIM", "8") == {
        "frozen": "DATALOADER.BATCH_SIZE, MODEL",
        "DATALOADER.BATCH_SIZE": 64,
        "MODEL.DIM": 8,
    }
    assert frozen("[MODEL]") != frozen("[INPUT]")


def test_option_at_its_default_is_as_good_as_left_out_of_what_is_frozen():
    keys = "[SAMPLER, LOSSES, METHOD]"
    said = frozen(keys, "SAMPLER.NUM_INSTANCES", "4", "LOSSES", "[{NAME: triplet, MARGIN: 0.3, MINING: hard}]")
    assert said == frozen(keys, "LOSSES", "[triplet]")
    assert said["LOSSES"] == [{"NAME": "triplet"}]
    other = frozen(keys, "SAMPLER.NUM_INSTANCES", "8", "LOSSES", "[{NAME: triplet, MARGIN: 0.2, WEIGHT: 2}]")
    assert other["SAMPLER.NUM_INSTANCES"] == 8
    assert other["LOSSES"] == [{"NAME": "triplet", "MARGIN": 0.2, "WEIGHT": 2}]
    said = frozen("[INPUT]", "INPUT.VIEWS", "{strong: [{NAME: flip, PROB: 0.5}, {NAME: crop, PAD: 4}]}")
    assert said == {"frozen": "INPUT", "INPUT.VIEWS.strong": [{"NAME": "flip"}, {"NAME": "crop", "PAD": 4}]}


def test_single_keys_are_frozen_even_at_their_default():
    assert frozen("[SAMPLER.NUM_INSTANCES]", "SAMPLER.NUM_INSTANCES", "4")["SAMPLER.NUM_INSTANCES"] == 4
    with pytest.raises(ValueError, match=r"no key MODEL\.DIMM"):
        frozen("[MODEL.DIMM]")


def test_new_key_changes_no_fingerprint_of_a_frozen_block(monkeypatch):
    before, defaults = frozen("[MODEL]", "MODEL.DIM", "8"), config.defaults

    def more():
        made = defaults()
        made.MODEL.NEW_KEY = 3
        return made

    monkeypatch.setattr(config, "defaults", more)
    assert frozen("[MODEL]", "MODEL.DIM", "8") == before
    assert frozen("[MODEL]", "MODEL.DIM", "8", "MODEL.NEW_KEY", "4") != before


def test_two_sets_of_one_name_are_told_apart_by_as(tmp_path):
    for site in ("siteA", "siteB"):
        for picture in ("1/a.png", "2/b.png"):
            file = tmp_path / site / "people" / picture
            file.parent.mkdir(parents=True)
            file.touch()
    cfg = config.load(None, ["DATASETS.ROOT", str(tmp_path)])
    one, other = ({"NAME": "folder", "PATH": f"{site}/people"} for site in ("siteA", "siteB"))
    with pytest.raises(
        ValueError, match=r"people is named twice in one list; give each a name of its own, .*AS: site_a"
    ):
        objects.datasets(cfg, [one, other])
    named = objects.datasets(cfg, [{**one, "AS": "site_a"}, other])
    assert [(dataset.name, len(dataset.train)) for dataset in named] == [("site_a", 2), ("people", 2)]
    with pytest.raises(ValueError, match=r"AS of folder is 3 \(int\); expected a text"):
        objects.datasets(cfg, [{**one, "AS": 3}])
    with pytest.raises(ValueError, match="found a data set called 'a/b'"):
        objects.datasets(cfg, [{**one, "AS": "a/b"}])
