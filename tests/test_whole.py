"""Files are whole or not there, and a lock is its holder's alone."""

import os
import signal
import subprocess
import sys

import pytest

from reid import whole


def test_what_fails_half_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "a"
    with whole.writing(path) as file:
        file.write(b"one")
    with pytest.raises(TypeError), whole.writing(path) as file:
        file.writelines([b"tw", "o"])
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_folder_is_flushed_after_the_name_is_in_it(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync

    def fsync(descriptor):
        flushed.append((os.path.samestat(os.fstat(descriptor), tmp_path.stat()), (tmp_path / "a").exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with whole.writing(tmp_path / "a") as file:
        file.write(b"one")
    assert flushed == [(False, False), (True, True)]


def test_what_killed_processes_were_writing_is_cleared(tmp_path):
    for name in (".model_last.pth.77.tmp", "model_last.pth", ".lock"):
        (tmp_path / name).touch()
    whole.clear(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "model_last.pth"]


def test_a_lock_is_of_one_holder_until_it_lets_go(tmp_path):
    lock = whole.Lock(tmp_path / ".lock")
    with pytest.raises(BlockingIOError, match=rf"process {os.getpid()} on "):
        whole.Lock(tmp_path / ".lock")
    lock.release()
    whole.Lock(tmp_path / ".lock").release()


HOLDER = """
import os, sys, time
from pathlib import Path
from reid import whole
lock = whole.Lock(Path(sys.argv[1]))
if not os.fork():
    print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_killed_holder_lets_go_though_a_process_that_it_forked_goes_on(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    child = int(holder.stdout.readline())
    with pytest.raises(BlockingIOError, match=f"process {holder.pid} on"):
        whole.Lock(tmp_path / ".lock")
    try:
        holder.kill()
        holder.wait()
        whole.Lock(tmp_path / ".lock").release()
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()
