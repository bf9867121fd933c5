"""What the log says of an epoch's speed: by a clock that the test moves."""

import re

import pytest
import torch

from reid import pace


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pace.time, "perf_counter", lambda: now[0])
    return now


def test_waiting_is_the_time_until_a_batch_comes_and_no_other(clock):
    def batches():
        for seconds in (3.0, 1.0):
            clock[0] += seconds
            yield seconds

    epoch, waits = pace.Pace(torch.device("cpu")), []
    for _ in epoch.watch(batches()):
        waits.append(epoch.last_wait)
        clock[0] += 8.0  # the step
        epoch.seen(30)
    assert waits == [3.0, 1.0]
    assert epoch.waited == 4.0
    assert str(epoch).startswith("3 pictures/s, 20% of the time waiting for data, peak memory ")


def test_an_epoch_without_a_step_has_no_speed(clock):
    assert re.fullmatch(r"peak memory [\d,]+ MB", str(pace.Pace(torch.device("cpu"))))


def test_memory_is_left_out_where_the_system_does_not_tell(clock, monkeypatch):
    monkeypatch.setattr(pace, "resource", None)
    epoch = pace.Pace(torch.device("cpu"))
    clock[0] += 2.0
    epoch.seen(5)
    assert str(epoch) == "2 pictures/s, 0% of the time waiting for data"


def test_peak_memory_grows_with_what_is_held():
    before = pace._peak(torch.device("cpu"))
    held = torch.ones(64 * 2**20)  # 256 MB
    assert pace._peak(torch.device("cpu")) >= max(before, held.nbytes)
