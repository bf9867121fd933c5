"""Every block of docs/library.md, and the first lines of README.md and docs/models.md, run as they stand, in a folder of their own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid.data.datasets import walkers

ROOT = Path(__file__).resolve().parents[1]


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


LIBRARY = blocks("docs/library.md")
LONG = [block for block in LIBRARY if "reid.train(" in block or block.startswith("# mypackage")]
QUICK = [block for block in LIBRARY if block not in LONG]


def run(block: str, folder: Path) -> str:
    """What the block prints as a script that must end well; one whose first line is `# folder/name.py` is that file, and only written."""
    named = re.match(r"# (\S+\.py)\n", block)
    path = folder / (named[1] if named else "script.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block)
    if named:
        return ""
    command = [sys.executable, "-W", "error", path.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_has_its_blocks():
    assert (len(QUICK), len(LONG)) == (3, 4)


@pytest.mark.parametrize("number", range(len(QUICK)))
def test_block_runs(number, tmp_path):
    said = run(QUICK[number], tmp_path)
    assert bool(said) == ("print(" in QUICK[number])


@pytest.mark.parametrize("page", ["README.md", "docs/models.md"])
def test_two_pictures_and_a_score_by_the_model_that_ships(page, tmp_path):
    """A person of a drawn place is more like himself in another picture than like somebody else."""
    block = next(block for block in blocks(page) if "walkers-tiny" in block)
    tree = walkers.load(tmp_path / "walkers", domain="bridge", ids=2, pictures=4, size=(128, 64))
    first, *rest = sorted(tree.trials[0].query + tree.trials[0].gallery, key=lambda sample: sample.pid)
    same, other = rest[0], rest[-1]
    assert first.pid == same.pid != other.pid
    for name, sample in {"a.jpg": first, "b.jpg": same, "c.jpg": other}.items():
        shutil.copy(sample.path, tmp_path / name)
    alike, unlike = map(float, re.findall(r"-?\d[\d.e-]*", run(block, tmp_path)))
    assert alike > unlike


@pytest.mark.slow
def test_training_from_python_and_with_a_method_of_another_package(tmp_path):
    training, method, use, _ = LONG
    assert "bridge" in run(training, tmp_path)
    assert (tmp_path / "runs" / "short" / "model_final.pth").exists()
    run(method, tmp_path)
    assert run(use, tmp_path).startswith("<mypackage.methods:Spread on tiny from a checkpoint")


@pytest.mark.slow
def test_own_pictures_in_five_lines(tmp_path):
    block = next(block for block in blocks("README.md") if "configs/own.yaml" in block)
    assert len(block.split("import reid\n")[1].split()) > 1
    assert sum(bool(line.strip()) for line in block.splitlines()) <= 5
    rng = np.random.default_rng(0)
    for part, classes in (("train", range(16)), ("test", range(16, 24))):
        for number in classes:
            folder = tmp_path / "datasets" / "mine" / part / f"thing {number}"
            folder.mkdir(parents=True)
            colour = rng.integers(0, 256, 3)
            for picture in range(4):
                noisy = np.clip(colour + rng.normal(0, 8, (40, 30, 3)), 0, 255).astype(np.uint8)
                assert cv2.imwrite(str(folder / f"{picture}.jpg"), noisy)
    for name in ("a.jpg", "b.jpg"):
        assert cv2.imwrite(str(tmp_path / name), noisy)
    assert cv2.imwrite(str(tmp_path / "c.jpg"), 255 - noisy)
    same, other = map(float, re.findall(r"-?\d[\d.e-]*", run(block, tmp_path)))
    assert same > other
