"""Checkpoints survive interruptions and refuse what they should not read."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from reid import checkpoint


def test_saved_content_is_loaded_with_weights_only(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint.save(path, {"model": {"w": torch.arange(3)}, "progress": {"step": 4, "parts": None}})
    content = torch.load(path, weights_only=True)
    assert content["progress"] == {"step": 4, "parts": None}
    assert torch.equal(checkpoint.load(path)["model"]["w"], torch.arange(3))


def test_failed_write_keeps_the_old_file_and_leaves_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    checkpoint.save(path, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*the checkpoint before it is kept"):
        checkpoint.save(path, {"step": 2})
    assert checkpoint.load(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full exists on Linux only")
def test_a_really_full_device_is_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    checkpoint.save(path, {"step": 1})
    (tmp_path / f".model.pth.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="could not be written"):
        checkpoint.save(path, {"big": torch.zeros(10**6)})
    assert checkpoint.load(path)["step"] == 1


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint.save(path, {"model": {"w": torch.zeros(10000)}})
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(ValueError, match="cut short"):
        checkpoint.load(path)


class Hostile:
    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (os.mkdir, (self.trace,))


def test_hostile_file_is_refused_and_nothing_runs(tmp_path):
    for write in (lambda o, p: torch.save(o, p), lambda o, p: p.write_bytes(pickle.dumps(o))):
        path = tmp_path / "model.pth"
        write({"format": checkpoint.FORMAT, "version": 1, "model": Hostile(tmp_path / "trace")}, path)
        with pytest.raises(ValueError, match="nothing in it was executed"):
            checkpoint.load(path)
        assert not (tmp_path / "trace").exists()


def test_other_files_and_versions_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint of this toolkit"):
        checkpoint.load(path)
    torch.save({"format": checkpoint.FORMAT, "version": 99}, path)
    with pytest.raises(ValueError, match="version 99"):
        checkpoint.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        checkpoint.load(path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        checkpoint.load(tmp_path / "nothing.pth")


def test_state_that_does_not_fit_names_keys_and_shapes():
    with pytest.raises(ValueError, match=r"missing bias; unexpected other; weight is \(3, 2\), expected \(2, 2\)"):
        checkpoint.load_state(nn.Linear(2, 2), {"weight": torch.zeros(3, 2), "other": torch.zeros(1)}, "x.pth")
