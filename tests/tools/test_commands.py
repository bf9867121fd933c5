"""The command and the tools that call it: quick to answer, and every mistake of a person is one line and status 2."""

import subprocess
import sys
from pathlib import Path

import pytest

from reid import commands, config

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(p.name for p in (ROOT / "tools").glob("*.py"))
HEAVY = {"torch", "cv2", "numpy", "timm", "yaml", "importlib.metadata"}
LIGHT = f"""
import runpy, sys
path, *words = sys.argv[1:]
sys.argv = [path, *words, "--help"]
try:
    runpy.run_path(path, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
assert not {HEAVY} & set(sys.modules), sorted(sys.modules)
"""


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("tool", TOOLS)
def test_help_of_a_tool_loads_nothing_heavy(tool):
    result = run("-c", LIGHT, f"tools/{tool}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: reid ")


def test_help_names_every_command_and_loads_nothing_heavy():
    result = run("-c", LIGHT, "reid/__main__.py")
    assert result.returncode == 0, result.stderr
    for name in commands.names():
        assert f"\n  {name} " in result.stdout
    assert {
        "train",
        "test",
        "export",
        "check",
        "summarize",
        "study",
        "draw",
        "convert",
        "demo",
        "plot",
        "embed",
        "index",
        "search",
        "calibrate",
        "report",
        "ship",
    } == set(commands.names())


def test_every_command_has_a_tool():
    called = "".join((ROOT / "tools" / tool).read_text() for tool in TOOLS)
    assert [name for name in commands.names() if f'main(["{name}",' not in called] == []


def test_no_command_and_an_unknown_one_are_answered_with_those_there_are():
    for words in ([], ["trian"]):
        result = run("-m", "reid", *words)
        assert (result.returncode, result.stdout) == (2, "")
        assert "COMMAND" in result.stderr
        assert not words or "'trian' (choose from" in result.stderr


def test_version():
    assert run("-m", "reid", "--version").stdout.startswith("dg-reid ")


def test_num_gpus_answers_with_the_torchrun_command():
    result = run("tools/train_net.py", "--config", "x.yaml", "--num-gpus", "4", "LOSSES", "[a, b]")
    assert result.stdout.strip() == "torchrun --nproc-per-node 4 -m reid train --config x.yaml LOSSES '[a, b]'"


def test_both_spellings_of_config_and_a_refused_python_config(tmp_path):
    (tmp_path / "cfg.py").write_text("raise SystemExit('executed')")
    for option in ("--config", "--config-file"):
        result = run("tools/train_net.py", option, str(tmp_path / "cfg.py"))
        assert result.returncode == 2
        assert result.stderr.startswith("error: config: ")
        assert result.stderr.count("\n") == 1


def test_an_option_with_dashes_is_explained():
    result = run("tools/test_net.py", "--lr", "0.1")
    assert result.returncode == 2
    assert "unknown option --lr; config keys are given as KEY VALUE" in result.stderr


# ---- the other distribution of this import name


def installed(folder: Path, name: str, *, files: bool = True) -> Path:
    """A folder as pip leaves it after installing a distribution that brings a package `reid`."""
    about = folder / f"{name}-9.9.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
    if files:
        (folder / "reid").mkdir()
        (folder / "reid" / "__init__.py").touch()
    return folder


@pytest.fixture
def look(monkeypatch):
    """A function that looks for another `reid` on a path of one folder, where ours is if `ours` says so."""

    def call(folder: Path, *, ours: bool = False) -> None:
        monkeypatch.setattr(sys, "path", [str(folder)])
        if ours:
            monkeypatch.setattr(commands.reid, "__file__", str(folder / "reid" / "__init__.py"))
        commands._look_for_another_reid()

    return call


def test_another_distribution_of_this_name_is_told(look, tmp_path, capsys):
    look(installed(tmp_path, "reid"))
    assert f"note: found the distribution reid 9.9 in {tmp_path / 'reid'}" in capsys.readouterr().err


def test_two_distributions_in_one_folder_are_refused(look, tmp_path):
    with pytest.raises(ValueError, match="mixed with the files of dg-reid; expected one of the two"):
        look(installed(tmp_path, "reid"), ours=True)


def test_this_one_alone_and_an_entry_without_files_are_passed_over(look, tmp_path, capsys):
    look(installed(tmp_path / "a", "dg-reid"), ours=True)
    look(installed(tmp_path / "b", "reid", files=False))
    assert capsys.readouterr().err == ""


# ---- recipes


def test_recipes_are_found_from_anywhere_and_run_folders_keep_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = config.load("configs/dimn/walkers.yaml")
    assert Path(cfg.OUTPUT_DIR) == Path("runs/dimn/walkers")
    assert cfg.METHOD.NAME == "dimn"


def test_a_recipe_of_the_working_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text("SEED: 7\n")
    assert config.load("configs/demo.yaml").SEED == 7


def test_own_recipe_starts_from_one_of_the_package(tmp_path):
    (tmp_path / "own.yaml").write_text("_BASE_: configs/demo.yaml\nSEED: 7\n")
    cfg = config.load(tmp_path / "own.yaml")
    assert (cfg.SEED, cfg.MODEL.BACKBONE.NAME) == (7, "tiny")


def test_a_recipe_that_is_nowhere_is_named_with_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file configs/demoo.yaml or .*configs/demoo.yaml; expected"):
        config.load("configs/demoo.yaml")
