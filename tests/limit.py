"""An end for what hangs."""

import contextlib
import signal


@contextlib.contextmanager
def seconds(number: int):
    """AssertionError after so many."""

    def too_long(signum, frame):
        raise AssertionError(f"nothing was said for {number} seconds")

    previous = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(number)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
