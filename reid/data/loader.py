"""From indices to batches of pictures; batches are built whole inside the worker processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from reid import runtime
from reid.data import pictures, records
from reid.data.records import Sample
from reid.data.samplers import Draw, Sampler
from reid.data.sources import TrainSet
from reid.plan import Plan

IMAGES = "images"
SHARED = "/dev/shm"  # where batches go from the workers to the training process
LESS_SHARED = "lower DATALOADER.WORKERS (0 needs none of it), DATALOADER.BATCH_SIZE, TEST.BATCH_SIZE or INPUT.SIZE"
WAITING = 2  # batches that each worker has ready or in hand
Transform = Callable[..., np.ndarray]  # (H, W, 3) uint8 RGB, and a generator where it draws -> (h, w, 3) uint8


@dataclass
class Batch:
    """What a method is given at each step.

    images: (B, 3, H, W) uint8 RGB. classes, camids, domains, indices, part, roles: (B,) int64. camid -1: no camera known.
    part: of the method's plan. roles: what the sampler drew each row for. Both are 0 where there are none.
    paths: where each picture came from. step: optimiser steps taken before this one. epoch: from 0.
    views: the same pictures augmented in further ways, by name; each as `images`.
    """

    images: Tensor
    classes: Tensor
    camids: Tensor
    domains: Tensor
    indices: Tensor
    part: Tensor
    roles: Tensor
    paths: list[str]
    step: int = 0
    epoch: int = 0
    views: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        return self._with(lambda values: values.to(device, non_blocking=True))

    def select(self, mask: Tensor) -> Batch:
        """The batch of the rows that `mask` (B,) bool marks, in their order, such as `batch.select(batch.roles == 1)`.

        Raises ValueError for a mask of another shape or dtype.
        """
        if mask.shape != (len(self),) or mask.dtype != torch.bool:
            raise ValueError(f"batch: found a mask {tuple(mask.shape)}, {mask.dtype}; expected ({len(self)},) bool")
        rows = mask.nonzero()[:, 0]
        chosen = self._with(lambda values: values[rows.to(values.device)])
        return replace(chosen, paths=[self.paths[i] for i in rows.tolist()])

    def split(self, num: int) -> list[Batch]:
        """As many batches, one after another, of equally many rows."""
        size = len(self) // num

        def part(rows: slice) -> Batch:
            return replace(self._with(lambda values: values[rows]), paths=self.paths[rows])

        return [part(slice(start, start + size)) for start in range(0, size * num, size)]

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every tensor changed."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **changed, views={name: change(images) for name, images in self.views.items()})

    def __len__(self) -> int:
        return len(self.classes)


def read_image(path: str, damage: dict[str, str] | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB, whatever the file holds: grey, one bit, 16 bits or a picture with alpha.

    damage: what is wrong inside a picture that can be decoded all the same is put there, by its path.
    Raises ValueError naming the file and the reason where it cannot be decoded, FileNotFoundError where it is missing.
    """
    try:
        data = records.read(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: found no such file; it was there when the set was listed") from error
    if not data:
        raise ValueError(f"{path}: found zero bytes, expected a picture; unpack the data set again")
    image, said = (pictures.decode(data), "") if damage is None else pictures.hear(data)
    if damage is not None and said:
        damage[path] = said
    if image is None:
        raise ValueError(
            f"{path}: found {len(data):,} bytes that OpenCV cannot decode, expected a picture; unpack the data set again"
        )
    return image


class Loader:
    """Batches of a training set, epoch after epoch, the same for any number of workers.

    Every picture's draws come from a generator seeded by (seed, epoch, its position in the epoch); the workers, which
    stay alive from epoch to epoch, build whole batches and only those travel.

    Args:
        transform: called as transform(image, rng); see `reid.data.transforms`.
        views: further transforms of the same decoded pictures, by the name that they have in `Batch.views`. Their draws
            come from generators seeded by (seed, epoch, position, name), so one view changes no other, nor `images`.
        workers: processes that decode; 0 decodes in this one.
        rank, world: of several training processes each takes its own share of every batch; see `Draw.shares`. parts: of such a
            share, that `Batch.split` takes apart again.
    """

    def __init__(
        self,
        train_set: TrainSet,
        transform: Transform,
        sampler: Sampler,
        *,
        views: Mapping[str, Transform] | None = None,
        seed: int,
        workers: int,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"loader: found rank {rank} of {world} processes; expected 0 to {world - 1}")
        for name in views or {}:
            if not str(name).isidentifier() or name in {f.name for f in fields(Batch)}:
                raise ValueError(
                    f"loader: found a view called {name}; expected a name such as strong, that no field of Batch has"
                )
        self.train_set, self.sampler, self.rank, self.world = train_set, sampler, rank, world
        self.parts = parts
        self._requests: list[_Request] = []
        transforms = {IMAGES: transform, **(views or {})}
        pictures = _Pictures([sample.path for sample in train_set.samples], transforms, seed)
        self._batches = _batches(pictures, self._requests, workers, persistent=True)
        self._labels = {name: torch.from_numpy(getattr(train_set, name)) for name in ("classes", "camids", "domains")}

    def __len__(self) -> int:
        return len(self.sampler)

    def epoch(self, epoch: int, *, start: int = 0, step: int = 0, plan: Plan | None = None) -> Iterator[Batch]:
        """The epoch's batches from number `start` on; the first has `step`, each further one the next number.

        plan: what the sampler deals by and says each sample's part; without one all are in part 0.
        Raises ValueError in one line for a picture that cannot be read, where a batch cannot be shared out evenly among
        the processes, or where the plan does not fit the sampler or the training set.
        """
        parts = torch.zeros(len(self.train_set), dtype=torch.int64)
        if plan is not None and plan.parts is not None:
            parts = plan.parts
            if len(parts) != len(self.train_set):
                raise ValueError(
                    f"loader: found the parts of {len(parts)} samples; expected one each of {len(self.train_set)}"
                )
        requests, position = [], 0
        for draw in self.sampler.draws(epoch, plan):
            requests.append(self._own(epoch, position, draw))
            position += len(draw.indices)
        # In place: the DataLoader keeps this very list, and with it its workers.
        self._requests[:] = requests[start:]
        for request, found in zip(requests[start:], self._batches, strict=True):
            views = _opened(found)
            indices = torch.from_numpy(request.indices)
            labels = {name: values[indices] for name, values in self._labels.items()}
            paths = [self.train_set.samples[i].path for i in request.indices]
            yield Batch(
                views.pop(IMAGES),
                **labels,
                indices=indices,
                part=parts[indices],
                roles=torch.from_numpy(request.roles),
                paths=paths,
                step=step,
                epoch=epoch,
                views=views,
            )
            step += 1

    def _own(self, epoch: int, position: int, draw: Draw) -> _Request:
        """This process's share of a batch whose first row stands at `position` in the epoch, for all processes alike."""
        shares = draw.shares(self.world * self.parts)
        rows = np.concatenate(shares[self.rank * self.parts : (self.rank + 1) * self.parts])
        roles = np.zeros_like(rows) if draw.roles is None else draw.roles[rows]
        return _Request(epoch, position + rows, draw.indices[rows], roles)

    def close(self) -> None:
        """Ends the worker processes; the loader cannot be used afterwards."""
        del self._batches


def image_batches(
    samples: Sequence[Sample], transform: Transform, *, batch_size: int, workers: int
) -> Iterator[Tensor]:
    """The samples' pictures in order: tensors (B, 3, H, W) uint8 in channels_last, the last one shorter.

    Raises ValueError in one line for a picture that cannot be read.
    """
    pictures = _Pictures([sample.path for sample in samples], {IMAGES: transform}, None)
    starts = range(0, len(samples), batch_size)
    rows = [np.arange(start, min(start + batch_size, len(samples))) for start in starts]
    requests = [_Request(0, indices, indices, np.zeros_like(indices)) for indices in rows]
    for found in _batches(pictures, requests, workers, persistent=False):
        yield _opened(found)[IMAGES]


@dataclass(frozen=True)
class _Request:
    """What a worker is asked for: the samples `indices`, which stand at `positions` in the epoch; and their roles."""

    epoch: int
    positions: np.ndarray
    indices: np.ndarray
    roles: np.ndarray


class _Found(NamedTuple):
    """What a worker gives: (B, 3, H, W) uint8 pictures of each transform; and what is wrong with some of the files, by their path."""

    views: dict[str, Tensor]
    damage: dict[str, str]


class _Pictures(Dataset):
    """In a worker: from a request to what it asks for, or to the sentence why there is none."""

    def __init__(self, paths: list[str], transforms: Mapping[str, Transform], seed: int | None) -> None:
        self.paths, self.transforms, self.seed = paths, transforms, seed

    def __getitem__(self, request: _Request) -> _Found | str:
        made: dict[str, Tensor] = {}
        damage: dict[str, str] = {}
        for row, (index, position) in enumerate(zip(request.indices.tolist(), request.positions.tolist(), strict=True)):
            try:
                image = read_image(self.paths[index], damage)
            except (ValueError, OSError) as error:
                # Raised here it would reach the user inside a worker's traceback; as text it is raised where it is met.
                return str(error)
            for name, transform in self.transforms.items():
                picture = transform(image, *self._generators(name, request.epoch, position))
                if row == 0:
                    empty = torch.empty(len(request.indices), *picture.shape, dtype=torch.uint8)
                    try:
                        made[name] = empty if get_worker_info() is None else empty.share_memory_()
                    except RuntimeError as error:  # met only when the batch is sent, it would never arrive
                        return f"a batch of {empty.nbytes:,} bytes has no room in {SHARED} ({error}); {LESS_SHARED}"
                made[name].numpy()[row] = picture
        views = {name: images.permute(0, 3, 1, 2) for name, images in made.items()}  # channels_last in memory
        return _Found(views, damage)

    def _generators(self, name: str, epoch: int, position: int) -> list[np.random.Generator]:
        """The one a transform draws from, or none. To numpy a last number of 0 is as good as none, and no name is 0."""
        if self.seed is None:
            return []
        view = [] if name == IMAGES else [int.from_bytes(name.encode(), "big")]
        return [np.random.default_rng([self.seed, epoch, position, *view])]


def _batches(pictures: _Pictures, requests: list[_Request], workers: int, *, persistent: bool) -> DataLoader:
    return DataLoader(
        pictures,
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        persistent_workers=persistent and workers > 0,
        worker_init_fn=_start_worker,
        prefetch_factor=WAITING if workers else None,
        # Else each epoch would draw from torch's global generator, and a resumed run would not equal an unbroken one.
        generator=torch.Generator(),
    )


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # one thread a worker: the workers are the parallelism
    # What is sent to the whole group (Ctrl-C, timeout, systemd, schedulers) is the main process's to answer, once: its step
    # needs the batch in hand. Only when it asks for it itself does a worker end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        ends = [signal.SIGTERM, signal.SIGHUP]
        for number in ends:
            signal.signal(number, _pass)  # in threads that were there before, where workers are not forked
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        threading.Thread(target=_end_when_asked, args=(os.getppid(), ends), daemon=True).start()


def _pass(signum: int, frame: object) -> None:
    pass


def _end_when_asked(parent: int, ends: list[signal.Signals]) -> None:
    while signal.sigwaitinfo(ends).si_pid != parent:
        pass
    os._exit(0)


def _opened(found: _Found | str) -> dict[str, Tensor]:
    """The pictures of a batch; of damaged files the log tells, once each."""
    if isinstance(found, str):
        raise ValueError(found)
    for path, said in found.damage.items():
        runtime.log_once(f"{path}: decodes with damage ({said}); it is used all the same. reid check finds all of them")
    return found.views
