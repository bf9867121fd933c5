"""Several processes, one a GPU, as torchrun starts them: they start equal, learn as one and end together.

Whatever is exchanged begins with `agree`, so that nobody waits for one that has stopped. Alone, nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from reid import runtime
from reid.errors import MENDABLE, AnotherStopped, InterruptedRun, lost_worker

PATIENCE = timedelta(seconds=30)  # how long one that stops waits for the others to hear of it
GONE = "another process ended without a word, as one that is killed for memory does; start all again with --resume"
T = TypeVar("T")
_words: Any = None  # the group that `agree` goes by, so that its numbers never meet another exchange


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Joins the processes that torchrun described in the environment, if it did, and leaves them at the end.

    An exception in one of them ends all, the others with AnotherStopped, which carries its message.
    """
    global _words
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not distributed.is_initialized():
        with_gpu = torch.cuda.is_available()
        distributed.init_process_group("cpu:gloo,cuda:nccl" if with_gpu else "gloo")
        if with_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        _words = distributed.new_group(backend="gloo")
    try:
        yield
    except AnotherStopped:
        raise
    except (Exception, InterruptedRun) as error:
        if isinstance(error, RuntimeError) and any(word in str(error) for word in ("gloo", "NCCL")):
            raise AnotherStopped(GONE) from error
        plain = isinstance(error, (*MENDABLE, InterruptedRun))
        _tell(str(error) if plain else lost_worker(error) or f"{type(error).__name__}: {error}")
        raise
    if distributed.is_initialized():
        distributed.destroy_process_group()


def agree(number: int = 0) -> int:
    """Waits for all; returns the largest number that any of them gave. Raises AnotherStopped where one has stopped."""
    if runtime.world() == 1:
        return number
    word = torch.tensor([0, number])
    distributed.all_reduce(word, distributed.ReduceOp.MAX, group=_words)
    if word[0]:
        raise AnotherStopped(_heard(""))
    return int(word[1])


def _tell(message: str) -> None:
    """The answer of one that stops to the `agree` of the others."""
    if runtime.world() > 1:
        with contextlib.suppress(
            RuntimeError
        ):  # they are gone, or wait for something else: then this one's end is told
            word = torch.tensor([1, 0])
            distributed.all_reduce(word, distributed.ReduceOp.MAX, group=_words, async_op=True).wait(PATIENCE)
            _heard(message)


def _heard(own: str) -> str:
    """The message of the first process that has one."""
    messages = [""] * runtime.world()
    distributed.all_gather_object(messages, own, group=_words)
    return next(f"process {rank} stopped: {message}" for rank, message in enumerate(messages) if message)


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, in every process; in the others it is not called. Tensors on the CPU."""
    made = [make() if runtime.rank() == 0 else None]
    agree()
    if runtime.world() > 1:
        distributed.broadcast_object_list(made, group=_words)
    return cast(T, made[0])


def from_all(value: T) -> list[T]:
    """The `value` of every process, in the order of their ranks, on every process. Tensors on the CPU."""
    agree()
    values = [value] * runtime.world()
    if runtime.world() > 1:
        distributed.all_gather_object(values, value, group=_words)
    return values


def gather(keep: dict[str, Tensor]) -> dict[str, Tensor]:
    """The rows of every process, in the order of their ranks, on every process: so memories stay equal everywhere."""
    agree()
    if runtime.world() == 1:
        return keep
    gathered = {}
    for name, rows in keep.items():
        parts = [torch.empty_like(rows) for _ in range(runtime.world())]
        distributed.all_gather(parts, rows.contiguous())
        gathered[name] = torch.cat(parts)
    return gathered


def add_up(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers, 0-d tensors, each summed over all processes."""
    agree()
    if runtime.world() == 1 or not values:
        return values
    sums = torch.stack([value.double() for value in values.values()])
    distributed.all_reduce(sums)
    return dict(zip(values, sums, strict=True))


def copy_first(tensors: Iterable[Tensor]) -> None:
    """Gives each of `tensors` the values that it has in the first process."""
    agree()
    if runtime.world() > 1:
        with torch.no_grad():
            for tensor in tensors:
                rows = tensor.contiguous()  # weights may be channels_last
                distributed.broadcast(rows, 0)
                tensor.copy_(rows)


def average(tensors: Sequence[Tensor]) -> None:
    """Sets each of `tensors` to its mean over all processes."""
    agree()
    if runtime.world() > 1 and tensors:
        for tensor, mean in zip(tensors, _means(tensors), strict=True):
            tensor.copy_(mean)


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Sets each gradient to its mean over all processes; one that is missing here counts as 0 if another has it."""
    agree()
    if runtime.world() == 1 or not parameters:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    have = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    *means, shares = _means([*gradients, have])
    for p, gradient, mean, anyone in zip(parameters, gradients, means, shares.tolist(), strict=True):
        if anyone:
            p.grad = gradient.copy_(mean)


def _means(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The mean of each tensor over all processes, by one exchange."""
    flat = torch.cat([tensor.flatten() for tensor in tensors]) / runtime.world()
    distributed.all_reduce(flat)
    pieces = flat.split([tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
