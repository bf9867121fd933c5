"""Two thousand spoilt configs: each is refused in one line, or every number in it lies where it makes sense."""

import copy
import math
import warnings
from pathlib import Path

import limit
import pytest
import tiny_run
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid import config
from reid.builder import registry, runs
from reid.run_folder import RunFolder

SECONDS = 60  # a config that takes longer than this to be refused hangs
MAY_BE_NEGATIVE = {"BETA", "BASE"}
LOSSES = registry.names("losses")
SAMPLERS = registry.names("data/samplers")
STEPS = registry.names("data/augment")
OPTIONS = {
    "LOSSES": sorted({key for name in LOSSES for key in registry.options("losses", name)} | {"WEIGHT", "LR_FACTOR"}),
    "METHOD": sorted({key for name in ("baseline", "ecn", "dimn") for key in registry.options("methods", name)}),
    "SAMPLER": sorted({key for name in SAMPLERS for key in registry.options("data/samplers", name)}),
}
# What would train for hours, reach for a network or draw whole sets if it were taken; other tests have it.
LEFT_OUT = {"OUTPUT_DIR", "DATASETS.ROOT", "DATASETS.WALKERS_ROOT", "MODEL.BACKBONE.WEIGHTS", "MODEL.DIM", "DEVICE"}
KEYS = sorted(set(config._leaves(config._plain(config.defaults()))) - LEFT_OUT)
NUMBERS = [
    math.nan,
    math.inf,
    -math.inf,
    -1,
    -0.5,
    0,
    0.5,
    1,
    2,
    16,
    1e-320,
    1e-5,
    1e308,
    2**31,
    2**63,
    10**30,
    -(2**63),
]
WORDS = [
    "",
    "x",
    "010",
    "1:30",
    "1e-4",
    "null",
    "none",
    "tiny",
    "../x",
    "a/b",
    "é",
    "triplet",
    "all",
    "nan",
    "os:system",
    "nopack.a:B",
]
SNIPPETS = [
    "&a ",
    "*a",
    "!!set ",
    "? ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "\t",
    "\n",
    "#",
    "'",
    '"',
    "010",
    "1:30",
    "\x00",
    "\u2028",
    "SEED: 1\n",
]
VALUES = st.recursive(
    st.sampled_from([*NUMBERS, *WORDS, None, True, False]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["NAME", "PROB", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


class Reached(Exception):
    """The run would begin."""


@st.composite
def spoilt(draw) -> tuple[str, list[str]]:
    """The text of a config, and overrides."""
    tree: dict = {
        "LOSSES": [{"NAME": name} for name in draw(st.lists(st.sampled_from(LOSSES), min_size=1, max_size=2))]
    }
    tree["SAMPLER"] = {"NAME": draw(st.sampled_from(SAMPLERS))}
    tree["INPUT"] = {"AUGMENT": [{"NAME": name} for name in draw(st.lists(st.sampled_from(STEPS), max_size=2))]}
    tree["MEMORY"] = {"SIZE": draw(st.sampled_from([0, 24]))}
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from([*KEYS, *OPTIONS]))
        option = draw(st.sampled_from(OPTIONS.get(key, ["NAME"])))
        if key == "LOSSES":
            tree["LOSSES"][0][option] = draw(VALUES)
        elif key in OPTIONS:
            tree.setdefault(key, {})[option] = draw(VALUES)
        else:
            place(tree, key.split("."), draw(VALUES))
    text = yaml.safe_dump(tree)
    for _ in range(draw(st.integers(0, 1))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(SNIPPETS)) + text[at + draw(st.integers(0, 4)) :]
    words = [(draw(st.sampled_from(KEYS)), str(draw(VALUES))) for _ in range(draw(st.integers(0, 1)))]
    return text, [word for pair in words for word in pair]


def place(tree: dict, parts: list[str], value: object) -> None:
    for part in parts[:-1]:
        if not isinstance(tree.get(part), dict):
            tree[part] = {}
        tree = tree[part]
    tree[parts[-1]] = copy.deepcopy(value)


def outside(value: object, key: str = "") -> list[str]:
    """The numbers that no key and no option should take; known without the table of ranges."""
    if isinstance(value, dict):
        return [found for name, part in value.items() for found in outside(part, str(name))]
    if isinstance(value, list):
        return [found for part in value for found in outside(part, key)]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return []
    sound = math.isfinite(value) and abs(value) <= 2**32 and (value >= 0 or key in MAY_BE_NEGATIVE)
    return [] if sound else [f"{key}: {value!r}"]


@pytest.mark.slow
def test_spoilt_configs_are_refused_in_one_line_or_sound(tiny_world, tmp_path, monkeypatch):
    def begin(*args, **options):
        raise Reached

    monkeypatch.setattr(RunFolder, "open", begin)
    base = tmp_path / "base.yaml"
    where = {"DATASETS.ROOT": str(tiny_world), "OUTPUT_DIR": str(tmp_path / "run")}
    base.write_text(config.dump(tiny_run.build(tiny_world, tmp_path / "run", {})))
    seen = {"refused": 0, "taken": 0}
    said: list[str] = []

    @settings(
        max_examples=2000, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(spoilt())
    def check(example):
        text, words = example
        path = Path(tmp_path / "own.yaml")
        path.write_text(f"_BASE_: base.yaml\n{text}", encoding="utf-8", errors="replace")
        try:
            with limit.seconds(SECONDS):
                cfg = config.load(path, [*words, *(word for pair in where.items() for word in pair)])
                runs.train(cfg)
        except (ValueError, OSError, FloatingPointError) as error:
            seen["refused"] += 1
            said.append(str(error))
        except Reached:
            seen["taken"] += 1
            assert outside(config._plain(cfg)) == []

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check()
    assert [line for line in said if "\n" in line] == []
    assert min(seen.values()) > 100, seen
