"""Checkpoints: tensors and plain Python only, written so that an interruption leaves the old file whole."""

from __future__ import annotations

import contextlib
import os
import pickle
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, get_type_hints

import torch
from torch import Tensor

from reid import digest, errors, schema, shipped, version1, whole

VERSION = 2


class Progress(TypedDict):
    """`reid.trainer.Progress`"""

    epoch: int
    batch: int
    step: int
    best: float
    lengths: dict[str, int]
    counts: dict[str, Tensor]
    skipped: int
    in_a_row: int


class Protocol(TypedDict):
    """`reid.evaluation.protocol.describe`"""

    sources: list[dict[str, Any]]
    targets: list[dict[str, Any]]
    rules: dict[str, Any]


class Besides(TypedDict, total=False):
    """What not every checkpoint holds."""

    average: dict[str, Tensor]  # `reid.average.Average.values`, of a run that keeps one
    pictures: Tensor  # (N,) int64, `reid.data.looks.Look.number` of each training picture; not in older ones
    results: list[dict[str, Any]]  # of a shipped model: the rows of its last scoring


class Content(Besides):
    """What every checkpoint holds, beside `digest.HEADER`."""

    config: str  # YAML, for `reid.config.parse`
    protocol: Protocol
    notes: list[str]  # of the sources, and of how the run went on
    plugins: list[dict[str, str]]  # `reid.builder.plugins.origin` of each
    label_map: dict[str, list[int]]  # source -> its pids in the order of their classes
    num_samples: int  # training pictures
    processes: int  # that trained; 0: not known
    model: dict[str, Any]  # a method's state_dict: tensors, and the extra state that a module keeps of its own
    progress: Progress


class Resumable(Content):
    """And what a run needs besides to go on from it."""

    optimizer: dict[str, Any]
    scale: dict[str, Any]
    plan: dict[str, Tensor | None] | None
    drift: dict[int, Tensor]
    random: list[dict[str, Any]]  # of each process
    scored: bool  # False: the scoring that was due had not come to its end


def save(path: str | Path, content: dict[str, Any]) -> None:
    """Writes `content`, a `Content` or `Resumable`, to `path` by way of a temporary file beside it, flushed to the disk and
    renamed.

    Raises OSError when the disk is full or not writable; what stood at `path` before is still there.
    """
    path = Path(path)
    content = {name: value for name, value in content.items() if name not in digest.HEADER}
    _check(content, f"checkpoint: {path}")
    header = {"format": digest.FORMAT, "version": VERSION, "digest": digest.of(content)}
    try:
        with whole.writing(path) as file:
            torch.save({**header, **content}, file)
    except (OSError, RuntimeError) as error:  # torch wraps a failed write in a RuntimeError
        if errors.lost_worker(error):  # which may be told of anywhere
            raise
        kept = "the checkpoint before it is kept" if path.exists() else "there was none before it"
        raise OSError(
            f"checkpoint: {path} could not be written ({_first_line(error)}); {kept}. Is the disk full?"
        ) from error


def load(path: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """The `Content` that `save` wrote, or that of a shipped model by its name, on the CPU; of VERSION 1 in today's words. Nothing in the file is executed.

    resume: it must be a `Resumable`.

    Raises FileNotFoundError, or ValueError for a file that is truncated, changed, hostile, malformed, not ours, or of another
    version.
    """
    path = shipped.find(path)
    where = f"checkpoint: {path}"
    content = _read(path)
    version = content.get("version")
    if type(version) is not int or version not in (1, VERSION):
        raise ValueError(f"{where} has format version {version}; this release reads the versions 1 and {VERSION}")
    if version == 1 and resume:
        raise ValueError(
            f"{where} is of version 1, that of release 0.1.0: it can be scored, exported and used as weights, but no run goes on "
            "from it; train anew in another OUTPUT_DIR"
        )
    if version == 1:
        content = version1.content(content)
    else:
        digest.check(content, where)
        content = {name: value for name, value in content.items() if name not in digest.HEADER}
    _check(content, where)
    if version == 1:
        try:
            content["model"] = version1.state(content["model"])
        except ValueError as error:
            raise ValueError(f"{where} cannot be opened: {error}") from None
    if resume and "optimizer" not in content:
        raise ValueError(f"{where} holds weights alone; expected a run's model_last.pth to go on from")
    return content


def weights(content: dict[str, Any], path: str | Path, *, average: bool) -> dict[str, Any]:
    """A method's state as the checkpoint `path` holds it; average: with the running average in place of the last weights.

    Raises ValueError where that was not kept.
    """
    if average and "average" not in content:
        raise ValueError(
            f"checkpoint: {path} holds no average of weights; its run had SOLVER.EMA 0: set TEST.EMA False"
        )
    return {**content["model"], **(content["average"] if average else {})}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint: no file {path}; expected one written by reid train, {shipped.known()}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles torch did not write: what they are is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"checkpoint: {path} holds more than tensors and plain Python, or is no checkpoint at all; "
            "it was refused and nothing in it was executed"
        ) from None
    except Exception as error:  # a damaged file can fail in any way a parser can
        raise ValueError(
            f"checkpoint: {path} ({path.stat().st_size:,} bytes) cannot be read: {_first_line(error)}; "
            "it may be cut short. Use an older checkpoint of the run"
        ) from None
    if not isinstance(content, dict) or str(content.get("format")) != digest.FORMAT:
        raise ValueError(
            f"checkpoint: {path} is not a checkpoint of this toolkit; "
            "bare weights go into MODEL.BACKBONE.WEIGHTS instead"
        )
    return content


def _check(content: dict[str, Any], where: str) -> None:
    """Raises ValueError where `content` is neither a `Content` nor, with an optimiser, a `Resumable`."""
    try:
        schema.check(content, Resumable if "optimizer" in content else Content)
        pictures = content.get("pictures", torch.zeros(0, dtype=torch.int64))
        if not _is_plain(pictures) or pictures.ndim != 1 or pictures.dtype != torch.int64:
            raise ValueError(f"pictures is {pictures.dtype} {tuple(pictures.shape)}, expected a list of int64")
        for name, value in content["model"].items():
            if not _is_plain(value) and not name.endswith("_extra_state"):
                raise ValueError(f"model.{name} is of type {type(value).__name__}, expected a plain tensor")
        progress = content["progress"]
        counters = {name: count for name, count in progress.items() if isinstance(count, int)} | progress["lengths"]
        for name, count in {**counters, "num_samples": content["num_samples"]}.items():
            if count < 0:
                raise ValueError(f"{name} is {count}, expected 0 or more")
    except ValueError as error:
        raise ValueError(f"{where} is malformed: {error}") from None


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def final(content: dict[str, Any], lengths: dict[str, int], without: Sequence[str]) -> dict[str, Any]:
    """`model_final.pth` from the content of `model_last.pth`: without what only training needs, `without` being what the names
    of such weights begin with; `lengths` are those of the line files now."""
    kept = {name: content[name] for name in get_type_hints(Content) if name in content}
    kept["model"] = {key: value for key, value in kept["model"].items() if not key.startswith(tuple(without))}
    return {**kept, "progress": {**kept["progress"], "lengths": lengths}}


def keep(path: Path, step: int, number: int) -> None:
    """Gives the checkpoint of `step` at `path` a second name, by which it stays when the next one takes its place.

    Of those of earlier steps the last `number` stay. Raises OSError where files cannot have two names.
    """
    name = path.with_name(f"model_step{step}.pth")
    try:
        name.unlink(missing_ok=True)
        os.link(path, name)
    except OSError as error:
        raise OSError(
            f"checkpoint: {name} could not be made ({_first_line(error)}); {path} is whole. Set SOLVER.KEEP 0 where the file "
            "system has no hard links"
        ) from error
    steps = sorted(int(p.stem[10:]) for p in path.parent.glob("model_step*.pth") if p.stem[10:].isdigit())
    for old in [s for s in steps if s < step][:-number]:
        path.with_name(f"model_step{old}.pth").unlink()


def load_state(module: torch.nn.Module, state: dict[str, Any], path: str | Path, *, resume: bool = False) -> None:
    """Puts `state` into `module`, or raises a ValueError naming the keys and shapes that do not fit.

    resume: it must have what only training needs, too (`Method.only_training`).
    """
    own = module.state_dict()
    spared = () if resume else getattr(module, "only_training", ())
    problems = [f"missing {k}" for k in sorted(own.keys() - state.keys()) if not k.startswith(spared)]
    problems += [f"unexpected {k}" for k in sorted(state.keys() - own.keys())]
    problems += [
        f"{k} is {tuple(state[k].shape)}, expected {tuple(v.shape)}"
        for k, v in own.items()
        if isinstance(v, torch.Tensor) and k in state and state[k].shape != v.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise ValueError(f"checkpoint: {path} does not fit this config's model: {shown}. Use the config of its own run")
    with fitting(path):
        module.load_state_dict(state, strict=False)


@contextlib.contextmanager
def opening(path: str | Path) -> Iterator[None]:
    """Whatever fails within, where the method of the checkpoint `path` is made anew, is an error of one line."""
    try:
        yield
    except errors.MENDABLE:
        raise
    except Exception as error:  # sizes that no memory holds, options that no constructor foresaw
        raise ValueError(
            f"checkpoint: {path} cannot be opened: what its config asks for cannot be made ({type(error).__name__}: "
            f"{_first_line(error)}). Use another copy"
        ) from error


@contextlib.contextmanager
def fitting(path: str | Path) -> Iterator[None]:
    """Whatever fails within, for a part of the checkpoint `path` that a module of its own reads, is a ValueError of one line."""
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"checkpoint: {path} does not fit this config ({type(error).__name__}: {_first_line(error)}). "
            "Use the config of its own run"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
