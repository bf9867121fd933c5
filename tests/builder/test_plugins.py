"""Classes of other packages as `package.module:Name`: found, refused, told of in log, checkpoint and card, and missed."""

import hashlib
import importlib
import json
import sys

import pytest
import tiny_run

import reid
from reid import checkpoint, config
from reid.builder import exports, objects, registry, runs

FILES = {
    "__init__": "",
    "broken": "import ownpack.nothing_here\n",
    "failing": "raise RuntimeError('two\\nlines')\n",
    "leaving": "raise SystemExit(3)\n",
    "needing": "import not_installed_anywhere\n",
    "losses": """
from reid.losses import PairLoss
from reid.losses.contrastive import Contrastive

class Push(Contrastive):
    def __init__(self, margin: float = 0.5, seed: int = 1):
        super().__init__(margin=margin)
        self.seed = seed

class Plain(Contrastive):
    pass

class Update(Contrastive):
    pass

class Loss(Contrastive):
    pass

class NoLoss:
    pass
""",
    "methods": "from reid.methods.baseline import Baseline\nclass Base(Baseline):\n    pass\n",
    "samplers": "from reid.data.samplers.identity import Identity\nclass Deal(Identity):\n    pass\n",
    "sets": """
from reid.data.datasets import folder
from reid.data.records import Card

CARD = Card(title="Our people", terms="ours alone", page="the cellar")

def load(root: str, path: str = "", check_counts: bool = True):
    return folder.load(root, path=path) if path else "no set"
""",
    "cardless": "def load(root: str):\n    pass\n",
}
PLUGINS = {
    "LOSSES": "[softmax, {NAME: ownpack.losses:Push, MARGIN: 0.4, WEIGHT: 0.5}, 'ownpack.losses:Push']",
    "METHOD": "{NAME: ownpack.methods:Base}",
    "SAMPLER": "{NAME: ownpack.samplers:Deal}",
    "DATASETS.SOURCES": "[{NAME: folder, PATH: source_b}, {NAME: ownpack.sets:load, PATH: source_a}]",
    "SOLVER.EPOCHS": "1",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder of a package `ownpack`, which an installed distribution has, on the path of imports."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "ownpack").mkdir()
    for name, text in FILES.items():
        (folder / "ownpack" / f"{name}.py").write_text(text)
    about = folder / "own_people-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-people\nVersion: 1.2\n")
    (about / "top_level.txt").write_text("ownpack\n")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    forget()


def forget():
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownpack"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def missing(package):
    """Without the package, as on another machine."""
    sys.path.remove(str(package))
    forget()
    yield
    sys.path.insert(0, str(package))
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def trained(package, tiny_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins") / "run"
    runs.train(tiny_run.build(tiny_world, folder, PLUGINS))
    return folder


def test_plugin_takes_options_and_what_is_injected(package):
    loss = registry.make("losses", {"NAME": "ownpack.losses:Push", "MARGIN": "4e-1"}, num_classes=3, dim=2)
    assert (loss.margin, loss.seed) == (0.4, 1)
    assert list(registry.options("losses", "ownpack.losses:Push")) == ["MARGIN", "SEED"]
    assert registry.card("ownpack.sets:load").title == "Our people"


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        (
            "losses",
            "nopack.losses:Mine",
            r"the package nopack cannot be imported here \(no module nopack\); install it",
        ),
        ("losses", "ownpack.nowhere:Mine", r"no module ownpack\.nowhere"),
        ("losses", "ownpack.losses:Psh", r"found no Psh in ownpack\.losses; did you mean Push\?"),
        ("losses", "ownpack.broken:Mine", r"ownpack\.broken cannot be imported: it needs ownpack\.nothing_here"),
        ("losses", "ownpack.needing:Mine", "it needs not_installed_anywhere"),
        ("losses", "ownpack.failing:Mine", r"\(RuntimeError: two lines\)"),
        ("losses", "ownpack.leaving:Mine", r"\(SystemExit: 3\)"),
        ("losses", "ownpack.losses:NoLoss", r"the class NoLoss; expected a subclass of PairLoss or ClassLoss"),
        ("losses", "ownpack.losses:PairLoss", r"the class PairLoss; expected a subclass"),
        ("losses", "ownpack.methods:Base", r"the class Base; expected a subclass of PairLoss or ClassLoss"),
        ("methods", "ownpack.losses:Push", r"expected a subclass of Method \(reid\.methods\)"),
        ("data/samplers", "ownpack.sets:load", "is a function; expected a subclass of Sampler"),
        ("data/datasets", "ownpack.cardless:load", "is a function; expected a function .* with a CARD"),
        ("data/datasets", "ownpack.sets:CARD", "is a Card; expected a function"),
        ("losses", "own pack/losses.py:Mine", r"expected package\.module:Name"),
        ("losses", "ownpack.losses:", r"expected package\.module:Name"),
        ("losses", "ownpack.losses:Push:Push", r"expected package\.module:Name"),
        ("data/datasets", "pickle:load", "pickle is no package of plug-ins"),
        ("losses", "reid.losses.circle:Circle", "reid is no package of plug-ins"),
    ],
)
def test_what_is_no_plugin_is_one_clear_line(package, folder, name, message):
    with pytest.raises(ValueError, match=message) as error:
        registry.find(folder, name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_unknown_option_of_a_plugin_is_refused(package):
    with pytest.raises(ValueError, match=r"losses\.ownpack\.losses:Push: no option MARGN; did you mean MARGIN\?"):
        registry.make("losses", {"NAME": "ownpack.losses:Push", "MARGN": 1}, num_classes=3, dim=2)


def test_loader_of_a_set_that_gives_no_set_is_refused(package):
    cfg = config.load(None, ["DATASETS.TARGETS", "['ownpack.sets:load']"])
    with pytest.raises(ValueError, match=r"ownpack\.sets:load: gave a str; expected a Dataset"):
        objects.targets(cfg)


def names(losses):
    return [term.name for term in objects.losses(config.load(None, ["LOSSES", losses]), num_classes=4, dim=3)]


def test_terms_are_named_by_the_class_and_told_apart(package):
    assert names("[contrastive, 'ownpack.losses:Plain', 'ownpack.losses:Push', 'ownpack.losses:Plain']") == [
        "contrastive",
        "plain",
        "push",
        "plain2",
    ]


@pytest.mark.parametrize("name", ["Loss", "Update"])
def test_class_called_as_something_of_the_log_is_refused(package, name):
    with pytest.raises(ValueError, match=f"{name.lower()} has another meaning in logs"):
        names(f"['ownpack.losses:{name}']")


def test_run_says_where_its_plugins_came_from(trained):
    content = checkpoint.load(trained / "model_final.pth")
    kept = {origin["name"]: origin for origin in content["plugins"]}
    assert list(kept) == ["ownpack.methods:Base", "ownpack.samplers:Deal", "ownpack.losses:Push", "ownpack.sets:load"]
    assert {origin["distribution"] for origin in kept.values()} == {"own-people 1.2"}
    sha256 = hashlib.sha256(FILES["losses"].encode()).hexdigest()
    assert kept["ownpack.losses:Push"]["sha256"] == sha256
    log = (trained / "log.txt").read_text()
    assert f"plug-in ownpack.losses:Push (own-people 1.2, sha256 {sha256[:16]})" in log
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert {"softmax", "push", "push2"} <= rows[0].keys()


def test_checkpoint_is_opened_scored_and_exported_where_the_package_is(trained, tiny_world, tmp_path):
    pictures = sorted(str(path) for path in (tiny_world / "target" / "query").iterdir())[:3]
    assert reid.load(trained / "model_final.pth", device="cpu").embed(pictures).shape[0] == 3
    rows = runs.score(None, trained / "model_final.pth", output=tmp_path / "test")
    last = [json.loads(line) for line in (trained / "results.jsonl").read_text().splitlines()]
    assert [row["mAP"] for row in rows] == [row["mAP"] for row in last]
    card = exports.export(trained / "model_final.pth", tmp_path / "export", formats=["torchscript"])
    assert [plugin["distribution"] for plugin in card["training"]["plugins"]] == ["own-people 1.2"] * 4
    assert "- ownpack.losses:Push (own-people 1.2, sha256 " in (tmp_path / "export" / "card.md").read_text()
    assert "ownpack.sets:load PATH source_a: Our people; ours alone" in (tmp_path / "export" / "card.md").read_text()


def test_missing_package_is_one_line_and_a_changed_one_is_said(trained, package, tmp_path, caplog):
    copy = tmp_path / "model_final.pth"
    content = checkpoint.load(trained / "model_final.pth")
    content["plugins"][2]["sha256"] = "0" * 64
    checkpoint.save(copy, content)
    with caplog.at_level("WARNING", "reid"):
        reid.load(copy, device="cpu")
    assert "it was ownpack.losses:Push (own-people 1.2, sha256 0000000000000000) when" in caplog.text


def test_missing_package_is_named(trained, missing, tmp_path):
    for use in (reid.load, lambda path: runs.score(None, path), lambda path: exports.export(path, tmp_path / "export")):
        with pytest.raises(ValueError, match="the package ownpack cannot be imported here") as error:
            use(trained / "model_final.pth")
        assert "\n" not in str(error.value)
