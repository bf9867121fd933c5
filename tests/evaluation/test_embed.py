"""Embedding a list of samples: order, autocast, files named where a model breaks."""

import pytest
import torch

from reid.data import loader
from reid.data.records import Sample
from reid.evaluation.embed import embed

SAMPLES = [Sample(f"set/{i}.jpg", i, 1) for i in range(10)]


@pytest.fixture
def pictures(monkeypatch):
    """Stands in for the disk: (10, 3, 4, 2) uint8, the i-th for the i-th sample."""
    images = torch.randint(0, 256, (10, 3, 4, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def image_batches(samples, transform, *, batch_size, workers):
        chosen = torch.stack([images[sample.pid] for sample in samples])
        yield from chosen.split(batch_size)

    monkeypatch.setattr(loader, "image_batches", image_batches, raising=False)
    return images


def flatten(images):
    return images.flatten(1).float() / 255


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_rows_are_in_the_order_of_the_samples(pictures, batch_size):
    samples = SAMPLES[::-1]
    rows = embed(flatten, samples, transform=None, batch_size=batch_size)
    assert torch.equal(rows, flatten(pictures.flip(0)))
    assert rows.dtype == torch.float32
    assert not rows.is_inference()


def test_rows_keep_any_shape(pictures):
    rows = embed(lambda images: images.float(), SAMPLES[3:8], transform=None, batch_size=2)
    assert torch.equal(rows, pictures[3:8].float())


def test_half_precision_comes_back_as_float32(pictures):
    weight = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
    exact = embed(lambda images: flatten(images) @ weight, SAMPLES, transform=None)
    rows = embed(lambda images: flatten(images) @ weight, SAMPLES, transform=None, autocast=torch.bfloat16)
    assert rows.dtype == torch.float32
    assert not torch.equal(rows, exact)
    torch.testing.assert_close(rows, exact, atol=0.1, rtol=0.05)


def test_a_broken_embedding_names_its_file(pictures):
    def broken(images):
        rows = flatten(images).clone()
        rows[1] = torch.nan
        return rows

    with pytest.raises(ValueError, match=r"infinite embeddings for set/1\.jpg; expected finite"):
        embed(broken, SAMPLES, transform=None)
    with pytest.raises(ValueError, match=r"infinite embeddings for set/1\.jpg; expected finite"):
        embed(lambda images: broken(images)[:, :, None, None], SAMPLES, transform=None)
    with pytest.raises(ValueError, match=r"set/4\.jpg and 5 more"):
        embed(lambda images: flatten(images) / 0, SAMPLES, transform=None)


def test_nothing_to_embed_is_refused():
    with pytest.raises(ValueError, match="found no samples"):
        embed(flatten, [], transform=None)
