"""How a program of ours ends: what a person can mend is one line, anything else is a bug and is shown whole."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from reid import escape

MENDABLE = (ValueError, OSError, FloatingPointError)  # their messages say what to do
OF_OPTIONS, OCCUPIED = 3, 4  # statuses that other programs of ours go by


class OptionsRefused(ValueError):
    """Options that what they are of refuses, on any data and any machine."""


class Occupied(ValueError):
    """Another process writes where this one would."""


class AnotherStopped(Exception):
    """Another of several processes has stopped; the message is its own."""


class InterruptedRun(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP arrived; the message says where, and what has been saved."""

    def __init__(self, signum: int, told: str = ""):
        super().__init__(f"{signal.Signals(signum).name} {told}".strip())
        self.signum = signum


class Signals:
    """Within, a signal that asks for an end raises InterruptedRun: at once, or where `held`, at the end of that.

    told: what the message says besides. arrived: the first signal that came; what comes after it changes nothing. Contexts
    may lie in each other. In a thread, which is sent no signals, it does nothing.
    """

    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self.depth, self.arrived, self.holding, self.told = 0, 0, False, ""
        self.kept: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.depth += 1
        if self.depth == 1 and threading.current_thread() is threading.main_thread():
            self.arrived, self.told = 0, ""
            for number in (getattr(signal, name) for name in self.NAMES if hasattr(signal, name)):
                ignored = signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGINT
                if not ignored:  # by nohup
                    self.kept[number] = signal.signal(number, self._arrive)
        return self

    def __exit__(self, *exception: object) -> None:
        self.depth -= 1
        if self.depth == 0:
            while self.kept:
                signal.signal(*self.kept.popitem())

    def _arrive(self, signum: int, frame: object) -> None:
        if not self.arrived:
            self.arrived = signum
            if not self.holding:
                raise InterruptedRun(signum, self.told)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """What is within is finished first."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False
        if self.arrived:
            raise InterruptedRun(self.arrived, self.told)


signals = Signals()


def lost_worker(error: BaseException) -> str:
    """What to say of a loading process that the system has ended, which torch raises as a RuntimeError anywhere; else empty."""
    text = str(error).partition(". ")[0]
    if not isinstance(error, RuntimeError) or not text.startswith("DataLoader worker"):
        return ""
    text = text.replace("DataLoader worker", "a process that loads pictures")
    if "Bus error" in text:
        return f"{text}: /dev/shm is full; lower DATALOADER.WORKERS (0 needs none of it), DATALOADER.BATCH_SIZE or TEST.BATCH_SIZE"
    if "Killed" in text:
        text += ", as systems do where memory runs out"
    return f"{text}; lower DATALOADER.WORKERS, DATALOADER.BATCH_SIZE or TEST.BATCH_SIZE"


def status(error: BaseException) -> int:
    """3 where the options are at fault: refused, or numbers that are not finite any more; 4 where another process works there;
    else 2."""
    if isinstance(error, (OptionsRefused, FloatingPointError)):
        return OF_OPTIONS
    return OCCUPIED if isinstance(error, Occupied) else 2


def end_with_stdin() -> None:
    """From now on this process is sent SIGTERM when its standard input ends: when whoever holds the other end is gone, even by
    SIGKILL."""

    def watch() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Ends the program with one line at an error whose message says what to do, by its `status`.

    A program stopped by a signal ends with 128 + the signal's number, as a shell expects.
    """
    with signals:
        try:
            yield
        except (*MENDABLE, AnotherStopped, RuntimeError) as error:
            message = str(error) if not isinstance(error, RuntimeError) else lost_worker(error)
            if not message:
                raise
            logging.getLogger("reid").debug("where it happened", exc_info=True)
            print(f"error: {escape.line(message)}", file=sys.stderr)
            raise SystemExit(status(error)) from None
        except InterruptedRun as error:
            print(f"stopped: {escape.line(str(error))}", file=sys.stderr)
            raise SystemExit(128 + error.signum) from None
