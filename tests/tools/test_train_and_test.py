"""The tools are thin: quick to answer, and every mistake of a person is one line and status 2."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(p.name for p in (ROOT / "tools").glob("*.py"))
WITHOUT_TORCH = """
import runpy, sys
sys.argv = [{tool!r}, "--help"]
try:
    runpy.run_path({tool!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
assert not {{"torch", "cv2", "numpy", "timm"}} & set(sys.modules), sorted(sys.modules)
"""


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("tool", TOOLS)
def test_help_loads_nothing_heavy(tool):
    result = run("-c", WITHOUT_TORCH.format(tool=f"tools/{tool}"))
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout


def test_num_gpus_answers_with_the_torchrun_command():
    result = run("tools/train_net.py", "--config", "x.yaml", "--num-gpus", "4", "SOLVER.LR", "0.1")
    assert result.stdout.strip() == "torchrun --nproc-per-node 4 tools/train_net.py --config x.yaml SOLVER.LR 0.1"


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
