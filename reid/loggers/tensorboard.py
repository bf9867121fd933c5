"""TensorBoard's event file, in the run's folder."""

from __future__ import annotations

from pathlib import Path

from reid.loggers import Logger


class TensorBoard(Logger):
    """A curve `train/<name>` of each figure; steps after `step` are dropped from an earlier file."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # half a second that scoring and tests need not pay

        self.writer = SummaryWriter(str(folder), purge_step=step or None)

    def note(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name not in ("step", "epoch"):
                self.writer.add_scalar(f"train/{name}", value, int(row["step"]))

    def finish(self) -> None:
        self.writer.close()
