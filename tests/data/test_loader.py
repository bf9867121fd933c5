from __future__ import annotations

import itertools
import multiprocessing
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from trees import picture

from reid.data import pictures, sources
from reid.data.augment.crop import Crop
from reid.data.augment.erasing import Erasing
from reid.data.augment.flip import Flip
from reid.data.augment.jitter import Jitter
from reid.data.datasets import folder
from reid.data.loader import Loader, image_batches, read_image
from reid.data.records import Sample
from reid.data.samplers import Draw
from reid.data.samplers.balanced import Balanced
from reid.data.samplers.shuffle import Shuffle
from reid.data.transforms import Test, Train
from reid.plan import Plan

SIZE = (32, 16)


@pytest.fixture(scope="module")
def train_set(tiny_world):
    return sources.join([folder.load(tiny_world, path=path) for path in ("source_a", "source_b")])


def loader(train_set, workers, **options):
    sampler = Balanced(train_set.classes, train_set.domains, train_set.camids, 16, 0)
    transform = Train(SIZE, augment=[Flip(), Crop(4), Jitter(), Erasing()])
    return Loader(train_set, transform, sampler, seed=3, workers=workers, **options)


def equal(one, other):
    tensors = ("images", "classes", "camids", "domains", "indices", "part", "roles")
    same = all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)
    same &= one.views.keys() == other.views.keys()
    same &= all(torch.equal(images, other.views[name]) for name, images in one.views.items())
    return same and (one.paths, one.step, one.epoch) == (other.paths, other.step, other.epoch)


# ---- read_image


def write(path: Path, image) -> str:
    assert cv2.imwrite(str(path), image)
    return str(path)


def test_pictures_are_read_as_rgb(tmp_path):
    blue_in_bgr = np.zeros((4, 4, 3), np.uint8)
    blue_in_bgr[..., 0] = 255
    assert read_image(write(tmp_path / "blue.png", blue_in_bgr))[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (np.full((6, 4), 128, np.uint8), ".png"),
        (np.full((6, 4), 128 * 257, np.uint16), ".png"),
        (np.full((6, 4, 3), 128 * 257, np.uint16), ".png"),
        (np.dstack([np.full((6, 4, 3), 128, np.uint8), np.zeros((6, 4, 1), np.uint8)]), ".png"),
        (np.full((6, 4), 128, np.uint8), ".jpg"),
        (np.full((6, 4, 3), 128, np.uint8), ".bmp"),
    ],
    ids=["grey", "grey-16-bit", "16-bit", "alpha", "grey-jpeg", "bmp"],
)
def test_pictures_of_every_kind_come_out_as_three_channels_of_bytes(tmp_path, pixels, suffix):
    image = read_image(write(tmp_path / f"x{suffix}", pixels))
    assert (image.shape, image.dtype) == ((6, 4, 3), np.uint8)
    assert np.abs(image.astype(int) - 128).max() <= 1


def test_one_bit_pictures_come_out_black_and_white(tmp_path):
    path = str(tmp_path / "x.png")
    cv2.imwrite(path, np.array([[0, 255], [255, 0]], np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert read_image(path).tolist() == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "zero bytes"), (b"<html>", "cannot decode"), (picture()[:40], "cannot")]
)
def test_a_picture_that_cannot_be_decoded_is_named_with_the_reason(tmp_path, data, reason):
    (tmp_path / "bad.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=rf"bad\.jpg: found .*{reason}"):
        read_image(f"{tmp_path}/bad.jpg")
    with pytest.raises(FileNotFoundError, match=r"absent\.jpg"):
        read_image(f"{tmp_path}/absent.jpg")


def test_what_libraries_say_of_a_picture_is_heard_and_stderr_is_as_before(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    hole = whole[: len(whole) // 2] + whole[-2:]
    (image, nothing), (damaged, said) = pictures.hear(whole), pictures.hear(hole)
    assert (nothing, pictures.hear(whole)[1]) == ("", "")
    assert said.startswith("Corrupt JPEG data")
    assert np.array_equal(image, pictures.decode(whole))
    assert np.array_equal(damaged, pictures.decode(hole))
    assert capfd.readouterr().err.count("Corrupt JPEG data") == 1, "of `decode` alone, which leaves it there"
    (tmp_path / "hole.jpg").write_bytes(hole)
    damage = {}
    read_image(str(tmp_path / "hole.jpg"), damage)
    assert damage == {str(tmp_path / "hole.jpg"): said}


def test_what_a_progress_bar_draws_meanwhile_is_no_word_of_a_picture(monkeypatch, capfd):
    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", lambda data: (os.write(2, b"\repoch 1/2:  50%"), decode(data))[1])
    assert pictures.hear(picture())[1] == ""
    assert capfd.readouterr().err == "\repoch 1/2:  50%"


# ---- Loader


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_for_any_number_of_workers(train_set, workers):
    alone, many = loader(train_set, 0), loader(train_set, workers)
    for epoch in (0, 1):
        pairs = list(zip(alone.epoch(epoch), many.epoch(epoch), strict=True))
        assert len(pairs) == len(alone) == 10
        assert all(equal(one, other) for one, other in pairs)
    many.close()


def test_epochs_and_seeds_draw_differently(train_set):
    def first(sampler_seed, seed, epoch):
        sampler = Shuffle(train_set.classes, train_set.domains, train_set.camids, 16, sampler_seed)
        return next(Loader(train_set, Train(SIZE, augment=[Crop()]), sampler, seed=seed, workers=0).epoch(epoch))

    assert torch.equal(first(0, 0, 0).indices, first(0, 1, 0).indices)
    assert not torch.equal(first(0, 0, 0).images, first(0, 1, 0).images)
    assert not torch.equal(first(0, 0, 0).indices, first(0, 0, 1).indices)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_epoch_goes_on_with_the_same_batches(train_set, workers):
    whole, resumed = loader(train_set, 0), loader(train_set, workers)
    expected = list(whole.epoch(2, step=20))[7:]
    found = list(resumed.epoch(2, start=7, step=27))
    assert [batch.step for batch in found] == [27, 28, 29]
    assert all(equal(one, other) for one, other in zip(expected, found, strict=True))
    resumed.close()


def test_an_epoch_left_early_does_not_disturb_the_next(train_set):
    many = loader(train_set, 2)
    next(many.epoch(0))
    assert all(equal(a, b) for a, b in zip(loader(train_set, 0).epoch(1), many.epoch(1), strict=True))
    many.close()


def test_a_batch_carries_the_labels_of_its_pictures(train_set):
    parts = torch.arange(len(train_set)) % 3
    batch = next(loader(train_set, 0).epoch(4, step=9, plan=Plan(parts=parts)))
    indices = batch.indices.numpy()
    assert (batch.step, batch.epoch, len(batch)) == (9, 4, 16)
    assert batch.images.shape == (16, 3, *SIZE)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.classes.tolist() == train_set.classes[indices].tolist()
    assert batch.camids.tolist() == train_set.camids[indices].tolist()
    assert batch.domains.tolist() == train_set.domains[indices].tolist()
    assert batch.part.tolist() == parts[indices].tolist()
    assert batch.paths == [train_set.samples[i].path for i in indices]
    bare = next(loader(train_set, 0).epoch(0))
    assert bare.part.tolist() == bare.roles.tolist() == [0] * 16
    with pytest.raises(ValueError, match="found the parts of 5 samples; expected one each of 160"):
        next(loader(train_set, 0).epoch(0, plan=Plan(parts=parts[:5])))


class Roles(Shuffle):
    """Every second row has role 1; rows i and i + 8 of a batch belong together."""

    def batches(self, epoch, plan=None):
        roles, groups = np.arange(16) % 2, np.arange(16) % 8
        return [Draw(batch, roles=roles, groups=groups) for batch in super().batches(epoch, plan)]


def with_roles(train_set, **options):
    sampler = Roles(train_set.classes, train_set.domains, train_set.camids, 16, 0)
    return Loader(train_set, Train(SIZE, augment=[Flip(), Erasing()]), sampler, seed=3, workers=0, **options)


def test_a_group_stays_whole_and_each_row_is_drawn_as_in_the_whole_batch(train_set):
    whole = list(with_roles(train_set).epoch(1))
    halves = [list(with_roles(train_set, rank=rank, world=2).epoch(1)) for rank in (0, 1)]
    for batch, *shares in zip(whole, *halves, strict=True):
        for share, rows in zip(shares, ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]), strict=True):
            expected = batch.select(torch.isin(torch.arange(16), torch.tensor(rows)))
            assert equal(share, expected)
            assert len(share) == 8
    with pytest.raises(ValueError, match=r"groups of 2, .* rows for 16 processes of 1 rows each"):
        next(with_roles(train_set, rank=0, world=16).epoch(0))


def test_select_keeps_of_every_field_the_rows_marked(train_set):
    batch = next(with_roles(train_set).epoch(0, step=4))
    chosen = batch.select(batch.roles == 1)
    assert chosen.indices.tolist() == batch.indices[1::2].tolist()
    assert chosen.roles.tolist() == [1] * 8
    assert chosen.paths == batch.paths[1::2]
    assert torch.equal(chosen.images, batch.images[1::2])
    assert chosen.images.is_contiguous(memory_format=torch.channels_last)
    assert (len(chosen), chosen.step, chosen.epoch) == (8, 4, 0)
    assert len(batch.select(batch.roles == 2)) == 0
    for mask in (torch.ones(15, dtype=torch.bool), torch.ones(16, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"found a mask .* expected \(16,\) bool"):
            batch.select(mask)


def test_processes_share_every_batch_out_in_slices(train_set):
    whole = list(loader(train_set, 0).epoch(1))
    halves = [list(loader(train_set, 0, rank=rank, world=2).epoch(1)) for rank in (0, 1)]
    for batch, *slices in zip(whole, *halves, strict=True):
        assert torch.equal(batch.images, torch.cat([part.images for part in slices]))
        assert batch.paths == [path for part in slices for path in part.paths]
    with pytest.raises(ValueError, match="batch of 16 for 3 processes"):
        next(loader(train_set, 0, rank=0, world=3).epoch(0))
    with pytest.raises(ValueError, match="rank 2 of 2"):
        loader(train_set, 0, rank=2, world=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_reported_in_one_line_wherever_it_is_met(tmp_path, workers):
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(picture())
    bad.write_bytes(b"not a picture")
    samples = (Sample(str(good), 1, None), Sample(str(bad), 2, None))
    zeros = np.zeros(2, np.int64)
    made = sources.TrainSet(samples, np.arange(2), zeros, zeros, ("one",))
    many = Loader(made, Train(SIZE), Shuffle(np.arange(2), zeros, zeros, 2, 0), seed=0, workers=workers)
    with pytest.raises(ValueError, match=r"bad\.jpg: found 13 bytes that OpenCV cannot decode") as error:
        list(many.epoch(0))
    assert "\n" not in str(error.value)
    many.close()


def test_workers_live_from_epoch_to_epoch_and_end_with_close(train_set):
    before = set(multiprocessing.active_children())
    many = loader(train_set, 2)
    list(many.epoch(0))
    workers = set(multiprocessing.active_children()) - before
    list(many.epoch(1))
    assert len(workers) == 2
    assert set(multiprocessing.active_children()) - before == workers
    many.close()
    assert set(multiprocessing.active_children()) - before == set()


def test_loading_leaves_the_global_random_states_alone(train_set):
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    list(loader(train_set, 0).epoch(0))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


# ---- views

STRONG = Train(SIZE, augment=[Flip(), Crop(4), Jitter(), Erasing()])
VIEWS = {"strong": STRONG, "other": STRONG, "plain": Train(SIZE)}


@pytest.mark.parametrize("workers", [0, 2])
def test_views_are_augmented_anew_and_leave_the_images_as_they_are(train_set, workers):
    with_views, without = loader(train_set, workers, views=VIEWS), loader(train_set, 0)
    for batch, plain in zip(with_views.epoch(1), without.epoch(1), strict=True):
        assert plain.views == {}
        assert torch.equal(batch.images, plain.images)
        assert list(batch.views) == ["strong", "other", "plain"]
        for images in batch.views.values():
            assert (images.shape, images.dtype) == (batch.images.shape, torch.uint8)
            assert images.is_contiguous(memory_format=torch.channels_last)
        # Equal transforms, and the draws differ for every picture.
        drawn = [batch.images, batch.views["strong"], batch.views["other"]]
        for one, other in itertools.combinations(drawn, 2):
            assert (one != other).flatten(1).any(1).all()
        for path, image in zip(batch.paths, batch.views["plain"], strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), Test(SIZE)(read_image(path)))
    with_views.close()


def test_views_draw_by_seed_epoch_position_and_name(train_set):
    batch = list(loader(train_set, 0, views=VIEWS).epoch(2))[3]
    name = int.from_bytes(b"strong", "big")
    for row in (0, 5):
        expected = STRONG(read_image(batch.paths[row]), np.random.default_rng((3, 2, 3 * 16 + row, name)))
        assert np.array_equal(batch.views["strong"][row].permute(1, 2, 0).numpy(), expected)


def test_views_are_the_same_for_any_number_of_workers_processes_and_other_views(train_set):
    alone = list(loader(train_set, 0, views=VIEWS).epoch(0))
    many = loader(train_set, 2, views=VIEWS)
    assert all(equal(one, other) for one, other in zip(alone, many.epoch(0), strict=True))
    assert all(equal(one, other) for one, other in zip(alone[4:], many.epoch(0, start=4, step=4), strict=True))
    many.close()
    for batch, single in zip(alone, loader(train_set, 0, views={"other": STRONG}).epoch(0), strict=True):
        assert torch.equal(batch.views["other"], single.views["other"])
    halves = [loader(train_set, 0, rank=rank, world=2, views=VIEWS).epoch(0) for rank in (0, 1)]
    for batch, *slices in zip(alone, *halves, strict=True):
        assert torch.equal(batch.views["strong"], torch.cat([part.views["strong"] for part in slices]))


def test_views_share_one_reading_of_each_picture(train_set, monkeypatch):
    read = []
    monkeypatch.setattr("reid.data.loader.read_image", lambda path, *more: read.append(path) or read_image(path))
    batch = next(loader(train_set, 0, views=VIEWS).epoch(0))
    assert read == batch.paths


def test_views_move_with_their_batch(train_set):
    batch = next(loader(train_set, 0, views=VIEWS).epoch(0))
    moved = batch.to("meta")
    assert {images.device.type for images in (moved.images, moved.indices, *moved.views.values())} == {"meta"}
    assert moved.views.keys() == VIEWS.keys()
    assert batch.views["strong"].device.type == "cpu"


def test_views_are_selected_with_their_batch(train_set):
    batch = next(loader(train_set, 0, views=VIEWS).epoch(0))
    mask = torch.arange(16) % 3 == 0
    chosen = batch.select(mask)
    assert torch.equal(chosen.images, batch.images[mask])
    for name, images in batch.views.items():
        assert torch.equal(chosen.views[name], images[mask])
        assert chosen.views[name].is_contiguous(memory_format=torch.channels_last)
    assert len(batch.views["strong"]) == 16


@pytest.mark.parametrize("name", ["images", "paths", "views", "two words", "", 3])
def test_a_view_without_a_name_of_its_own_is_refused(train_set, name):
    with pytest.raises(ValueError, match=f"loader: found a view called {name}; expected a name such as strong"):
        loader(train_set, 0, views={name: STRONG})


# ---- image_batches


@pytest.mark.parametrize("workers", [0, 2])
def test_image_batches_come_in_order_with_a_shorter_last(train_set, workers):
    samples = train_set.samples[:7]
    batches = list(image_batches(samples, Test(SIZE), batch_size=3, workers=workers))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert batches[0].is_contiguous(memory_format=torch.channels_last)
    for sample, image in zip(samples, torch.cat(batches), strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), Test(SIZE)(read_image(sample.path)))
    assert list(image_batches([], Test(SIZE), batch_size=3, workers=workers)) == []


def test_image_batches_name_a_bad_picture_in_one_line(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"bad\.jpg: found zero bytes"):
        list(image_batches([Sample(f"{tmp_path}/bad.jpg", 1, None)], Test(SIZE), batch_size=2, workers=1))
