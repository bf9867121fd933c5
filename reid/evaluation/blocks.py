"""Much work in small pieces, shared among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")
Block = TypeVar("Block")


def slices(stop: int, size: int, *, start: int = 0) -> list[slice]:
    """start..stop in slices of `size`, the last one shorter."""
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]


@contextmanager
def threads(device: torch.device) -> Iterator[int]:
    """How many threads of our own to use; meanwhile torch uses one in each.

    Torch's own threads wait by spinning: taking turns with them cost as much again as the product, on two cores.
    """
    if device.type != "cpu" or torch.get_num_threads() == 1:
        yield 1
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def share(work: Callable[[Iterator[Block]], Result], blocks: Iterable[Block], num_threads: int) -> list[Result]:
    """Runs `work` in each thread on one common iterator, from which each takes the next block when it is free."""
    todo = iter(list(blocks))
    if num_threads == 1:
        return [work(todo)]
    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(work, [todo] * num_threads))
