"""Two processes embed half each and both get the whole, or the same refusal."""

import pytest
import torch
from torch import distributed, multiprocessing

from reid.data import loader
from reid.data.records import Sample
from reid.evaluation.embed import embed

SAMPLES = [Sample(f"set/{i}.jpg", i, 1) for i in range(7)]


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    read = []

    def image_batches(samples, transform, *, batch_size, workers):
        read.extend(sample.pid for sample in samples)
        yield torch.tensor([sample.pid for sample in samples], dtype=torch.uint8)[:, None, None, None]

    loader.image_batches = image_batches
    rows = embed(lambda images: images.flatten(1).float(), SAMPLES, transform=None)
    alone = embed(lambda images: images.flatten(1).float(), SAMPLES[:1], transform=None)
    maps = embed(lambda images: images.float() * torch.ones(2, 3), SAMPLES[:3], transform=None)
    fault = ""
    try:
        embed(lambda images: 1 / (images.flatten(1).float() - 6).abs(), SAMPLES, transform=None)
    except ValueError as error:
        fault = str(error)
    torch.save((rows, read, alone, maps, fault), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_each_process_embeds_its_share(tmp_path):
    multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for rows, _, alone, maps, fault in found:
        assert rows.flatten().tolist() == list(range(7))
        assert alone.flatten().tolist() == [0]
        assert torch.equal(maps, torch.arange(3.0)[:, None, None, None].expand(3, 1, 2, 3))
        assert "set/6.jpg" in fault
    assert [read[: 4 - rank] for rank, (_, read, *_) in enumerate(found)] == [[0, 1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("num", [1, 7])
def test_alone_a_process_embeds_everything(monkeypatch, num):
    monkeypatch.setattr(
        loader, "image_batches", lambda samples, transform, **_: iter([torch.arange(len(samples))[:, None]])
    )
    assert len(embed(lambda images: images.float(), SAMPLES[:num], transform=None)) == num
