"""The package: what is in a wheel, that it works outside the checkout, and that nothing names what a stranger could publish."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import reid

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "reid", "configs")


def test_no_text_installs_a_published_name():
    texts = [path for part in ("reid", "docs", "configs", "datasets", "tools") for path in (ROOT / part).rglob("*")]
    texts = [path for path in texts if path.suffix in (".py", ".md", ".yaml")] + sorted(ROOT.glob("*.md"))
    assert len(texts) > 200
    taken = re.compile(r"pip install [^`\n]*(?<![./\w-])(dg-)?reid\b(?!\.)")
    assert taken.search("pip install 'reid[plot]'")
    assert [f"{path}: {found[0]}" for path in texts if (found := taken.search(path.read_text(encoding="utf-8")))] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the checkout without what earlier builds left in it."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"))
        else:
            shutil.copy(ROOT / part, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", folder / "dist", folder], check=True)
    (made,) = (folder / "dist").iterdir()
    return made


@pytest.mark.slow
def test_wheel_holds_recipes_kernels_types_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (about,) = (name.rpartition("/")[0] for name in names if name.endswith("dist-info/METADATA"))
        metadata = Parser().parsestr(file.read(f"{about}/METADATA").decode())
        commands = file.read(f"{about}/entry_points.txt").decode()
    assert (metadata["Name"], metadata["Version"]) == ("dg-reid", reid.__version__)
    assert "reid = reid.commands:main" in commands
    recipes = {f"reid/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    modules = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "reid").rglob("*.py*") if "__pycache__" not in path.parts
    }
    splits = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reid/data/splits").glob("*.json")}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reid/pages/templates").iterdir()}
    assert recipes | modules | splits | templates | {"reid/py.typed"} <= names
    kernels = {f"{path.relative_to(ROOT).with_suffix('').as_posix()}." for path in (ROOT / "reid").rglob("_*.c")}
    assert kernels
    assert [
        kernel
        for kernel in kernels
        if not any(name.startswith(kernel) and name[-3:] in (".so", "pyd") for name in names)
    ] == []
    assert {name.partition("/")[0] for name in names} == {"reid", about}  # no tests, tools or benchmarks


@pytest.mark.slow
def test_wheel_works_outside_the_checkout(wheel, tiny_world, tmp_path):
    """In an environment of its own, which sees this one's other packages by a path file."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    binaries = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def call(program: str, *words: str | Path) -> str:
        command = [binaries / program, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    assert call("reid", "--help").startswith("usage: reid ")  # with none of its dependencies
    place = Path(call("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # A folder named in a path file is searched, and the path files in it (an editable installation's) are not read.
    (place / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    assert Path(call("python", "-c", "import reid; print(reid.__file__)").strip()) == place / "reid" / "__init__.py"
    small = ["DATASETS.ROOT", tiny_world, "DATASETS.SOURCES", "[{NAME: folder, PATH: source_a}]"]
    small += ["DATASETS.TARGETS", "[{NAME: folder, PATH: target}]", "DATALOADER.BATCH_SIZE", "16"]
    small += ["SOLVER.MAX_STEPS", "2", "SOLVER.WARMUP_STEPS", "0", "INPUT.SIZE", "[32, 16]", "DEVICE", "cpu"]
    call("reid", "train", "--config", "configs/demo.yaml", *small)
    assert (tmp_path / "runs" / "demo" / "model_final.pth").exists()
    call("python", "-c", "from reid.evaluation import _neighbours, _rank")
    study = tmp_path / "study.yaml"
    study.write_text("SEEDS: [0]\nCONFIG: configs/demo.yaml\nROWS: {one: }\n")
    call("reid", "study", study, *small)
    assert (tmp_path / "runs" / "study" / "one" / "seed0" / "model_final.pth").exists()
