"""Kept embeddings: read when everything is as it was, computed anew when anything is not."""

import io
import logging
import os

import numpy as np
import pytest
import torch
from torch import nn

from reid.data import loader
from reid.data.records import Card, Dataset, Sample, Trial
from reid.data.transforms import Test as Resize
from reid.evaluation import cache
from reid.evaluation.evaluate import evaluate
from reid.methods import Method


class Flat(Method):
    """A picture's pixels through one layer; counts the pictures it encodes."""

    def __init__(self, seed=0, scale=1.0):
        super().__init__()
        self.scale, self.num_encoded = scale, []
        self.layer = nn.Linear(24, 8)
        nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.layer.bias)

    def encode_query(self, images):
        self.num_encoded.append(len(images))
        return self.layer(images.flatten(1).float()) * self.scale


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Twelve files of twelve bytes, read as noise of their number."""
    samples = []
    for i in range(12):
        path = tmp_path / "data" / f"{i:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(12))
        samples.append(Sample(str(path), i % 4 + 1, i // 4))

    def image_batches(samples, transform, *, batch_size, workers):
        for sample in samples:
            generator = torch.Generator().manual_seed(int(sample.path[-6:-4]))
            yield torch.randint(0, 256, (1, 3, 4, 2), dtype=torch.uint8, generator=generator)

    monkeypatch.setattr(loader, "image_batches", image_batches)
    trials = [Trial(samples[:4], samples[4:])]
    return Dataset("drawn", tmp_path / "data", (), trials, Card("made up", "none", "nowhere"))


def encoded(method, dataset, folder, **options):
    """How many pictures are encoded by one evaluation, and its rows."""
    method.num_encoded.clear()
    rows = evaluate(method, [dataset], protocol={}, cache=folder, **{"transform": Resize(), **options})
    return sum(method.num_encoded), rows


def test_the_second_evaluation_embeds_nothing_and_gives_the_same_rows(dataset, tmp_path, caplog):
    method, folder = Flat(), tmp_path / "run" / "embeddings"
    first = encoded(method, dataset, folder)
    with caplog.at_level(logging.INFO):
        second = encoded(method, dataset, folder, batch_size=3)
    assert (first[0], second[0]) == (12, 0)
    assert first[1] == second[1]
    assert "drawn-query: 12 embeddings read from" in caplog.text
    assert [path.suffix for path in folder.iterdir()] == [".npy"]


def test_rows_of_any_shape_are_kept(tmp_path):
    maps = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cache.kept(tmp_path, "set", "key", 3, lambda: maps), maps)
    assert torch.equal(cache.kept(tmp_path, "set", "key", 3, lambda: pytest.fail("computed again")), maps)


def test_nothing_is_kept_unless_a_folder_is_named(dataset, tmp_path):
    method = Flat()
    assert [encoded(method, dataset, None)[0] for _ in range(2)] == [12, 12]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_whatever_changes_an_embedding_makes_a_new_one(dataset, tmp_path, monkeypatch):
    folder = tmp_path / "embeddings"
    method = Flat()
    assert encoded(method, dataset, folder)[0] == 12
    assert encoded(Flat(), dataset, folder)[0] == 0
    assert encoded(Flat(seed=1), dataset, folder)[0] == 12
    assert encoded(Flat(scale=2.0), dataset, folder)[0] == 12
    assert encoded(method, dataset, folder, transform=Resize((64, 32)))[0] == 12
    assert encoded(method, dataset, folder, transform=Resize(interpolation="area"))[0] == 12
    assert encoded(method, dataset, folder, autocast=torch.bfloat16)[0] == 12
    os.utime(dataset.trials[0].query[0].path, ns=(0, 0))
    assert encoded(method, dataset, folder)[0] == 12
    monkeypatch.setattr(cache, "code", lambda: "another version")
    assert encoded(method, dataset, folder)[0] == 12
    assert encoded(method, dataset, folder)[0] == 0


def test_the_time_of_a_picture_in_an_archive_is_the_archives(tmp_path):
    archive = tmp_path / "set.zip"
    archive.write_bytes(b"PK")
    before = cache.pictures([Sample(f"{archive}/a/b.jpg", 1, 1)])
    archive.write_bytes(b"PKPK")
    assert cache.pictures([Sample(f"{archive}/a/b.jpg", 1, 1)]) != before


HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999), }"
SEVERAL = io.BytesIO()
np.savez(SEVERAL, rows=np.zeros((3, 2), np.float32))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY broken",
        b"PK\x03\x04broken",
        SEVERAL.getvalue(),
        HEADER.ljust(127) + b"\n",
        np.zeros(3, np.float32),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content):
    path = tmp_path / "set-key.npy"
    np.save(path, content) if isinstance(content, np.ndarray) else path.write_bytes(content)
    with pytest.raises(ValueError, match=r"set-key\.npy holds .*elete it"):
        cache.kept(tmp_path, "set", "key", 3, lambda: torch.zeros(3, 2))
