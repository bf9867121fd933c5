"""Seconds until `--help` is printed, against importing torch alone: no tool may load torch before it has parsed.

The processes compute and do not wait, so on a quiet machine these are CPU seconds.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import _bench

TOOLS = Path(__file__).resolve().parents[1] / "tools"
PEER = (sys.executable, "-c", "import torch")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def prepare(tool: Path):
    return partial(run, sys.executable, str(tool), "--help"), partial(run, *PEER)


if __name__ == "__main__":
    tools = sorted(TOOLS.glob("*.py"))
    _bench.main([_bench.Case(tool.stem, "import torch", partial(prepare, tool)) for tool in tools], __doc__ or "")
