"""Batches of one part each: lengths, turns, who is left out, parts too small for a batch."""

from collections import Counter

import numpy as np
import pytest
import torch

from reid.data.samplers.one_part import OnePart
from reid.plan import Plan


def world(seed=0, num=200, num_classes=24):
    """classes (N,), each with two pictures or more, and a random plan of three parts, -1 among them."""
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.concatenate([np.repeat(np.arange(num_classes), 2), rng.integers(0, 24, num - 48)]))
    parts = rng.choice([-1, 0, 1, 2], num, p=[0.1, 0.6, 0.2, 0.1])
    return classes, parts


def batches(classes, parts, epoch=0, batch_size=16, num_instances=4, seed=0):
    zeros = np.zeros_like(classes)
    sampler = OnePart(classes, zeros, zeros, batch_size, seed, num_instances)
    plan = None if parts is None else Plan(parts=torch.from_numpy(parts))
    draws = [draw.indices for draw in sampler.draws(epoch, plan)]
    assert len(draws) == len(sampler) == -(-len(classes) // batch_size)
    assert all(draw.shape == (batch_size,) and draw.dtype == np.int64 for draw in draws)
    return draws


@pytest.mark.parametrize("seed", range(5))
def test_parts_take_turns_and_who_is_left_out_is_never_dealt(seed):
    classes, parts = world(seed)
    found = batches(classes, parts, seed=seed)
    assert [set(parts[batch]) for batch in found] == [{number % 3} for number in range(len(found))]
    for batch in found:
        groups = classes[batch].reshape(-1, 4)
        assert (groups == groups[:, :1]).all(), "the pictures of a class stand side by side"


def test_classes_and_pictures_of_a_part_take_turns():
    """As often as one another, but for one turn: counted over an epoch."""
    classes = np.repeat(np.arange(10), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    parts = np.arange(len(classes)) % 2
    found = batches(classes, parts, batch_size=4, num_instances=2)
    for part in (0, 1):
        mine = np.concatenate(found[part::2])
        seen = Counter(classes[mine])
        assert set(seen) == set(range(10))
        assert max(seen.values()) - min(seen.values()) <= 2
        for one in range(10):
            pictures = np.flatnonzero((classes == one) & (parts == part))
            times = [Counter(mine.tolist())[picture] for picture in pictures]
            assert max(times) - min(times) <= 1


def test_no_class_stands_twice_in_a_batch_unless_its_part_has_too_few():
    classes = np.repeat(np.arange(7), 10)
    parts = np.where(classes < 5, 0, 1)
    for number, batch in enumerate(batches(classes, parts, batch_size=8, num_instances=2)):
        seen = Counter(classes[batch].tolist())
        assert sorted(seen.values()) == ([2, 2, 2, 2] if number % 2 == 0 else [4, 4])
        assert len(set(batch.tolist())) == 8, "a class that stands twice has further pictures"


def test_without_a_plan_or_with_one_part_everything_is_dealt():
    classes, _ = world()
    one, other = batches(classes, None), batches(classes, np.zeros_like(classes))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert set(classes[np.concatenate(one)]) == set(range(24))


def test_batches_are_a_function_of_seed_epoch_and_plan():
    classes, parts = world()
    assert np.array_equal(batches(classes, parts), batches(classes, parts))
    assert not np.array_equal(batches(classes, parts), batches(classes, parts, epoch=1))
    assert not np.array_equal(batches(classes, parts), batches(classes, parts, seed=1))


@pytest.mark.parametrize("options", [{"batch_size": 10, "num_instances": 4}, {"batch_size": 8, "num_instances": 0}])
def test_batches_that_do_not_divide_are_refused(options):
    with pytest.raises(ValueError, match=r"sampler one_part: found batches of .* expected a multiple"):
        batches(np.arange(40) % 4, None, **options)
