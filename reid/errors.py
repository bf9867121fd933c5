"""How a program of ours ends: what a person can mend is one line, anything else is a bug and is shown whole."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from reid import escape

MENDABLE = (ValueError, OSError, FloatingPointError)  # their messages say what to do


class AnotherStopped(Exception):
    """Another of several processes has stopped; the message is its own."""


class InterruptedRun(Exception):
    """SIGINT or SIGTERM arrived and the run has been saved."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Ends the program with one line and status 2 at an error whose message says what to do.

    A run stopped by a signal ends with 128 + the signal's number, as a shell expects.
    """
    try:
        yield
    except (*MENDABLE, AnotherStopped) as error:
        logging.getLogger("reid").debug("where it happened", exc_info=True)
        print(f"error: {escape.line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
    except InterruptedRun as error:
        print(f"stopped: {escape.line(str(error))}", file=sys.stderr)
        raise SystemExit(128 + error.signum) from None
