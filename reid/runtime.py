"""What a run stands on: seed, device, processes, the log."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import random
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

import reid
from reid import escape

log = logging.getLogger("reid")
_told: set[str] = set()


def seed(value: int) -> None:
    """Seeds every global generator; batches and augmentation have generators of their own."""
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


@contextlib.contextmanager
def single_precision() -> Iterator[None]:
    """Within, torch makes float32 where no type is said, as networks do; outside it is a caller's own choice."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def device(name: str) -> torch.device:
    """The device of a config's DEVICE. Raises ValueError for one that is not there, or of a kind that is not used here."""
    if name == "auto":
        return (
            torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            if torch.cuda.is_available()
            else torch.device("cpu")
        )
    try:
        chosen = torch.device(name)
    except RuntimeError:
        chosen = torch.device("meta")
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"DEVICE is {name}; expected auto, cpu, cuda or cuda:N")
    found = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if (chosen.index or 0) >= found:
        raise ValueError(f"DEVICE is {name} and torch finds {found} CUDA device(s); use another, DEVICE cpu, or auto")
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


def start_log(path: Path | None) -> None:
    """Log lines go to stderr and, from here on, to the file `path`; only the first process says anything."""
    _told.clear()
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


def log_once(line: str) -> None:
    """A line of any process, not of the first alone, which stands in a log once."""
    if line not in _told:
        _told.add(line)
        log.error("%s", line)


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
