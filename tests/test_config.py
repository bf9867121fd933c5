"""What stands around yacs: bases, overrides into lists and free blocks, kinds of values, and clear refusals."""

from pathlib import Path

import pytest

from reid import config
from reid.builder import registry


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_defaults_survive_dump_and_parse():
    cfg = config.load()
    assert config.differences(cfg, config.parse(config.dump(cfg))) == {}


def test_base_is_read_first_and_relative_to_the_file_that_names_it(tmp_path):
    write(tmp_path, "base/common.yaml", "SEED: 3\nSOLVER: {LR: 0.1, EPOCHS: 5}\n")
    path = write(tmp_path, "recipe/own.yaml", "_BASE_: ../base/common.yaml\nSOLVER: {LR: 0.2}\n")
    cfg = config.load(path)
    assert (cfg.SEED, cfg.SOLVER.LR, cfg.SOLVER.EPOCHS) == (3, 0.2, 5)


def test_several_bases_apply_in_their_order(tmp_path):
    write(tmp_path, "one.yaml", "SEED: 1\nSOLVER: {EPOCHS: 7}\n")
    write(tmp_path, "two.yaml", "SEED: 2\n")
    cfg = config.load(write(tmp_path, "own.yaml", "_BASE_: [one.yaml, two.yaml]\n"))
    assert (cfg.SEED, cfg.SOLVER.EPOCHS) == (2, 7)


def test_circle_of_bases_is_refused(tmp_path):
    path = write(tmp_path, "a.yaml", "_BASE_: b.yaml\n")
    write(tmp_path, "b.yaml", "_BASE_: a.yaml\n")
    with pytest.raises(ValueError, match="circle"):
        config.load(path)


def test_python_config_is_refused_and_not_executed(tmp_path):
    trace = tmp_path / "executed"
    path = write(tmp_path, "cfg.py", f"open({str(trace)!r}, 'w')\ncfg = {{}}\n")
    with pytest.raises(ValueError, match=r"not a \.yaml"):
        config.load(path)
    with pytest.raises(ValueError, match=r"not a \.yaml"):
        config.load(write(tmp_path, "own.yaml", "_BASE_: cfg.py\n"))
    assert not trace.exists()


def test_python_tags_in_yaml_are_refused(tmp_path):
    trace = tmp_path / "executed"
    path = write(tmp_path, "own.yaml", f"SEED: !!python/object/apply:os.system ['touch {trace}']\n")
    with pytest.raises(ValueError, match="not valid YAML"):
        config.load(path)
    assert not trace.exists()


def test_missing_file_and_non_mapping_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        config.load(tmp_path / "nowhere.yaml")
    with pytest.raises(ValueError, match="holds a list"):
        config.load(write(tmp_path, "own.yaml", "- 1\n"))


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("SOLVER.LR", "1", 1.0),
        ("SOLVER.LR", "1e-4", 1e-4),
        ("SOLVER.EPOCHS", "12", 12),
        ("MODEL.NECK", "False", False),
        ("MODEL.NECK", "false", False),
        ("INPUT.SIZE", "(384, 128)", [384, 128]),
        ("INPUT.SIZE", "[384, 128]", [384, 128]),
        ("DATASETS.TARGETS", '("Market1501","MSMT17",)', ["Market1501", "MSMT17"]),
        ("DATASETS.TARGETS", "[market1501, {NAME: folder, PATH: x}]", ["market1501", {"NAME": "folder", "PATH": "x"}]),
        ("OUTPUT_DIR", "2024", "2024"),
        ("DATASETS.ROOT", "None", "None"),
    ],
)
def test_override_takes_the_kind_of_its_default(key, text, expected):
    value = config.load(None, [key, text])
    for part in key.split("."):
        value = value[part]
    assert value == expected
    assert type(value) is type(expected)


def test_yaml_number_without_a_dot_is_a_number(tmp_path):
    assert config.load(write(tmp_path, "own.yaml", "SOLVER: {LR: 3e-4}\n")).SOLVER.LR == 3e-4


def test_overrides_reach_into_lists_and_free_blocks():
    losses = "[{NAME: softmax}, {NAME: triplet, MARGIN: 0.3}]"
    words = ["LOSSES", losses, "LOSSES.1.MARGIN", "0.5", "LOSSES.1.FEATURE", "after", "METHOD.TEMPERATURE", "0.1"]
    words += ["DATASETS.SOURCES", "[a, b]", "DATASETS.SOURCES.1", "{NAME: folder}", "DATASETS.SOURCES.1.PATH", "'x'"]
    words += ["INPUT.AUGMENT.1.PAD", "2", "INPUT.AUGMENT.2", "erasing", "INPUT.AUGMENT.2.PROB", "0.3"]
    cfg = config.load(None, words)
    assert cfg.INPUT.AUGMENT == [{"NAME": "flip"}, {"NAME": "crop", "PAD": 2}, {"NAME": "erasing", "PROB": 0.3}]
    assert cfg.LOSSES[1] == {"NAME": "triplet", "MARGIN": 0.5, "FEATURE": "after"}
    assert cfg.METHOD.TEMPERATURE == 0.1
    assert cfg.DATASETS.SOURCES == ["a", {"NAME": "folder", "PATH": "x"}]


def test_a_file_reaches_entries_of_its_bases_list_by_their_number(tmp_path):
    write(tmp_path, "base.yaml", "LOSSES: [softmax, {NAME: triplet, MARGIN: 0.3}]\n")
    text = "_BASE_: base.yaml\nLOSSES: {0: {WEIGHT: 2}, 1: {MARGIN: 0.5}, 2: center}\nINPUT: {AUGMENT: {0: jitter}}\n"
    cfg = config.load(write(tmp_path, "own.yaml", text))
    assert cfg.LOSSES == [{"NAME": "softmax", "WEIGHT": 2}, {"NAME": "triplet", "MARGIN": 0.5}, "center"]
    assert cfg.INPUT.AUGMENT == ["jitter", {"NAME": "crop", "PAD": 10}]
    other = config.load(write(tmp_path, "other.yaml", "_BASE_: base.yaml\nLOSSES: {1: {NAME: circle}}\n"))
    assert other.LOSSES == ["softmax", {"NAME": "circle"}]
    assert config.load(tmp_path / "base.yaml").LOSSES == ["softmax", {"NAME": "triplet", "MARGIN": 0.3}]
    for wrong in ("{3: center}", "{NAME: center}", "{-1: center}"):
        path = write(tmp_path, "wrong.yaml", f"_BASE_: base.yaml\nLOSSES: {wrong}\n")
        with pytest.raises(ValueError, match=r"config: LOSSES\.(3|NAME|-1): no entry .*; the list has 2 entries"):
            config.load(path)


def test_views_are_lists_under_any_name(tmp_path):
    write(tmp_path, "base.yaml", "INPUT: {VIEWS: {strong: [flip, jitter], weak: []}}\n")
    path = write(tmp_path, "own.yaml", "_BASE_: base.yaml\nINPUT: {VIEWS: {strong: {1: {HUE: 0.2}}, third: [crop]}}\n")
    cfg = config.load(
        path, ["INPUT.VIEWS.weak.0", "erasing", "INPUT.VIEWS.weak.0.PROB", "1", "INPUT.VIEWS.new", "[flip]"]
    )
    assert dict(cfg.INPUT.VIEWS) == {
        "strong": ["flip", {"NAME": "jitter", "HUE": 0.2}],
        "weak": [{"NAME": "erasing", "PROB": 1}],
        "third": ["crop"],
        "new": ["flip"],
    }
    assert config.differences(cfg, config.parse(config.dump(cfg))) == {}
    assert list(config.differences(cfg, config.load(path))) == ["INPUT.VIEWS.new", "INPUT.VIEWS.weak"]
    assert config.load().INPUT.VIEWS == {}


@pytest.mark.parametrize("key", config.MOVED)
def test_a_key_that_moved_is_refused_with_its_new_spelling(tmp_path, key):
    room, name = key.split(".")
    path = write(tmp_path, "own.yaml", f"{room}: {{{name}: 0}}\n")
    for read in (lambda: config.load(path), lambda: config.load(None, [key, "0"])):
        with pytest.raises(ValueError, match=rf"config: {key} has moved; write {room}\.[A-Z]+: \[") as error:
            read()
        assert "\n" not in str(error.value)


def test_every_new_spelling_is_one_that_is_taken():
    for key, spelling in config.MOVED.items():
        block, _, override = spelling.partition("; ")
        now, _, said = block.replace("..., ", "").replace(", ...", "").partition(": ")
        assert "..." not in said
        cfg = config.load(None, [now, said])
        for entry in config.values(cfg, [now])[now]:
            registry.make(registry.ENTRIES[now], entry, size=(64, 32))
        if override:
            config.load(None, [override.rpartition(" ")[2], "2"])
        with pytest.raises(ValueError, match="has moved"):
            config.values(cfg, [key])


def test_free_block_keeps_its_options_unless_another_name_is_given(tmp_path):
    write(tmp_path, "base.yaml", "METHOD: {NAME: dimn, TEMPERATURE: 0.1}\n")
    same = config.load(write(tmp_path, "same.yaml", "_BASE_: base.yaml\nMETHOD: {SCALE: 2}\n"))
    other = config.load(write(tmp_path, "other.yaml", "_BASE_: base.yaml\nMETHOD: {NAME: baseline}\n"))
    assert dict(same.METHOD) == {"NAME": "dimn", "TEMPERATURE": 0.1, "SCALE": 2}
    assert dict(other.METHOD) == {"NAME": "baseline"}


def test_whole_free_block_as_override_keeps_its_name():
    cfg = config.load(None, ["SAMPLER", "{NUM_INSTANCES: 8}"])
    assert dict(cfg.SAMPLER) == {"NAME": "identity", "NUM_INSTANCES": 8}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.LRR", "1"], r"no key SOLVER\.LRR; did you mean SOLVER\.LR\?"),
        (["BATCH_SIZE", "1"], r"did you mean DATALOADER\.BATCH_SIZE\?"),
        (["SOLVR.LR", "1"], r"no key SOLVR\.LR; did you mean SOLVER\.LR\?"),
        (["SOLVER.EPOCHS", "1.5"], "SOLVER.EPOCHS is 1.5 .* expected a whole number"),
        (["SOLVER.LR", "fast"], "SOLVER.LR is 'fast' .* expected a number"),
        (["MODEL.NECK", "1"], "MODEL.NECK is 1 .* expected True or False"),
        (["INPUT.SIZE", "256"], "INPUT.SIZE is 256 .* expected a list"),
        (["SOLVER", "3"], "SOLVER is 3; expected a block"),
        (["METHOD", "baseline"], "METHOD is 'baseline'; expected a block"),
        (["LOSSES.0.MARGIN", "1"], "the list has 0 entries"),
        (["LOSSES.1", "softmax"], "the list has 0 entries"),
        (["INPUT.VIEWS", "[flip]"], r"INPUT\.VIEWS is \['flip'\]; expected a block with a list under each name"),
        (["INPUT.VIEWS.strong", "flip"], r"INPUT\.VIEWS\.strong is 'flip' .* expected a list"),
        (["INPUT.VIEWS.strong.0", "flip"], r"no key INPUT\.VIEWS\.strong\.0; did you mean INPUT\.VIEWS"),
        (["INPUT.VIEW", "{}"], r"no key INPUT\.VIEW; did you mean INPUT\.VIEWS"),
        (["SEED.X", "1"], "SEED, which is 0 and has no parts"),
        (["SEED"], "pairs KEY VALUE"),
    ],
)
def test_wrong_override_is_one_clear_line(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        config.load(None, overrides)
    assert "\n" not in str(error.value)


def test_output_dir_follows_the_configs_path(tmp_path):
    path = write(tmp_path, "configs/dimn/own.yaml", "SEED: 1\n")
    assert Path(config.load(path).OUTPUT_DIR) == Path("runs", "dimn", "own")
    assert config.load(path, ["OUTPUT_DIR", "elsewhere"]).OUTPUT_DIR == "elsewhere"


def test_root_comes_from_the_environment_in_order(monkeypatch):
    for name in ("REID_DATASETS", "FASTREID_DATASETS"):
        monkeypatch.delenv(name, raising=False)
    assert config.load().DATASETS.ROOT == "datasets"
    monkeypatch.setenv("FASTREID_DATASETS", "second")
    assert config.load().DATASETS.ROOT == "second"
    monkeypatch.setenv("REID_DATASETS", "first")
    assert config.load().DATASETS.ROOT == "first"
    assert config.load(None, ["DATASETS.ROOT", "given"]).DATASETS.ROOT == "given"


def test_values_of_blocks_are_those_that_differ_from_their_default_and_paths_by_their_last_part():
    words = ["MODEL.BACKBONE.WEIGHTS", "some/where/net.pth", "SAMPLER.NUM_INSTANCES", "4", "MODEL.NECK", "True"]
    cfg = config.load(None, words)
    assert config.values(cfg, ["MODEL", "SAMPLER", "SOLVER.MAX_STEPS", "INPUT"]) == {
        "MODEL.BACKBONE.WEIGHTS": "net.pth",
        "SAMPLER.NUM_INSTANCES": 4,
        "SOLVER.MAX_STEPS": 0,
    }
    with pytest.raises(ValueError, match=r"no key MODEL\.DIMM; did you mean MODEL\.DIM"):
        config.values(cfg, ["MODEL.DIMM"])


def test_values_of_a_mapping_are_taken_as_they_are(tmp_path):
    assert config.load(None, ["METHOD.OPTION", "2024"]).METHOD.OPTION == 2024
    cfg = config.load(
        None, {"METHOD.OPTION": "2024", "LOSSES": ["softmax"], "INPUT.SIZE": (64, 32), "OUTPUT_DIR": tmp_path}
    )
    assert (cfg.METHOD.OPTION, cfg.LOSSES, cfg.INPUT.SIZE) == ("2024", ["softmax"], [64, 32])
    assert config.parse(config.dump(cfg)) == cfg
    assert str(tmp_path) == cfg.OUTPUT_DIR


def test_loaded_config_is_frozen():
    with pytest.raises(AttributeError):
        config.load().SEED = 4


def test_every_key_is_read_by_build():
    """A key nothing reads would be a setting that silently does nothing."""
    text = "".join(path.read_text() for path in Path("reid/builder").glob("*.py"))
    whole_blocks = ("MEMORY", "METHOD", "SAMPLER")  # handed on as they are
    keys = [k for k in config._leaves(config._plain(config.defaults())) if k.partition(".")[0] not in whole_blocks]
    unread = [key for key in keys if f"cfg.{key}" not in text and f"solver.{key.rpartition('.')[2]}" not in text]
    assert unread == []
