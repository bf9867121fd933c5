"""Checkpoints: tensors and plain Python only, written so that an interruption leaves the old file whole."""

from __future__ import annotations

import contextlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

FORMAT = "reid checkpoint"
VERSION = 2


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Writes `content` to `path` by way of a temporary file beside it, flushed to the disk and renamed.

    Raises OSError when the disk is full or not writable; what stood at `path` before is still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, "version": VERSION, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps a failed write in a RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        kept = "the checkpoint before it is kept" if path.exists() else "there was none before it"
        raise OSError(
            f"checkpoint: {path} could not be written ({_first_line(error)}); {kept}. Is the disk full?"
        ) from error


def load(path: str | Path) -> dict[str, Any]:
    """The content `save` wrote, on the CPU. Nothing in the file is executed.

    Raises FileNotFoundError, or ValueError for a file that is truncated, hostile, not ours, or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: no file {path}; expected one written by reid train")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles torch did not write: what they are is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"checkpoint: {path} holds more than tensors and plain Python, or is no checkpoint at all; "
            "it was refused and nothing in it was executed"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise ValueError(
            f"checkpoint: {path} ({path.stat().st_size:,} bytes) cannot be read: {_first_line(error)}; "
            "it may be cut short. Use an older checkpoint of the run"
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint: {path} is not a checkpoint of this toolkit; "
            "bare weights go into MODEL.BACKBONE.WEIGHTS instead"
        )
    if content.get("version") != VERSION:
        raise ValueError(
            f"checkpoint: {path} has format version {content.get('version')}; this release reads version {VERSION}"
        )
    return content


def load_state(module: torch.nn.Module, state: dict[str, Any], path: str | Path) -> None:
    """Puts `state` into `module`, or raises a ValueError naming the keys and shapes that do not fit."""
    own = module.state_dict()
    problems = [f"missing {k}" for k in sorted(own.keys() - state.keys())]
    problems += [f"unexpected {k}" for k in sorted(state.keys() - own.keys())]
    problems += [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(v.shape)}"
        for k, v in own.items()
        if isinstance(v, torch.Tensor) and k in state and state[k].shape != v.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(f"checkpoint: {path} does not fit this config's model: {shown}. Use the config of its own run")
    module.load_state_dict(state)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
