"""What every smaller set must do: say where it is missing, survive any disk, import nothing it does not need."""

import inspect
import subprocess
import sys
from importlib import import_module

import pytest
from small import TREES, everything, plant, rows
from trees import picture

from reid.data.records import Card

NAMES = sorted(TREES)


def module(name):
    return import_module(f"reid.data.datasets.{name}")


def listing(loaded):
    return [(path.rpartition(".")[0], pid, camid) for path, pid, camid in rows(everything(loaded), loaded.root)]


@pytest.mark.parametrize("name", NAMES)
def test_set_is_a_load_of_plain_keywords_with_defaults_and_a_card(name):
    parameters = dict(inspect.signature(module(name).load).parameters)
    assert next(iter(parameters)) == "root"
    assert parameters.pop("root").default is inspect.Parameter.empty
    assert parameters["check_counts"].default is True
    assert all(p.kind is p.KEYWORD_ONLY and isinstance(p.default, bool) for p in parameters.values())
    assert isinstance(module(name).CARD, Card)
    assert module(name).CARD.page.startswith("http")
    assert module(name).__doc__.count("Counts:") == module(name).__doc__.count("Quirks:") == 1


@pytest.mark.parametrize("name", NAMES)
def test_missing_set_names_the_paths_tried_in_both_nestings_and_its_page(tmp_path, name):
    with pytest.raises(FileNotFoundError) as error:
        module(name).load(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{name}: found none of {tmp_path}")
    assert message.count(str(tmp_path)) > 1
    assert module(name).CARD.page in message
    assert "\n" not in message


@pytest.mark.parametrize("name", NAMES)
def test_any_disk_reads_the_same(tmp_path, name):
    """Folders that look like names of pictures, spaces, letters of any script, links, what macOS leaves, upper case."""
    plain, odd = tmp_path / "plain", tmp_path / "0007_c3s1 дані ü"
    plant(plain, name)
    real = plant(odd, name, at="9999_c9_s9 elsewhere", upper=True)
    for path in [path for path in real.rglob("*") if path.is_file() and path.suffix != ".mat"]:
        path.with_name(f"._{path.name}").write_bytes(picture())
        path.with_name("Thumbs.db").write_bytes(b"x")
    link = odd / "a data root" / TREES[name][0]
    link.parent.mkdir(parents=True)
    link.symlink_to(real, target_is_directory=True)
    expected = module(name).load(plain, check_counts=False)
    found = module(name).load(odd / "a data root", check_counts=False)
    assert listing(expected)
    assert listing(found) == listing(expected)
    assert found.variant == expected.variant


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"lpw", "threedpes", "airport"}))
def test_name_of_another_form_is_named(tmp_path, name):
    folder = plant(tmp_path, name)
    picture_ = next(
        path for path in sorted(folder.rglob("*.*")) if path.suffix in (".jpg", ".jpeg", ".png", ".bmp", ".tif")
    )
    picture_.rename(picture_.with_stem("portrait"))
    with pytest.raises(ValueError, match=r"portrait\.\w+: found this name; expected"):
        module(name).load(tmp_path, check_counts=False)


@pytest.mark.parametrize("name", ["caviar4reid", "threedpes", "randperson", "clonedperson", "occluded_reid", "lpw"])
def test_set_of_unknown_size_without_a_picture_is_missing(tmp_path, name):
    folder = plant(tmp_path, name)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}: found no pictures in .*; expected "):
        module(name).load(tmp_path)


def test_importing_a_set_imports_no_other_and_nothing_heavy():
    script = """
import importlib, sys
for name in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module(f"reid.data.datasets.{name}")
    new = {m for m in set(sys.modules) - before}
    heavy = {m for m in new if m.split(".")[0] in ("torch", "cv2", "torchvision", "scipy")}
    others = {m for m in new if m.startswith("reid.data.datasets.") and "._" not in m} - {f"reid.data.datasets.{name}"}
    assert not others, (name, others)
    assert not heavy or (name == "grid" and {m.split(".")[0] for m in heavy} == {"scipy"}), (name, heavy)
"""
    in_order = [*(name for name in NAMES if name != "grid"), "grid"]
    done = subprocess.run([sys.executable, "-c", script, *in_order], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
