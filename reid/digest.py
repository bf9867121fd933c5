"""By what a checkpoint is known, and known to be whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

FORMAT = "reid checkpoint"
HEADER = ("format", "version", "digest")  # what stands in a checkpoint beside its content


def of(content: Mapping[str, Any]) -> str:
    """The sha256 of tensors (type, shape and bytes, whatever their layout) and plain Python, in the order they stand.

    It tells of an accident. It is no signature: who can write a file can write its digest.
    Raises ValueError for what is neither a tensor nor plain Python.
    """
    sha256 = hashlib.sha256()
    _feed(sha256, {name: value for name, value in content.items() if name not in HEADER})
    return sha256.hexdigest()


def check(content: Mapping[str, Any], where: str) -> None:
    """Raises ValueError where `content` is no longer what its `digest` was made of, or has none."""
    written = content.get("digest")
    if not isinstance(written, str):
        raise ValueError(f"{where} is malformed: digest is {'of another type' if 'digest' in content else 'missing'}")
    try:
        found = of(content)
    except Exception as error:  # whatever a file can claim to be a tensor
        raise ValueError(f"{where} is malformed: {str(error).partition(chr(10))[0]}") from None
    if found != written:
        raise ValueError(
            f"{where}: found content of sha256 {found[:16]}, expected {written[:16]}, with which it was "
            "written; a disk or a copy has changed it. Use another copy, or an older checkpoint of the run"
        )


def _feed(sha256: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        if value.numel() * value.itemsize > max(value.untyped_storage().nbytes(), 2**30):
            raise ValueError(f"found a tensor {tuple(value.shape)} of a few bytes; expected one that holds its values")
        own = value.detach().cpu().contiguous()
        sha256.update(f"{own.dtype}{tuple(own.shape)}".encode())
        sha256.update(own.reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        sha256.update(f"dict{len(value)}".encode())
        for name, each in value.items():
            _feed(sha256, name)
            _feed(sha256, each)
    elif isinstance(value, (list, tuple)):
        sha256.update(f"{'list' if isinstance(value, list) else 'tuple'}{len(value)}".encode())
        for each in value:
            _feed(sha256, each)
    elif value is None or isinstance(value, (bool, int, float, str)):
        sha256.update(f"{value!r},".encode())
    else:
        raise ValueError(f"found a {type(value).__name__}; expected tensors and plain Python")
