"""Seconds until `--help` is printed, against importing torch alone: no command may load torch before it has parsed.

The processes compute and do not wait, so on a quiet machine these are CPU seconds.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import _bench

from reid import commands

PEER = (sys.executable, "-c", "import torch")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def prepare(words: list[str]):
    return partial(run, sys.executable, "-m", "reid", *words, "--help"), partial(run, *PEER)


if __name__ == "__main__":
    cases = {"reid": [], **{f"reid {name}": [name] for name in commands.names()}}
    _bench.main(
        [_bench.Case(name, "import torch", partial(prepare, words)) for name, words in cases.items()], __doc__ or ""
    )
