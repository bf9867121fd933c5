"""The folder of a run: what it holds, who may write into it, and its files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from reid import errors, runtime, whole

# What a run leaves beside config.yaml.
PARTS = ("environment.txt", "log.txt", "*.jsonl", "model_*.pth")


class RunFolder:
    """OUTPUT_DIR: the log, the config, the environment, a line per logged step, a line per result.

    Used as a context, within which no other process writes there. Only the first of several processes does. Line files can be
    cut back to the length they had at a checkpoint, so that a resumed run leaves the same files as an unbroken one.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.writes = runtime.rank() == 0
        self.lock: whole.Lock | None = None

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __enter__(self) -> RunFolder:
        """Raises ValueError where another process writes into the run that the folder holds."""
        if self.writes and self.holds_run:
            self._lock()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.lock is not None:
            self.lock.release()

    @property
    def holds_run(self) -> bool:
        """Raises ValueError for parts of a run without its config, which nobody can go on with."""
        if (self / "config.yaml").exists():
            return True
        if parts := [path.name for pattern in PARTS for path in sorted(self.path.glob(pattern))]:
            raise ValueError(
                f"OUTPUT_DIR {self.path} holds {', '.join(parts[:3])} and no config.yaml: parts of a run that cannot be gone on "
                "with, or files of something else; give another OUTPUT_DIR"
            )
        return False

    def _lock(self) -> None:
        try:
            self.lock = whole.Lock(self / ".lock")
        except BlockingIOError as error:
            raise errors.Occupied(
                f"OUTPUT_DIR {self.path}: {error}; wait for its end, or give another folder"
            ) from None
        except OSError as error:
            runtime.log.warning(
                "%s has no locks (%s): see to it that no other process writes there", self.path, error.strerror
            )

    def open(self, config_text: str) -> None:
        """Makes the folder with config.yaml and environment.txt and sends the log to log.txt as well.

        Raises OSError where it cannot be written, ValueError where another run has just begun there.
        """
        if self.writes:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                if self.lock is None:
                    self._lock()
                    if self.holds_run:
                        raise errors.Occupied(
                            f"OUTPUT_DIR {self.path}: another run has just begun there; give another folder"
                        )
                for folder in (self.path, self / "embeddings"):
                    whole.clear(folder)
                for name, text in (("config.yaml", config_text), ("environment.txt", runtime.environment())):
                    with whole.writing(self / name) as file:
                        file.write(text.encode())
            except OSError as error:
                raise OSError(
                    f"OUTPUT_DIR {self.path} cannot be written ({error.strerror}); give another folder"
                ) from error
        runtime.start_log(self / "log.txt" if self.writes else None)

    def append(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Adds JSON lines to `name`; each is written whole and flushed. Raises ValueError for a number that is none in JSON."""
        if self.writes and rows:
            with (self / name).open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row, sort_keys=True, allow_nan=False) + "\n" for row in rows))

    def lengths(self) -> dict[str, int]:
        """Bytes in every file of JSON lines."""
        return {p.name: p.stat().st_size for p in sorted(self.path.glob("*.jsonl"))}

    def shorter(self, lengths: dict[str, int]) -> list[str]:
        """The files of JSON lines that do not hold any more what they did at `lengths`: somebody has taken lines out."""
        now = self.lengths()
        return [name for name, length in lengths.items() if now.get(name, 0) < length]

    def cut(self, lengths: dict[str, int]) -> None:
        """Cuts every file of JSON lines back to `lengths`: what came after belongs to steps that will be taken again.

        One that is shorter already keeps its whole lines.
        """
        if self.writes:
            for path in self.path.glob("*.jsonl"):
                length, size = lengths.get(path.name, 0), path.stat().st_size
                os.truncate(path, length if length <= size else path.read_bytes().rfind(b"\n") + 1)
