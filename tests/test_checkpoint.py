"""Checkpoints survive interruptions and refuse what they should not read."""

import math
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from reid import checkpoint, digest


def content(step=1, *, resume=False, **more):
    progress = {"epoch": 0, "batch": 0, "step": step, "best": -math.inf, "lengths": {}, "counts": {}}
    progress |= {"skipped": 0, "in_a_row": 0}
    whole = {
        "config": "SEED: 0",
        "protocol": {"sources": [], "targets": [], "rules": {"flip": False}},
        "notes": [],
        "plugins": [],
        "label_map": {"a": [1, 2], "b": [7]},
        "num_samples": 3,
        "processes": 1,
        "model": {"w": torch.arange(3), "queue._extra_state": {"position": 3}},
        "progress": progress,
    }
    if resume:
        whole |= {"optimizer": {"state": {}}, "scale": {}, "plan": None, "drift": {}, "random": [{}], "scored": True}
    return {**whole, **more}


def written(path, content, **header):
    """A file such as nothing of ours writes."""
    torch.save({"format": digest.FORMAT, "version": 2, "digest": digest.of(content), **content, **header}, path)
    return path


def test_saved_content_is_loaded_with_weights_only(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint.save(path, content(4))
    assert torch.load(path, weights_only=True)["progress"]["step"] == 4
    read = checkpoint.load(path)
    assert torch.equal(read.pop("model")["w"], torch.arange(3))
    assert read == {name: value for name, value in content(4).items() if name != "model"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": 3}, "config is of type int, expected str"),
        ({"notes": ["a", None]}, r"notes\.1 is of type NoneType, expected str"),
        ({"num_samples": True}, "num_samples is of type bool, expected int"),
        ({"label_map": {"a": [1, 2.5]}}, r"label_map\.a\.1 is of type float, expected int"),
        ({"label_map": {4: [1]}}, "a key of label_map is of type int, expected str"),
        ({"protocol": {"sources": []}}, r"protocol\.rules is missing; protocol\.targets is missing"),
        ({"progress": []}, "progress is of type list, expected dict"),
        ({"model": {"w": [1.0]}}, r"model\.w is of type list, expected a plain tensor"),
        ({"model": {"w": torch.eye(2).to_sparse()}}, "malformed"),
        ({"progress": {**content()["progress"], "step": -1}}, "step is -1, expected 0 or more"),
        ({"num_samples": -3}, "num_samples is -3, expected 0 or more"),
        ({"extra": 1}, "extra is not known"),
        ({"optimizer": {}}, "plan is missing"),
        ({"model": {"w": torch.zeros(1).expand(2**40)}}, "expected one that holds its values"),
        ({"notes": [{"a", "b"}]}, "(found a|type) set"),
    ],
)
def test_what_does_not_fit_the_schema_is_one_line_when_read_and_when_written(tmp_path, change, message):
    path = tmp_path / "model.pth"
    torch.save({"format": digest.FORMAT, "version": 2, "digest": "0", **content(**change)}, path)
    if message not in ("malformed", "expected one that holds its values", "(found a|type) set"):
        written(path, content(**change))
    with pytest.raises(ValueError, match=message) as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    if message != "malformed":
        with pytest.raises(ValueError, match=message):
            checkpoint.save(tmp_path / "other.pth", content(**change))
        assert not (tmp_path / "other.pth").exists()


def test_a_key_that_is_missing_is_named(tmp_path):
    for name in content():
        some = {key: value for key, value in content().items() if key != name}
        with pytest.raises(ValueError, match=f"malformed: {name} is missing"):
            checkpoint.load(written(tmp_path / "model.pth", some))


@pytest.mark.parametrize(("other", "said"), [({}, "missing"), ({"digest": 5}, "of another type")])
def test_a_file_without_a_digest_is_malformed(tmp_path, other, said):
    checkpoint.save(tmp_path / "model.pth", content())
    saved = torch.load(tmp_path / "model.pth", weights_only=True)
    torch.save({key: value for key, value in saved.items() if key != "digest"} | other, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=rf"model\.pth is malformed: digest is {said}$"):
        checkpoint.load(tmp_path / "model.pth")


def test_every_flipped_bit_of_a_tensor_and_of_the_text_is_noticed(tmp_path):
    path = tmp_path / "model.pth"
    weights = torch.linspace(1, 2, 500)
    checkpoint.save(path, content(model={"w": weights}, config="SEED: 1234567"))
    whole = path.read_bytes()
    tensor, text = whole.index(weights.numpy().tobytes()), whole.index(b"SEED: 1234567")
    for place in (*range(tensor, tensor + 2000, 97), *range(text, text + 13)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"with which it was written|cannot be read|more than tensors") as error:
            checkpoint.load(path)
        assert "\n" not in str(error.value)
    path.write_bytes(whole)
    checkpoint.load(path)


def test_digest_goes_by_values_types_and_order_and_by_no_layout():
    def of(tensor):
        return digest.of({"model": {"w": tensor}})

    images = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert of(images) == of(images.contiguous(memory_format=torch.channels_last))
    others = [images.int(), images.flatten(), images.clone().index_fill_(0, torch.tensor([0]), 1)]
    assert len({of(each) for each in (images, *others)}) == 4
    plain = [
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        {"a": 1.0, "b": 2},
        {"a": True, "b": 2},
        {"a": [1, 2]},
        {"a": (1, 2)},
        {"a": "1"},
    ]
    assert len({digest.of(each) for each in plain}) == len(plain)
    assert digest.of({"a": [[1], 2]}) != digest.of({"a": [[1, 2]]})
    assert digest.of({"a": 1, "digest": "x"}) == digest.of({"a": 1}), "what stands beside the content is not in it"


def test_a_file_of_weights_alone_is_no_run_to_go_on_with(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint.save(path, content())
    with pytest.raises(ValueError, match="weights alone"):
        checkpoint.load(path, resume=True)
    checkpoint.save(path, content(resume=True))
    checkpoint.load(path, resume=True)


def test_older_checkpoints_stay_as_many_as_asked_for(tmp_path):
    path = tmp_path / "model_last.pth"
    for step in (5, 10, 10, 20, 100):
        checkpoint.save(path, content(step))
        checkpoint.keep(path, step, 2)
    names = {f"model_step{step}.pth": step for step in (10, 20, 100)}
    assert {p.name for p in tmp_path.iterdir()} == {"model_last.pth", *names}
    assert {name: checkpoint.load(tmp_path / name)["progress"]["step"] for name in names} == names
    assert path.samefile(tmp_path / "model_step100.pth"), "no room is taken twice"


def test_failed_write_keeps_the_old_file_and_leaves_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    checkpoint.save(path, content(1))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*the checkpoint before it is kept"):
        checkpoint.save(path, content(2))
    assert checkpoint.load(path)["progress"]["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full exists on Linux only")
def test_a_really_full_device_is_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    checkpoint.save(path, content(1))
    (tmp_path / f".model.pth.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="could not be written"):
        checkpoint.save(path, content(model={"big": torch.zeros(10**6)}))
    assert checkpoint.load(path)["progress"]["step"] == 1


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    checkpoint.save(path, content(model={"w": torch.zeros(10000)}))
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
        write({"format": digest.FORMAT, "version": 1, "model": Hostile(tmp_path / "trace")}, path)
        with pytest.raises(ValueError, match="nothing in it was executed"):
            checkpoint.load(path)
        assert not (tmp_path / "trace").exists()


def test_other_files_and_versions_are_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {}}, path)
    with pytest.raises(ValueError, match="not a checkpoint of this toolkit"):
        checkpoint.load(path)
    torch.save({"format": digest.FORMAT, "version": 99}, path)
    with pytest.raises(ValueError, match="version 99"):
        checkpoint.load(path)
    for header in ({"format": torch.zeros(2)}, {"format": digest.FORMAT, "version": torch.zeros(2)}):
        torch.save(header, path)
        with pytest.raises(ValueError, match=r"not a checkpoint of this toolkit|has format version"):
            checkpoint.load(path)
    torch.save({"format": digest.FORMAT, "version": 2, **content()}, path)
    with pytest.raises(ValueError, match="malformed: digest is missing"):
        checkpoint.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        checkpoint.load(path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        checkpoint.load(tmp_path / "nothing.pth")


def test_whatever_fails_while_it_is_opened_is_one_line():
    for error in (MemoryError("no room\nat all"), KeyError("x"), ZeroDivisionError()):
        expected = r"^checkpoint: a\.pth cannot be opened: what its config asks for .*$"
        with pytest.raises(ValueError, match=expected), checkpoint.opening("a.pth"):
            raise error
    with pytest.raises(ValueError, match=r"^no sampler x$"), checkpoint.opening("a.pth"):
        raise ValueError("no sampler x")


def test_state_that_does_not_fit_names_keys_and_shapes():
    with pytest.raises(ValueError, match=r"missing bias; unexpected other; weight is \(3, 2\), expected \(2, 2\)"):
        checkpoint.load_state(nn.Linear(2, 2), {"weight": torch.zeros(3, 2), "other": torch.zeros(1)}, "x.pth")
