"""Divisions of a training set against brute force: naming over all permutations, clusters that can be learned from."""

import itertools

import numpy as np
import pytest
import torch

from reid.methods._divide import by_lot, divide, halve, rematch, usable_classes, without_lone

SETTINGS = {"iterations": 20, "redo": 1, "seed": 0}


def apart(parts, seed=0, dim=6):
    """Rows (N, dim) that lie apart by part, by a little noise within."""
    centres = torch.eye(dim)[torch.as_tensor(parts)] * 10
    return centres + 0.1 * torch.randn(len(parts), dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num", range(1, 6))
@pytest.mark.parametrize("seed", range(8))
def test_divide_rematch_is_the_best_of_all_permutations(num, seed):
    rng = np.random.default_rng(seed)
    before, labels = rng.integers(0, num, 40), rng.integers(0, num, 40)

    def cost(names):
        renamed = np.array(names)[labels]
        return sum(((renamed == name) ^ (before == name)).sum() for name in range(num))

    least = min(map(cost, itertools.permutations(range(num))))
    found = rematch(labels, before, num)
    assert sum(((found == name) ^ (before == name)).sum() for name in range(num)) == least
    assert len(set(zip(labels.tolist(), found.tolist(), strict=True))) == len(set(labels.tolist())), "it is a naming"


def test_divide_released_rematch_is_the_inverse():
    """On a cycle of four all is right with the right naming, and nothing with the released one; a pair of swaps hides it."""
    before = np.repeat(np.arange(4), 5)
    cycle, swaps = np.array([1, 2, 3, 0])[before], np.array([1, 0, 3, 2])[before]
    assert (rematch(cycle, before, 4) == before).mean() == 1
    assert (rematch(cycle, before, 4, published=True) == before).mean() == 0
    assert (rematch(swaps, before, 4, published=True) == before).all()


def test_divide_finds_what_lies_apart_and_halves_it():
    parts = np.arange(80) % 4
    classes = np.arange(80) // 4 % 5 + 5 * parts
    two = divide(apart(parts // 2), classes, 2, **SETTINGS)
    assert len(set(zip(two.tolist(), (parts // 2).tolist(), strict=True))) == 2
    four = halve(apart(parts), classes, two, 2, **SETTINGS)
    assert np.array_equal(four // 2, two), "the halves of c are 2c and 2c + 1"
    assert len(set(zip(four.tolist(), parts.tolist(), strict=True))) == 4


def test_divide_starts_anew_until_every_cluster_can_be_learned_from(monkeypatch):
    """The first two starts leave cluster 1 with one class, and with lone pictures."""
    classes = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    given = [[0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, 1, 1]]
    seeds = []

    def k_means(rows, num, seed, **settings):
        seeds.append(seed)
        return np.array(given[len(seeds) - 1])

    monkeypatch.setattr("reid.methods._divide.k_means", k_means)
    assert divide(torch.zeros(8, 2), classes, 2, seed=7, iterations=1, redo=1).tolist() == given[2]
    assert seeds == [7, 8, 9]
    seeds.clear()
    given[:] = given[:1] * 30
    with pytest.raises(ValueError, match="found cluster 1 of 2 without two classes of two pictures, after 30 starts"):
        divide(torch.zeros(8, 2), classes, 2, seed=7, iterations=1, redo=1)
    assert len(seeds) == 30


def test_divide_leaves_out_who_is_alone_in_its_class_and_cluster():
    labels, classes = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 0, 1, 1, 2])
    assert without_lone(labels, classes).tolist() == [0, 0, -1, -1, 1, 1, -1]
    assert usable_classes(labels, classes, 3).tolist() == [1, 1, 0]


def test_divide_by_lot_deals_whole_classes_evenly_and_parts_are_halves():
    classes = np.random.default_rng(0).integers(0, 24, 300)
    eight, four = by_lot(classes, 8), by_lot(classes, 4)
    assert np.array_equal(eight // 2, four)
    assert len(set(zip(classes.tolist(), eight.tolist(), strict=True))) == 24
    assert all(len(set(classes[eight == part])) == 3 for part in range(8))
