"""Embeddings kept on disk, so that scoring one model twice embeds once.

Embeddings of people are personal data: they are kept only where a caller names a folder (inside a run folder), and deleting
that folder deletes them all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid import processes, whole
from reid.data.records import Sample

logger = logging.getLogger(__name__)

CODE = (
    "models",
    "methods",
    *("data/records.py", "data/pictures.py", "data/loader.py", "data/transforms.py"),
    "evaluation/embed.py",
)
PLAIN = (bool, int, float, str, tuple, type(None))


def kept(folder: Path, title: str, key: str, num: int, compute: Callable[[], Tensor], *, writes: bool = True) -> Tensor:
    """What `compute` gives, (num, *shape) float32: read from `folder` if it is there, else computed and kept.

    title: what the file's name begins with. key: from `key`. writes: False where another process keeps it.
    Raises ValueError for a file that does not hold `num` embeddings.
    """
    path = Path(folder) / f"{title}-{key}.npy"
    if not processes.agree(int(not path.exists())):  # computing is shared, so all of them compute or none
        try:
            with path.open("rb") as file:  # np.load leaves one that it cannot read open
                rows = np.load(file, allow_pickle=False)
        except Exception as error:  # a damaged file can fail in any way a parser can
            raise ValueError(f"cache: {path} holds no embeddings ({error}); delete it") from error
        if not isinstance(rows, np.ndarray):
            raise ValueError(f"cache: {path} holds several arrays; expected one. Delete it")
        if rows.ndim < 2 or rows.shape[0] != num or rows.dtype != np.float32:
            raise ValueError(f"cache: {path} holds {rows.dtype} {rows.shape}; expected float32 ({num}, ...). Delete it")
        logger.info("%s: %s embeddings read from %s", title, format(num, ","), path)
        return torch.from_numpy(rows)
    rows = compute()
    if writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole.writing(path) as file:
            np.save(file, rows.numpy(), allow_pickle=False)
    return rows


def key(method: nn.Module, samples: Sequence[Sample], **choices: Any) -> str:
    """16 hex digits that change with anything an embedding depends on: weights, pictures, code, and `choices` by name."""
    parts = {
        "weights": weights(method),
        "pictures": pictures(samples),
        "code": code(),
        "torch": torch.__version__,
        **{name: _plain(value) for name, value in choices.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def weights(method: nn.Module) -> str:
    """sha256 of all tensors of a method, and of every plain setting of its modules."""
    sha = hashlib.sha256(type(method).__qualname__.encode())
    for name, module in method.named_modules():
        settings = {k: v for k, v in sorted(vars(module).items()) if isinstance(v, PLAIN) and k != "training"}
        sha.update(f"{name} {type(module).__qualname__} {settings}".encode())
    for name, tensor in sorted(method.state_dict().items()):
        if not isinstance(tensor, Tensor):  # where a memory stands; no embedding depends on it
            continue
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def pictures(samples: Iterable[Sample]) -> str:
    """sha256 of the list: each picture's path, and size and time of the file that it is, or that it lies in."""
    sha = hashlib.sha256()
    for sample in samples:
        sha.update(f"{sample.path}\t{_stamp(sample.path)}\n".encode())
    return sha.hexdigest()


@functools.cache
def code() -> str:
    """sha256 of the Python files between a picture's path and its embedding."""
    root = Path(__file__).parent.parent
    files = [
        path for name in CODE for path in ((root / name).rglob("*.py") if (root / name).is_dir() else [root / name])
    ]
    sha = hashlib.sha256()
    for path in sorted(files):
        sha.update(path.relative_to(root).as_posix().encode() + b"\n" + path.read_bytes())
    return sha.hexdigest()


def _stamp(path: str) -> str:
    """Size and time of a file; for a member of an archive, `archive.zip/member`, those of the archive."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    status = place.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _plain(value: Any) -> str:
    """An object's class and attributes; anything else as it prints."""
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return f"{type(value).__qualname__} {sorted(vars(value).items())}"
    return repr(value)
