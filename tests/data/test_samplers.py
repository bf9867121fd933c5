from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from reid.data.samplers import Draw, Sampler
from reid.data.samplers.balanced import Balanced
from reid.data.samplers.hard_class import HardClass
from reid.data.samplers.identity import Identity
from reid.data.samplers.shuffle import Shuffle
from reid.plan import Plan

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


def near(distances, k=None):
    """The plan of the k nearest other classes, all where k is None."""
    order = np.argsort(distances + np.diag(np.full(len(distances), np.inf)), axis=1, kind="stable")
    return Plan(neighbours=torch.from_numpy(order[:, : k or len(distances) - 1]))


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


def test_a_giant_among_small_identities_is_dealt_in_linear_time_and_told_of():
    classes, domains, camids = labels([[10_000, 9_000, 3_000] + [4] * 100, [4] * 50])
    made = Balanced(classes, domains, camids, 64, 0)
    start = time.process_time()
    batches = made.batches(0)
    assert time.process_time() - start < 20  # 1.2 s measured
    assert set(np.concatenate(batches).tolist()) == set(range(len(classes)))
    dealt = identities(batches, classes, 4)
    assert all(len(set(row)) == 16 for row in dealt.tolist())
    assert len(made) == len(dealt) == 2_500
    assert made.notes == (
        "one identity makes an epoch 2,500 batches, as it has 2,500 groups of pictures: 40,000 places for 5,650 groups; "
        "with SAMPLER.EPOCH identities it would be 13 batches",
    )
    assert Balanced(*labels([[8] * 20]), 16, 0).notes == ()


@pytest.mark.parametrize("sampler", GROUPED)
@pytest.mark.parametrize("seed", range(10))
def test_an_epoch_of_identities_has_each_once_and_other_pictures_in_the_next(sampler, seed):
    classes, domains, camids = random_labels(seed)
    num, many = classes.max() + 1, np.bincount(classes) > 4
    made = sampler(classes, domains, camids, 8, seed, num_instances=2, epoch="identities")
    dealt = [identities(made.batches(epoch), classes, 2) for epoch in range(3)]
    assert all(len(one) == len(made) for one in dealt)
    assert all(len(set(row)) == 4 for one in dealt for row in one.tolist())
    if sampler is Balanced:
        assert all(set(one.ravel().tolist()) == set(range(num)) for one in dealt)
    else:
        assert len(made) == -(-num // 4)
        assert all(
            np.bincount(one.ravel()).max() <= 2 and set(one.ravel().tolist()) == set(range(num)) for one in dealt
        )
    if many.any():
        seen = [set(np.concatenate(made.batches(epoch)).tolist()) for epoch in range(3)]
        assert seen[0] != seen[1] != seen[2]


@pytest.mark.parametrize("sampler", GROUPED)
def test_another_word_for_an_epoch_is_refused(sampler):
    with pytest.raises(ValueError, match="no EPOCH steps; there are pictures, identities"):
        sampler(*labels([[4, 4, 4, 4]]), 8, 0, epoch="steps")


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
            "identity: found batches of 10 with 4 images per identity; expected a multiple",
        ),
        (Identity, 8, {"num_instances": 0}, "found batches of 8 with 0 images"),
        (Identity, 32, {"num_instances": 8}, "found batches of 32 and 16 training images"),
        (Identity, 10, {"num_instances": 2}, "found 4 identities; expected at least 5"),
        (HardClass, 8, {"num_anchors": 3}, "hard_class: found 3 anchors and 2 identities per batch; expected 1 to"),
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
    for epoch, k in zip(range(4), (None, 1, 3, 2), strict=True):
        batches = made.batches(epoch, near(line(classes, seed)[1], k))
        assert len(batches) == len(made) == len(Identity(classes, domains, camids, 8, seed, num_instances=2))
        assert all(len(set(row)) == 4 for row in identities(batches, classes, 2).tolist())
        assert set(np.concatenate(batches).tolist()) == set(range(len(classes)))


def test_hard_classes_are_a_function_of_seed_epoch_and_plan():
    data = random_labels(1)
    made, again, plain = HardClass(*data, 8, 3), HardClass(*data, 8, 3), Identity(*data, 8, 3)
    plan, other = (near(line(data[0], seed)[1]) for seed in (0, 1))
    assert np.array_equal(made.batches(1), plain.batches(1))
    assert np.array_equal(made.batches(1, plan), again.batches(1, plan))
    assert not np.array_equal(made.batches(1, plan), made.batches(2, plan))
    assert not np.array_equal(made.batches(1, plan), made.batches(1, other))
    assert np.array_equal(made.batches(1), plain.batches(1)), "it has kept nothing"


def slow_choice(distances, left, remaining, order, num, num_anchors):
    """`HardClass._choose` by the whole matrix of distances, in which all classes are compared with each anchor."""
    able = [c for c in range(len(left)) if left[c]]
    if len(able) > num:
        chosen, able = [c for c in able if left[c] == remaining], [c for c in able if left[c] != remaining]
    else:
        chosen, able = able, [c for c in range(len(left)) if not left[c]]
    anchors = chosen + [c for c in order if c in able][: max(0, num_anchors - len(chosen))]
    chosen, place = list(anchors), 0
    while len(chosen) < num:
        anchor = anchors[place % len(anchors)]
        chosen.append(min(set(able) - set(chosen), key=lambda c: (distances[anchor, c], c)))
        place += 1
    return chosen


@pytest.mark.parametrize("num_anchors", [1, 2, 4])
@pytest.mark.parametrize("seed", range(10))
def test_all_neighbours_give_the_choice_of_the_whole_matrix(num_anchors, seed):
    classes, domains, camids = random_labels(seed)
    made = HardClass(classes, domains, camids, 8, seed, num_instances=2, num_anchors=num_anchors)
    distances = np.round(line(classes, seed)[1], 1)  # ties
    rng = np.random.default_rng(seed)
    for remaining in (1, 2, 3, 5):
        left = rng.integers(0, remaining + 1, len(distances))
        order = rng.permutation(len(left))
        found = made._choose(near(distances).neighbours.numpy(), left, remaining, order)
        assert found == slow_choice(distances, left, remaining, order, 4, num_anchors)


def test_where_no_known_neighbour_is_left_the_next_class_of_the_random_order_stands_in():
    """Class 0's only known neighbour is 1. Both take part in every batch while they have pictures left."""
    made = HardClass(*labels([[2, 2, 2, 2]]), 4, 0, num_instances=2)
    neighbours, order = np.array([[1], [0], [0], [0]]), np.array([0, 3, 1, 2])
    assert made._choose(neighbours, np.array([2, 2, 2, 2]), 9, order) == [0, 1]
    assert made._choose(neighbours, np.array([2, 0, 2, 2]), 9, order) == [0, 3]


def test_with_one_anchor_the_rest_of_the_batch_are_the_classes_nearest_to_it():
    """Four pairs of twins far from each other: every batch of two is a pair of twins."""
    classes, domains, camids = labels([[2] * 8])
    made = HardClass(classes, domains, camids, 4, 0, num_instances=2)
    places = np.repeat(np.arange(4.0, dtype=np.float32), 2)
    plan = near(np.abs(places[:, None] - places), k=1)
    assert {tuple(sorted(row)) for row in identities(made.batches(0, plan), classes, 2).tolist()} == {
        *((0, 1), (2, 3), (4, 5), (6, 7))
    }


def test_hard_classes_lie_nearer_than_random_ones_and_more_anchors_spread_the_batch():
    classes, domains, camids = labels([[4] * 64])
    places, distances = line(classes)
    spread = []
    for num_anchors in (1, 2, 8):
        made = HardClass(classes, domains, camids, 32, 0, num_instances=4, num_anchors=num_anchors)
        spread.append(np.ptp(places[identities(made.batches(0, near(distances)), classes, 4)], axis=1).mean())
    plain = np.ptp(places[identities(made.grouped.batches(np.random.default_rng(0)), classes, 4)], axis=1).mean()
    assert spread[0] < spread[1] < spread[2]
    assert spread[0] < plain / 2


class Given(Sampler):
    needs = frozenset({"parts"})

    def __init__(self, batches, num):
        self.given, self.num = batches, num

    def __len__(self):
        return self.num

    def batches(self, epoch, plan=None):
        return self.given


def test_an_epoch_of_another_length_and_a_plan_without_what_is_needed_are_refused():
    batches = [np.arange(4), Draw(np.arange(4, 8), roles=np.ones(4, np.int64))]
    plan = Plan(parts=torch.zeros(8, dtype=torch.int64))
    one, two = Given(batches, 2).draws(3, plan)
    assert (one.indices.tolist(), one.roles) == ([0, 1, 2, 3], None)
    assert two is batches[1]
    assert len(Given(batches, 2).draws(0)) == 2, "there is no plan yet"
    with pytest.raises(ValueError, match="sampler Given: found 2 batches in epoch 3; expected 3, as in every epoch"):
        Given(batches, 3).draws(3, plan)
    with pytest.raises(ValueError, match="sampler Given: found a plan without parts, which it needs"):
        Given(batches, 2).draws(3, Plan(neighbours=torch.ones(2, 1, dtype=torch.int64)))


# ---- sharing a batch among processes


def shares(groups, world):
    return [rows.tolist() for rows in Draw(np.arange(len(groups)), groups=np.array(groups)).shares(world)]


def test_rows_without_groups_are_shared_in_slices():
    assert [rows.tolist() for rows in Draw(np.arange(6)).shares(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match="found a batch of 6 for 4 processes; expected a multiple"):
        Draw(np.arange(6)).shares(4)


def test_groups_go_whole_to_one_process_and_equal_ones_side_by_side_go_in_slices():
    assert shares([7, 7, 3, 3, 5, 5, 0, 0], 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert shares([0, 1, 0, 1, 2, 3, 2, 3], 2) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert shares([0, 1, 2, 0, 1, 2, 0, 0], 2) == [[0, 3, 6, 7], [1, 2, 4, 5]]
    assert shares([0, 0, 0, 0], 1) == [[0, 1, 2, 3]]


@pytest.mark.parametrize("seed", range(30))
def test_groups_are_dealt_wherever_that_can_be(seed):
    """Each process's rows are cut into groups at random, then all rows are mixed: so a dealing exists."""
    rng = np.random.default_rng(seed)
    world, size = rng.integers(2, 5), 12
    cuts = [np.sort(rng.integers(0, size, 3)) for _ in range(world)]
    groups = np.concatenate([10 * p + np.searchsorted(cut, np.arange(size)) for p, cut in enumerate(cuts)])
    groups = rng.permutation(len(groups) * 10)[groups][rng.permutation(len(groups))]
    found = Draw(np.arange(len(groups)), groups=groups).shares(world)
    assert [len(rows) for rows in found] == [size] * world
    assert sorted(np.concatenate(found)) == list(range(len(groups)))
    assert sum(len(np.unique(groups[rows])) for rows in found) == len(np.unique(groups))


def test_a_first_fit_that_comes_to_no_end_is_taken_back():
    """4, 4, 3, 3, 3, 3 for two of 10: the two fours may not be together."""
    sizes = [4, 4, 3, 3, 3, 3]
    assert sorted(len(rows) for rows in shares(np.repeat(np.arange(6), sizes), 2)) == [10, 10]


@pytest.mark.parametrize(("sizes", "world"), [([5, 3], 2), ([4, 4, 4], 2), ([4] * 60, 16), ([7, 2, 2, 1], 2)])
def test_groups_that_cannot_be_shared_evenly_are_refused_in_one_line(sizes, world):
    with pytest.raises(
        ValueError, match=f"found groups of {sizes[0]}, .* rows for {world} processes of .* rows each"
    ) as e:
        shares(np.repeat(np.arange(len(sizes)), sizes), world)
    assert "\n" not in str(e.value)


def test_an_epoch_of_a_hundred_thousand_pictures_is_dealt_in_about_half_a_second():
    rng = np.random.default_rng(0)
    sizes = [rng.integers(1, 12, 3_500).tolist() for _ in range(5)]
    data = labels(sizes)
    start = time.process_time()
    Balanced(*data, 64, 0).batches(0)
    assert time.process_time() - start < 4  # 0.4 s measured
