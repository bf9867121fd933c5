"""What a value of a config may be: one meaning of each word, the right kind, every number inside its range."""

import contextlib
import inspect
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid import config
from reid.builder import objects, registry
from reid.config import keys, kinds, reading
from reid.losses import Term

MAY_BE_NEGATIVE = {"losses.binomial.BETA", "losses.multi_similarity.BASE"}


def numbers() -> dict[str, Any]:
    """{key: default} of every number, and every list of numbers, that a config can say."""
    found = config._leaves(config._plain(config.defaults()))
    for folder in registry.FOLDERS:
        for name in registry.names(folder):
            for key, p in registry.options(folder, name).items():
                found[f"{folder.rpartition('/')[2]}.{name}.{key}"] = number_of(p)
    found |= {f"LOSSES.0.{key}": number_of(p) for key, p in registry.parameters(Term).items()}
    found |= {key: 0 for key, kind in keys.KINDS.items() if "int" in str(kind) or "float" in str(kind)}
    return {key: value for key, value in found.items() if is_number(value)}


def number_of(parameter: inspect.Parameter) -> int | None:
    """Some number, where a parameter takes one or several."""
    return 0 if {"int", "float"} & set(re.findall(r"\w+", str(parameter.annotation))) else None


def is_number(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(is_number, value))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def test_there_is_a_range_for_every_number_and_nothing_else_in_the_table():
    found = numbers()
    assert len(found) > 90
    assert [key for key in found if kinds.interval(key) is None] == []
    used = {key if key in kinds.RANGES else key.rpartition(".")[2] for key in found}
    assert kinds.RANGES.keys() - used == set()


@pytest.mark.parametrize("key", numbers())
def test_default_is_inside_its_range_and_what_is_no_number_outside(key):
    low, high = (float(end) for end in kinds.interval(key)[1:-1].split(","))
    assert low >= 0 or key in MAY_BE_NEGATIVE
    for wrong in (math.nan, math.inf, -math.inf, low - 1, high + 1, 2 * high, "nan", 10**400):
        with pytest.raises(ValueError, match="expected"):
            kinds.coerce(wrong, float, key)
    for fine in (low + (high - low) / 2, *([high] if kinds.interval(key).endswith("]") else [])):
        assert kinds.coerce(fine, float, key) == fine


def test_defaults_are_of_their_kind_and_inside_their_range():
    cfg = config.parse(config.dump(config.defaults()))
    assert config.differences(cfg, config.defaults()) == {}
    for folder in registry.FOLDERS:
        for name in registry.names(folder):
            known = registry.options(folder, name)
            said = {key: p.default for key, p in known.items() if p.default is not inspect.Parameter.empty}
            taken = registry.arguments(said, known, f"{folder.rpartition('/')[2]}.{name}")
            assert taken == {known[key].name: as_lists(value) for key, value in said.items()}


def as_lists(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("yes", bool, True),
        ("Off", bool, False),
        (1, float, 1.0),
        ("1e-4", float, 1e-4),
        (3.0, int, 3),
        ((1, 2.0), tuple[int, int], [1, 2]),
        ([1, 2.0], Sequence[int], [1, 2]),
        (["1", 2], list[float], [1.0, 2.0]),
        (None, float | None, None),
        ("1.5", float | None, 1.5),
        ({"a": (1,)}, dict, {"a": [1]}),
        ("x", Any, "x"),
    ],
)
def test_value_is_taken_where_nothing_is_lost(value, kind, expected):
    found = kinds.coerce(value, kind, "plugin:Key")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (1, bool, "True or False"),
        ("maybe", bool, "True or False"),
        (True, int, "a whole number"),
        ("3", int, "a whole number"),
        (1.5, int, "a whole number"),
        (math.inf, int, "a whole number"),
        (True, float, "a number"),
        ("fast", float, "a number"),
        (5, str, "a text"),
        ([1, 2, 3], tuple[int, int], "a list of 2, each a whole number"),
        ([1, "a"], list[int], "a list, each a whole number"),
        ({"a": 1}, list, "a list"),
        ("a", int | None, "a whole number or null"),
        (None, str, "a text"),
        ({1, 2}, Any, "numbers, texts, lists and blocks"),
        ([b"x"], list, "numbers, texts, lists and blocks"),
        (1j, float, "numbers, texts, lists and blocks"),
        ({None: 1}, dict, "numbers, texts, lists and blocks"),
    ],
)
def test_value_of_another_kind_is_one_line(value, kind, words):
    with pytest.raises(ValueError, match=f"expected {words}") as error:
        kinds.coerce(value, kind, "plugin:Key")
    assert "\n" not in str(error.value)


def test_long_values_are_shown_short():
    with pytest.raises(ValueError, match="expected a number") as error:
        kinds.coerce("x" * 10_000, float, "SOLVER.LR")
    assert len(str(error.value)) < 400


WRONG = """
SOLVER.CLIP_GRAD -1
SOLVER.WEIGHT_DECAY -1
SOLVER.GAMMA nan
SOLVER.STEPS [-1,-1]
SOLVER.STEPS [a]
SOLVER.STEPS.0 -1
SOLVER.EPS inf
SOLVER.EPOCHS 0
SOLVER.EPOCHS -1
SOLVER.MAX_STEPS -3
SOLVER.LOG_STEPS -1
SOLVER.LOG_STEPS 0
SOLVER.LR 1e400
MEMORY.START_STEP -1
TEST.EVERY -1
TEST.BATCH_SIZE 0
TEST.QUERY_EXPANSION -1
TEST.FROZEN [5]
TEST.CACHE auto
INPUT.TEST_CROP 1e-320
INPUT.SIZE [256]
INPUT.SIZE [256,-1]
INPUT.SIZE.1 x
MODEL.DIM 1000000000000
MODEL.DIM 010
SEED 1:30
LOSSES [010]
LOSSES 5
METHOD {1,2}
METHOD.X b'x'
SAMPLER {'NAME':'identity','NAME':'shuffle'}
"""


@pytest.mark.parametrize("words", [line.split() for line in WRONG.strip().splitlines()], ids=" ".join)
def test_override_with_a_wrong_value_is_one_line(words):
    with pytest.raises(ValueError, match="config: ") as error:
        config.load(None, words)
    assert "\n" not in str(error.value)


WRONG_LOSSES = """
[5]
[null]
[[softmax]]
[{NAME: softmax, WEIGHT: x}]
[{NAME: softmax, WEIGHT: -1}]
[{NAME: softmax, LR_FACTOR: -5}]
[{NAME: softmax, WEIGHT_DECAY: -0.1}]
[{NAME: triplet, FEATURE: 3}]
[{NAME: triplet, MARGIN: .nan}]
[{NAME: triplet, MARGIN: [1]}]
[{NAME: triplet, DISTANCE: null}]
[{NAME: circle, GAMMA: -1}]
[{NAME: infonce, TEMPERATURE: 0}]
[{NAME: supcon, TEMPERATURE: -0.1}]
[{NAME: arcface, SCALE: -64}]
[{NAME: multi_similarity, BETA: -50}]
[{NAME: fast_ap, NUM_BINS: 1.5}]
"""


@pytest.mark.parametrize("losses", WRONG_LOSSES.strip().splitlines())
def test_losses_with_a_wrong_value_are_one_line(losses):
    with pytest.raises(ValueError, match=r"LOSSES|losses\.") as error:
        objects.losses(config.load(None, ["LOSSES", losses]), num_classes=4, dim=3)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scale", ["SCALE", "GAMMA", "ALPHA", "TEMPERATURE"])
def test_no_loss_takes_a_scale_or_temperature_below_zero(scale):
    found = [name for name in registry.names("losses") if scale in registry.options("losses", name)]
    assert found
    for name in found:
        with pytest.raises(ValueError, match=rf"losses\.{name}\.{scale} is -1"):
            registry.make("losses", {"NAME": name, scale: -1}, num_classes=4, dim=3)


def test_path_that_is_no_text_is_refused():
    cfg = config.load(None, ["DATASETS.TARGETS", "[{NAME: folder, PATH: 5}]"])
    with pytest.raises(ValueError, match=r"datasets\.folder\.PATH is 5 \(int\); expected a text"):
        objects.targets(cfg)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SEED: 1\nSEED: 2", "found the key SEED a second time"),
        ("SOLVER: {LR: 1, LR: 2}", "found the key LR a second time"),
        ("LOSSES: [{NAME: softmax, NAME: triplet}]", "found the key NAME a second time"),
        ("SEED: 010", "found 010, which YAML reads as another number"),
        ("SEED: 1:30", "found 1:30, which"),
        ("SEED: 1_000", "found 1_000, which"),
        ("SEED: &a 1\nMEMORY: {SIZE: *a}", "found the alias"),
        ("SEED: !!int 3", "found the tag"),
        ("? [SEED]\n: 2", "found the key"),
        ("[" * 5000, "nested too deeply"),
        ("SEED: \x01", "not valid YAML"),
    ],
)
def test_text_that_says_two_things_is_refused(tmp_path, text, message):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        config.load(tmp_path / "own.yaml")
    assert "own.yaml is not valid YAML" in str(error.value)
    assert "\n" not in str(error.value)


def test_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "own.yaml").write_bytes("OUTPUT_DIR: é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"own\.yaml is not valid YAML"):
        config.load(tmp_path / "own.yaml")


@pytest.mark.parametrize("word", ["off", "no", "2026-01-01", "1:3:x", "*a", "!x", "0b2", "null", "007"])
def test_word_stays_a_text_where_a_text_is_wanted(word):
    cfg = config.load(None, ["OUTPUT_DIR", word])
    assert word == cfg.OUTPUT_DIR


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TRICKY = st.sampled_from(
    ["010", "1:30", "1e-4", "0x1f", "off", "yes", "~", "", "*a", "&a", "!a", "1_0", "=", "<<", "2026-01-01"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=5) | TRICKY, PLAIN | TRICKY, max_size=4))
def test_what_is_dumped_is_read_back(tree):
    assert reading.mapping(reading.dump(tree), "it") == tree


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_word_is_read_or_refused(word):
    with contextlib.suppress(ValueError):
        reading.value(word)


def test_base_named_by_two_files_is_read_once_where_it_is_first_named(tmp_path):
    for name, text in {
        "common": "SEED: 1\nSOLVER: {LR: 0.1, EPOCHS: 5}",
        "one": "_BASE_: common.yaml\nSOLVER: {LR: 0.2}",
        "two": "_BASE_: common.yaml\nSEED: 2",
        "own": "_BASE_: [one.yaml, two.yaml]",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    cfg = config.load(tmp_path / "own.yaml")
    assert (cfg.SEED, cfg.SOLVER.LR, cfg.SOLVER.EPOCHS) == (2, 0.2, 5)


def test_each_of_many_bases_is_read_once(tmp_path, monkeypatch):
    """Each file names the next one twice: 2^15 merges, were they not."""
    for i in range(15):
        (tmp_path / f"d{i}.yaml").write_text(f"_BASE_: [d{i + 1}.yaml, d{i + 1}.yaml]")
    (tmp_path / "d15.yaml").write_text("SEED: 7")
    read = []
    mapping = reading.mapping
    monkeypatch.setattr(reading, "mapping", lambda path, where: (read.append(path), mapping(path, where))[1])
    assert config.load(tmp_path / "d0.yaml").SEED == 7
    assert len(read) == 16


def test_chain_of_bases_has_a_depth(tmp_path):
    for i in range(reading.DEPTH + 1):
        (tmp_path / f"d{i}.yaml").write_text(f"_BASE_: d{i + 1}.yaml")
    (tmp_path / f"d{reading.DEPTH + 1}.yaml").write_text("SEED: 7")
    assert config.load(tmp_path / "d2.yaml").SEED == 7
    with pytest.raises(ValueError, match="more than 20 files above each other"):
        config.load(tmp_path / "d0.yaml")


@pytest.mark.parametrize("base", ["5", "[5]", "{a: b}", "[[own.yaml]]", "true"])
def test_base_that_is_no_path_is_refused(tmp_path, base):
    (tmp_path / "own.yaml").write_text(f"_BASE_: {base}")
    with pytest.raises(ValueError, match=r"_BASE_ of .* expected a path or a list of paths"):
        config.load(tmp_path / "own.yaml")


def test_a_path_with_a_line_end_is_told_in_one_line():
    with pytest.raises(FileNotFoundError, match=r"config: no file a\\nb\\x1b; expected the path") as error:
        config.load("a\nb\x1b")
    assert "\n" not in str(error.value)
