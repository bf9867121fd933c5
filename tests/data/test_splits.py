"""The committed split files: what the script beside them makes, of the right sizes, each draw another."""

import json
import runpy
from importlib import import_module
from pathlib import Path

import pytest
from small import plant

from reid.data.datasets import _splits

SCRIPT = _splits.SPLITS / "make.py"
SHAPES = {"viper": (316, range(632)), "prid": (100, range(1, 201)), "ilids": (60, range(119))}


@pytest.fixture(scope="module")
def made():
    return {name: make() for name, make in runpy.run_path(str(SCRIPT))["FILES"].items()}


def test_files_are_what_the_script_makes(made):
    committed = {path.name: path.read_text(encoding="utf-8") for path in _splits.SPLITS.glob("*.json")}
    assert committed == made


def test_files_say_that_no_other_toolkit_has_these_splits(made):
    for text in made.values():
        assert "No other toolkit's splits are these" in json.loads(text)["about"]


@pytest.mark.parametrize("name", SHAPES)
def test_draws_have_the_right_sizes_and_are_all_different(name):
    size, numbers = SHAPES[name]
    draws, sha = _splits.read(name)
    people = [[row[0] if isinstance(row, list) else row for row in draw] for draw in draws]
    assert len(draws) == 10
    assert len(sha) == 8
    for test in people:
        assert test == sorted(set(test))
        assert len(test) == size
        assert set(test) <= set(numbers)
    assert len({tuple(test) for test in people}) == 10
    assert len(set().union(*people)) > 0.99 * len(numbers)  # nobody is favoured


def test_fractions_of_ilids_lie_in_0_to_1_without_1():
    fractions = [number for draw in _splits.read("ilids")[0] for row in draw for number in row[1:]]
    assert 0 <= min(fractions) < 0.01
    assert 0.99 < max(fractions) < 1
    assert abs(sum(fractions) / len(fractions) - 0.5) < 0.03


def test_hash_of_the_file_is_in_the_variant_and_moves_with_it(tmp_path, monkeypatch):
    plant(tmp_path, "prid")
    prid = import_module("reid.data.datasets.prid")
    before = prid.load(tmp_path, check_counts=False).variant["splits"]
    assert before == _splits.read("prid")[1]
    moved = tmp_path / "splits"
    moved.mkdir()
    text = (_splits.SPLITS / "prid.json").read_text(encoding="utf-8")
    monkeypatch.setattr(_splits, "SPLITS", moved)
    (moved / "prid.json").write_bytes(text.replace("\n", "\r\n").encode())
    assert prid.load(tmp_path, check_counts=False).variant["splits"] == before
    (moved / "prid.json").write_text(text.replace('"seed": 2011', '"seed": 2012'), encoding="utf-8")
    assert prid.load(tmp_path, check_counts=False).variant["splits"] != before


def test_script_imports_nothing_of_ours():
    assert "reid" not in {line.split()[1].split(".")[0] for line in imports(SCRIPT)}


def imports(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(("import ", "from "))]
