"""Samplers: one file each; the config's NAME is the file's name, the constructor's signature its options."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.plan import Plan


@dataclass(frozen=True)
class Draw:
    """One batch: sample indices (B,) int64 and, where a sampler has more to say of the rows, what.

    roles: (B,) int64, what each row is for, in numbers that the sampler and its method agree on; None: 0 for all.
    groups: (B,) int64; rows of one number are kept whole by one process. None: every row may go anywhere.
    """

    indices: np.ndarray
    roles: np.ndarray | None = None
    groups: np.ndarray | None = None

    def shares(self, world: int) -> list[np.ndarray]:
        """The rows of each of `world` processes: arrays (B / world,) int64, ascending.

        Slices where there are no groups; else each process takes whole groups.
        Raises ValueError where B does not divide by `world`, or where whole groups give no equal shares.
        """
        rows = np.arange(len(self.indices))
        if len(rows) % world:
            raise ValueError(
                f"sampler: found a batch of {len(rows)} for {world} processes; expected a multiple: change the batch size"
            )
        if self.groups is None or world == 1:
            return np.split(rows, world)
        _, first, group, sizes = np.unique(self.groups, return_index=True, return_inverse=True, return_counts=True)
        order = np.lexsort((first, -sizes))
        owners = _share(sizes[order].tolist(), world)
        if owners is None:
            raise ValueError(
                f"sampler: found groups of {', '.join(map(str, sizes[order]))} rows for {world} processes of "
                f"{len(rows) // world} rows each; expected groups that fill them: change the batch size or the groups"
            )
        owner = np.empty(len(sizes), np.int64)
        owner[order] = owners
        return [np.flatnonzero(owner[group] == process) for process in range(world)]


class Sampler:
    """Which samples stand in which batch of an epoch; a pure function of (seed, epoch, plan). Nothing in it changes.

    Constructors take `classes`, `domains`, `camids` ((N,) int64 arrays of the training set), `batch_size` and `seed`
    injected, and their own options after them.
    needs: the fields of a `Plan` that it goes by; the method has to give them.
    notes: what the log should say of the samples, such as how many no batch has.
    """

    needs: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def batches(self, epoch: int, plan: Plan | None = None) -> list[np.ndarray] | list[Draw]:
        """The epoch's batches in order: arrays (batch_size,) int64 of sample indices, or `Draw`s.

        plan: the method's; None before there is one, as when a run is checked before it begins.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        """Batches per epoch: exact, and the same for every epoch and plan, as the learning rate goes by it."""
        raise NotImplementedError

    def draws(self, epoch: int, plan: Plan | None = None) -> list[Draw]:
        """`batches`, each as a `Draw`.

        Raises ValueError where the plan lacks what the sampler needs, or where there are not len(self) batches.
        """
        name = type(self).__name__
        lacking = self.needs - (self.needs if plan is None else plan.given)
        if lacking:
            raise ValueError(f"sampler {name}: found a plan without {', '.join(sorted(lacking))}, which it needs")
        draws = [batch if isinstance(batch, Draw) else Draw(batch) for batch in self.batches(epoch, plan)]
        if len(draws) != len(self):
            raise ValueError(
                f"sampler {name}: found {len(draws)} batches in epoch {epoch}; expected {len(self)}, "
                "as in every epoch, whatever the plan"
            )
        return draws


def _share(sizes: list[int], world: int) -> list[int] | None:
    """Which of `world` processes takes each group, so that in the end all have equally many rows; None: it cannot be.

    Each group goes to the first process with room; where that comes to no end, the last choices are taken back.
    """
    room = [sum(sizes) // world] * world
    taken: list[int] = []
    failed: set[tuple[int, ...]] = set()  # groups that have a process, and the room left, whatever the processes' order
    start = 0
    while len(taken) < len(sizes):
        state = (len(taken), *sorted(room))
        fits = next((p for p in range(start, world) if room[p] >= sizes[len(taken)]), None)
        if fits is not None and state not in failed:
            room[fits] -= sizes[len(taken)]
            taken.append(fits)
            start = 0
        elif taken:
            failed.add(state)
            start = taken.pop()
            room[start] += sizes[len(taken)]
            start += 1
        else:
            return None
    return taken
