"""Samplers that go by neighbours or by domains: what stands in a batch, how long an epoch is, what is refused."""

import numpy as np
import pytest
import torch
from tiny_run import build

from reid.builder import objects
from reid.data.samplers.domain_halves import DomainHalves
from reid.data.samplers.graph import Graph
from reid.data.samplers.one_domain import OneDomain
from reid.plan import Plan


def labels(*sizes):
    """A list a domain of its identities' numbers of pictures -> classes, domains, camids."""
    per_id = [size for domain in sizes for size in domain]
    domain_of = [number for number, domain in enumerate(sizes) for _ in domain]
    camids = np.concatenate([np.arange(size) % 2 for size in per_id])
    return np.repeat(np.arange(len(per_id)), per_id), np.repeat(domain_of, per_id), camids


def line(num):
    """Identities on a line, 0 to num - 1: the plan of their neighbours, the nearer first, the lower of equals."""
    return Plan(
        neighbours=torch.tensor([sorted({*range(num)} - {i}, key=lambda j, i=i: (abs(i - j), j)) for i in range(num)])
    )


UNEVEN = labels([4, 6, 3, 1, 9], [2, 2, 5], [8, 8, 8, 8])
EVEN = labels([4, 6, 3, 1], [2, 2, 5, 9], [8, 8, 8, 8])
EVERY = (Graph, OneDomain, DomainHalves)


@pytest.mark.parametrize("sampler", EVERY)
def test_batches_are_a_function_of_seed_and_epoch_and_as_many_as_was_said(sampler):
    made, other = (sampler(*EVEN, 8, seed, num_instances=2) for seed in (1, 2))
    plan = line(12) if sampler is Graph else None
    first = np.stack(made.batches(3, plan))
    assert np.array_equal(first, np.stack(sampler(*EVEN, 8, 1, num_instances=2).batches(3, plan)))
    assert not np.array_equal(first, np.stack(made.batches(4, plan)))
    assert not np.array_equal(first, np.stack(other.batches(3, plan)))
    assert first.shape == (len(made), 8)
    groups = EVEN[0][first].reshape(len(made), 4, 2)
    assert (groups[:, :, 0] == groups[:, :, 1]).all()
    assert all(len(set(row)) == 4 for row in groups[:, :, 0].tolist())


def test_graph_has_a_batch_for_each_identity_with_its_nearest():
    sampler = Graph(*UNEVEN, 8, 0)
    assert len(sampler) == 12
    middles = {}
    for batch in sampler.batches(5, line(12)):
        ids = UNEVEN[0][batch].reshape(4, 2)[:, 0].tolist()
        middles[ids[0]] = ids[1:]
    assert middles[0] == [1, 2, 3]
    assert middles[5] == [4, 6, 3]
    assert middles[11] == [10, 9, 8]
    assert set(middles) == set(range(12))


def test_graph_repeats_a_picture_only_where_there_are_too_few():
    for batch in Graph(*UNEVEN, 12, 0, num_instances=3).batches(0, line(12)):
        for row in batch.reshape(4, 3).tolist():
            assert len(set(row)) == min(3, (UNEVEN[0] == UNEVEN[0][row[0]]).sum())


def test_graph_without_neighbours_yet_takes_any_others():
    batches = np.stack(Graph(*UNEVEN, 8, 0).batches(0))
    ids = UNEVEN[0][batches].reshape(12, 4, 2)[:, :, 0]
    assert sorted(ids[:, 0].tolist()) == list(range(12))
    assert len({tuple(sorted(row)) for row in ids.tolist()}) > 6
    assert len(set(ids[:, 1:].flatten().tolist())) > 8


def test_graph_needs_neighbours_and_enough_of_them(tiny_world, tmp_path):
    with pytest.raises(
        ValueError, match=r"found 2 known neighbours per identity; expected 3 for batches of 4 identities"
    ):
        Graph(*UNEVEN, 8, 0).batches(1, Plan(neighbours=line(12).neighbours[:, :2]))
    with pytest.raises(ValueError, match=r"Graph: found a plan without neighbours, which it needs"):
        Graph(*UNEVEN, 8, 0).draws(1, Plan(parts=torch.zeros(3, dtype=torch.int64)))
    cfg = build(tiny_world, tmp_path / "run", {"METHOD": "{NAME: ecn}", "SAMPLER": "{NAME: graph}"})
    with pytest.raises(
        ValueError, match=r"SAMPLER graph needs the neighbours of a plan, which METHOD ecn does not give"
    ):
        objects.method(cfg, num_classes=20, num_samples=160)


def test_each_batch_is_of_one_domain_and_every_picture_is_seen():
    sampler = OneDomain(*UNEVEN, 4, 0, num_instances=2)
    batches = sampler.batches(0)
    found = [set(UNEVEN[1][batch].tolist()) for batch in batches]
    assert all(len(domains) == 1 for domains in found)
    assert set(np.concatenate(batches).tolist()) == set(range(len(UNEVEN[0])))
    order = [min(domains) for domains in found]
    assert order != sorted(order)


@pytest.mark.parametrize(
    "sizes", [([4, 4], [4, 4]), ([4] * 3, [4] * 3, [4] * 3), ([8] * 9, [2, 2], [4, 4]), ([3] * 4, [9] * 5)]
)
def test_halves_are_of_two_domains_and_every_picture_is_seen(sizes):
    data = labels(*sizes)
    sampler = DomainHalves(*data, 8, 0, num_instances=2)
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert len(batches) == len(sampler)
        for batch in batches:
            one, other = (set(data[1][half].tolist()) for half in np.split(batch, 2))
            assert len(one) == len(other) == 1
            assert one != other
        assert set(np.concatenate(batches).tolist()) == set(range(len(data[0])))


def test_halves_are_no_more_than_there_must_be():
    assert len(DomainHalves(*labels([4, 4], [4, 4]), 8, 0, num_instances=2)) == 2
    assert len(DomainHalves(*labels([4] * 8, [4, 4]), 8, 0, num_instances=2)) == 8, "as many as the largest has"


@pytest.mark.parametrize(
    ("sampler", "size", "options", "message"),
    [
        (Graph, 9, {}, "graph: found batches of 9 with 2 images per identity"),
        (Graph, 26, {}, "and 12 identities; expected a multiple, of 2 to as many"),
        (Graph, 2, {}, "graph: found batches of 2 with 2"),
        (OneDomain, 8, {"num_instances": 2}, "one_domain, domain 1: found 3 identities; expected at least 4"),
        (DomainHalves, 9, {}, "domain_halves: found batches of 9 and 3 source"),
        (DomainHalves, 16, {"num_instances": 2}, "domain_halves, domain 1: found 3 identities; expected at least 4"),
    ],
)
def test_sizes_that_cannot_be_met_are_refused_in_one_line(sampler, size, options, message):
    with pytest.raises(ValueError, match=message) as error:
        sampler(*UNEVEN, size, 0, **options)
    assert "\n" not in str(error.value)


def test_halves_of_a_single_source_are_refused():
    with pytest.raises(ValueError, match=r"and 1 source\(s\); expected an even number, and two sources or more"):
        DomainHalves(*labels([4, 4]), 8, 0)
