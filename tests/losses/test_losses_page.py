"""The tables of `docs/losses.md` name every loss there is, with its options and their defaults."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml

from reid.builder import registry
from reid.losses import PairLoss

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| `([a-z_]+)` \|.*$", PAGE, re.MULTILINE)}


def test_every_loss_stands_in_the_table_of_its_kind():
    pair, classes = PAGE.split("| class loss |")
    for name in registry.names("losses"):
        assert f"\n| `{name}` |" in (pair if issubclass(registry.find("losses", name), PairLoss) else classes), name
    assert set(ROWS) == set(registry.names("losses"))


@pytest.mark.parametrize("name", ROWS)
def test_options_and_defaults_are_those_of_the_code(name):
    stated = {key: yaml.safe_load(value) for key, value in re.findall(r"`([A-Z_0-9]+) ([^`]+)`", ROWS[name])}
    options = registry.options("losses", name)
    assert stated == {key: None if p.default is inspect.Parameter.empty else p.default for key, p in options.items()}


def test_the_calls_it_shows_run():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    rows, labels = torch.randn(3, 8, 4), torch.arange(8) // 2
    names = {"embeddings": rows[0], "queries": rows[1], "gallery": rows[2], "labels": labels, "query_labels": labels}
    names |= {"maps": torch.randn(8, 4, 2, 2), "matcher": lambda a, b: a.mean(dim=(2, 3)) @ b.mean(dim=(2, 3)).T}
    exec(block.replace("\nloss(", "\nshown = loss("), names)
    assert names["shown"].ndim == 0
