from __future__ import annotations

import time

import numpy as np
import pytest

from reid.data.samplers.balanced import Balanced
from reid.data.samplers.hard_class import HardClass
from reid.data.samplers.identity import Identity
from reid.data.samplers.shuffle import Shuffle

GROUPED = [Identity, Balanced, HardClass]
EVERY = [Shuffle, *GROUPED]


def labels(sizes, cameras=2):
    """sizes: pictures of each identity, a list a domain -> classes, domains, camids."""
    per_id = [size for domain in sizes for size in domain]
    domain_of = [d for d, domain in enumerate(sizes) for _ in domain]
    classes = np.repeat(np.arange(len(per_id)), per_id)
    camids = np.concatenate([np.arange(size) % cameras for size in per_id])
    return classes, np.repeat(domain_of, per_id), camids


def random_labels(seed):
    """Between one and four domains of uneven identities, some with one picture, some with many."""
    rng = np.random.default_rng(seed)
    sizes = [rng.integers(1, rng.integers(2, 25), rng.integers(4, 12)).tolist() for _ in range(rng.integers(1, 5))]
    return labels(sizes)


def line(classes, seed=0):
    """Classes at random places on a line, and the distances between them: (C,), (C, C) float32."""
    places = np.random.default_rng(seed).random(classes.max() + 1).astype(np.float32)
    return places, np.abs(places[:, None] - places)


def identities(batches, classes, num_instances):
    """(L, P) the identities of each batch; asserts that the K pictures of each stand side by side."""
    groups = classes[np.stack(batches)].reshape(len(batches), -1, num_instances)
    assert (groups == groups[:, :, :1]).all()
    return groups[:, :, 0]


@pytest.mark.parametrize("sampler", EVERY)
def test_batches_are_a_function_of_seed_and_epoch(sampler):
    data = random_labels(0)
    same, again, other = (sampler(*data, 8, seed) for seed in (3, 3, 4))
    assert np.array_equal(same.batches(5), again.batches(5))
    assert not np.array_equal(same.batches(5), same.batches(6))
    assert not np.array_equal(same.batches(5), other.batches(5))
    assert same.batches(0)[0].dtype == np.int64


@pytest.mark.parametrize("sampler", EVERY)
@pytest.mark.parametrize("seed", range(20))
def test_lengths_are_exact_and_every_picture_is_seen(sampler, seed):
    classes, domains, camids = random_labels(seed)
    made = sampler(classes, domains, camids, 8, seed)
    for epoch in range(3):
        batches = made.batches(epoch)
        assert len(batches) == len(made)
        assert {len(batch) for batch in batches} == {8}
        assert set(np.concatenate(batches).tolist()) == set(range(len(classes)))


@pytest.mark.parametrize("sampler", GROUPED)
@pytest.mark.parametrize("seed", range(20))
def test_no_identity_stands_twice_in_a_batch(sampler, seed):
    classes, domains, camids = random_labels(seed)
    batches = sampler(classes, domains, camids, 8, seed, num_instances=2).batches(0)
    assert all(len(set(row)) == 4 for row in identities(batches, classes, 2).tolist())


@pytest.mark.parametrize("num_identities", [2, 3, 4, 7])
@pytest.mark.parametrize("seed", range(8))
def test_balanced_splits_every_batch_as_evenly_as_identities_divide(num_identities, seed):
    rng = np.random.default_rng(seed)
    classes, domains, camids = labels([rng.integers(1, 20, size).tolist() for size in (7, 30, 12)])
    made = Balanced(classes, domains, camids, num_identities * 2, seed, num_instances=2)
    counts = np.stack([np.bincount(domains[batch], minlength=3) // 2 for batch in made.batches(0)])
    assert (counts.max(1) - counts.min(1) <= 1).all()
    assert np.ptp(counts.sum(0)) <= 1, "what does not divide goes round"


def test_identity_has_no_more_batches_than_its_groups_fill():
    classes, domains, camids = labels([[8] * 12, [4] * 8])  # 12 x 2 + 8 = 32 groups of 4
    assert len(Identity(classes, domains, camids, 16, 0, num_instances=4)) == 8
    seen = np.bincount(np.concatenate(Identity(classes, domains, camids, 16, 0).batches(0)))
    assert seen.tolist() == [1] * len(classes)


def test_balanced_repeats_the_small_domain_evenly():
    classes, domains, camids = labels([[4] * 4, [4] * 16])
    batches = Balanced(classes, domains, camids, 16, 0, num_instances=4).batches(0)
    seen = np.bincount(np.concatenate(batches))
    assert len(batches) == 8
    assert seen[domains == 1].tolist() == [1] * 64
    assert seen[domains == 0].tolist() == [4] * 16


def test_an_identity_with_more_groups_than_batches_lengthens_the_epoch():
    classes, domains, camids = labels([[40, 2, 2, 2]])
    assert len(Identity(classes, domains, camids, 4, 0, num_instances=2)) == 20


@pytest.mark.parametrize("sampler", GROUPED)
def test_identities_with_few_pictures_are_filled_by_repeating_their_own(sampler):
    classes, domains, camids = labels([[1, 3, 5, 4], [2, 1, 4, 4]])
    for batch in sampler(classes, domains, camids, 16, 0, num_instances=4).batches(0):
        for row in batch.reshape(4, 4):
            size = (classes == classes[row[0]]).sum()
            assert len(set(row.tolist())) == min(size, 4)


@pytest.mark.parametrize("sampler", GROUPED)
def test_cameras_take_turns_within_an_identity(sampler):
    classes, domains, camids = labels([[8] * 8, [8] * 8], cameras=4)
    for batch in sampler(classes, domains, camids, 16, 0, num_instances=4).batches(0):
        assert all(len(set(row)) == 4 for row in camids[batch].reshape(4, 4).tolist())


@pytest.mark.parametrize(
    ("sampler", "batch_size", "options", "message"),
    [
        (Shuffle, 17, {}, "shuffle: found batches of 17 and 16 training images"),
        (Shuffle, 0, {}, "found batches of 0"),
        (
            Identity,
            10,
            {"num_instances": 4},
            "identity: found batches of 10 with 4 images an identity; expected a multiple",
        ),
        (Identity, 8, {"num_instances": 0}, "found batches of 8 with 0 images"),
        (Identity, 32, {"num_instances": 8}, "found batches of 32 and 16 training images"),
        (Identity, 10, {"num_instances": 2}, "found 4 identities; expected at least 5"),
        (HardClass, 8, {"num_anchors": 3}, "hard_class: found 3 anchors and 2 identities a batch; expected 1 to"),
        (Balanced, 12, {"num_instances": 2}, "balanced: found 1 identities in domain 1; expected at least 3"),
    ],
)
def test_sizes_that_cannot_be_met_are_refused_in_one_line(sampler, batch_size, options, message):
    with pytest.raises(ValueError, match=message) as error:
        sampler(*labels([[4, 4, 4], [4]]), batch_size, 0, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_anchors", [1, 2, 4])
@pytest.mark.parametrize("seed", range(10))
def test_hard_classes_keep_length_and_deal_every_picture_to_no_batch_twice(num_anchors, seed):
    classes, domains, camids = random_labels(seed)
    made = HardClass(classes, domains, camids, 8, seed, num_instances=2, num_anchors=num_anchors)
    made.use_distances(line(classes, seed)[1])
    for epoch in range(3):
        batches = made.batches(epoch)
        assert len(batches) == len(made) == len(Identity(classes, domains, camids, 8, seed, num_instances=2))
        assert all(len(set(row)) == 4 for row in identities(batches, classes, 2).tolist())
        assert set(np.concatenate(batches).tolist()) == set(range(len(classes)))


def test_hard_classes_are_a_function_of_seed_epoch_and_distances():
    data = random_labels(1)
    made, again, plain = HardClass(*data, 8, 3), HardClass(*data, 8, 3), Identity(*data, 8, 3)
    assert np.array_equal(made.batches(1), plain.batches(1))
    made.use_distances(line(data[0])[1])
    again.use_distances(line(data[0])[1])
    assert np.array_equal(made.batches(1), again.batches(1))
    assert not np.array_equal(made.batches(1), made.batches(2))
    again.use_distances(line(data[0], seed=1)[1])
    assert not np.array_equal(made.batches(1), again.batches(1))
    made.use_distances(None)
    assert np.array_equal(made.batches(1), plain.batches(1))


def test_with_one_anchor_the_rest_of_the_batch_are_the_classes_nearest_to_it():
    """Four pairs of twins far from each other: every batch of two is a pair of twins."""
    classes, domains, camids = labels([[2] * 8])
    made = HardClass(classes, domains, camids, 4, 0, num_instances=2)
    places = np.repeat(np.arange(4.0, dtype=np.float32), 2)
    made.use_distances(np.abs(places[:, None] - places))
    assert {tuple(sorted(row)) for row in identities(made.batches(0), classes, 2).tolist()} == {
        *((0, 1), (2, 3), (4, 5), (6, 7))
    }


def test_hard_classes_lie_nearer_than_random_ones_and_more_anchors_spread_the_batch():
    classes, domains, camids = labels([[4] * 64])
    places, distances = line(classes)
    spread = []
    for num_anchors in (1, 2, 8):
        made = HardClass(classes, domains, camids, 32, 0, num_instances=4, num_anchors=num_anchors)
        made.use_distances(distances)
        spread.append(np.ptp(places[identities(made.batches(0), classes, 4)], axis=1).mean())
    plain = np.ptp(places[identities(made.dealer.batches(np.random.default_rng(0)), classes, 4)], axis=1).mean()
    assert spread[0] < spread[1] < spread[2]
    assert spread[0] < plain / 2


def test_an_epoch_of_a_hundred_thousand_pictures_is_dealt_in_about_half_a_second():
    rng = np.random.default_rng(0)
    sizes = [rng.integers(1, 12, 3_500).tolist() for _ in range(5)]
    data = labels(sizes)
    start = time.process_time()
    Balanced(*data, 64, 0).batches(0)
    assert time.process_time() - start < 4  # 0.4 s measured
