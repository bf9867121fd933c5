"""How fast an epoch goes: pictures per second, the share of time that waits for data, and the most memory used."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

T = TypeVar("T")


class Pace:
    """Measures one epoch. `watch` hands batches on; whoever takes them says by `seen` how many pictures they had."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started = time.perf_counter()
        self.pictures = 0
        self.waited = 0.0  # seconds, of the epoch
        self.last_wait = 0.0  # seconds, of the last batch

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; the time until each comes counts as waiting."""
        waiting_since = time.perf_counter()
        for batch in batches:
            self.last_wait = time.perf_counter() - waiting_since
            self.waited += self.last_wait
            yield batch
            waiting_since = time.perf_counter()

    def seen(self, pictures: int) -> None:
        self.pictures += pictures

    def __str__(self) -> str:
        """Such as `1,480 pictures/s, 2% of the time waiting for data, peak memory 812 MB`; without what is not known."""
        seconds = time.perf_counter() - self.started
        parts = []
        if self.pictures:
            parts.append(f"{self.pictures / seconds:,.0f} pictures/s")
            parts.append(f"{self.waited / seconds:.0%} of the time waiting for data")
        if peak := _peak(self.device):
            parts.append(f"peak memory {peak / 2**20:,.0f} MB")
        return ", ".join(parts)


def _peak(device: torch.device) -> int:
    """Bytes: on a GPU the most that torch has held; on a CPU the most that this process had, without its workers.

    0 where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # what getrusage counts in
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
