"""What a run stands on: seed, device, processes, the log, the run's folder."""

from __future__ import annotations

import json
import logging
import os
import platform
import random
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

import reid
from reid import escape

log = logging.getLogger("reid")


def seed(value: int) -> None:
    """Seeds every global generator; batches and augmentation have generators of their own."""
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


def device(name: str) -> torch.device:
    """The device of a config's DEVICE. Raises ValueError for a GPU that is not there."""
    if name == "auto":
        return (
            torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            if torch.cuda.is_available()
            else torch.device("cpu")
        )
    try:
        chosen = torch.device(name)
    except RuntimeError:
        raise ValueError(f"DEVICE is {name}; expected auto, cpu, cuda or cuda:N") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"DEVICE is {name} and torch finds no CUDA device; use DEVICE cpu, or auto")
    return chosen


def describe(device: torch.device) -> str:
    """The device for the log: what it is called, or that it is a CPU and with how many threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)}), {world()} process(es)"
    return f"{device} ({torch.get_num_threads()} threads{'' if torch.cuda.is_available() else '; no GPU found'})"


def random_state() -> dict[str, Any]:
    """The state of every global generator, as tensors and plain Python."""
    numpy_state = np.random.get_state(legacy=False)
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": {
            "key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
            "pos": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Puts every global generator back to what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    random.setstate(state["python"])
    kept = state["numpy"]
    np.random.set_state(
        ("MT19937", kept["key"].numpy().astype(np.uint32), kept["pos"], kept["has_gauss"], kept["gauss"])
    )
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def rank() -> int:
    """The number of this process among several (see `reid.processes`); 0 alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


class RunFolder:
    """OUTPUT_DIR: the log, the config, the environment, a line a logged step, a line a result.

    Only the first process writes. Line files can be cut back to the length they had at a checkpoint, so that a resumed
    run leaves the same files as an unbroken one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.writes = rank() == 0

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def open(self, config_text: str) -> None:
        """Makes the folder with config.yaml and environment.txt and sends the log to log.txt as well.

        Raises OSError where it cannot be written.
        """
        if self.writes:
            self.path.mkdir(parents=True, exist_ok=True)
            (self / "config.yaml").write_text(config_text, encoding="utf-8")
            (self / "environment.txt").write_text(environment(), encoding="utf-8")
        start_log(self / "log.txt" if self.writes else None)

    def append(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Adds JSON lines to `name`; each is written whole and flushed."""
        if self.writes and rows:
            with (self / name).open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))

    def lengths(self) -> dict[str, int]:
        """Bytes in every file of JSON lines."""
        return {p.name: p.stat().st_size for p in sorted(self.path.glob("*.jsonl"))}

    def cut(self, lengths: dict[str, int]) -> None:
        """Cuts every file of JSON lines back to `lengths`: what came after belongs to steps that will be taken again."""
        if self.writes:
            for path in self.path.glob("*.jsonl"):
                os.truncate(path, min(lengths.get(path.name, 0), path.stat().st_size))


def start_log(path: Path | None) -> None:
    """Log lines go to stderr and, from here on, to the file `path`; only the first process says anything."""
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    log.setLevel(logging.INFO if rank() == 0 else logging.ERROR)
    handlers: list[logging.Handler] = [_TqdmHandler()]
    if path is not None:
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(_Formatter("[%(asctime)s] %(message)s", "%m-%d %H:%M:%S"))
        log.addHandler(handler)


class _Formatter(logging.Formatter):
    """Whatever names of files and sets hold, a terminal only shows it."""

    def format(self, record: logging.LogRecord) -> str:
        return escape.lines(super().format(record))


class _TqdmHandler(logging.Handler):
    """Prints above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm  # here, so that a process that logs nothing does not load it

        tqdm.write(self.format(record), file=sys.stderr)


def environment() -> str:
    """The versions a result depends on, a line each."""
    packages = ("torch", "torchvision", "timm", "numpy", "scipy", "opencv-python", "faiss-gpu", "faiss-cpu")
    lines = [f"python {platform.python_version()}", f"system {platform.system()} {platform.machine()}"]
    lines.append(f"reid {reid.__version__}")
    for package in packages:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    if torch.cuda.is_available():
        lines.append(f"cuda {torch.version.cuda}, {torch.cuda.get_device_name()}")
    return "\n".join([*lines, f"threads {torch.get_num_threads()}", f"processes {world()}"]) + "\n"
