"""A sampler and a method from a file of their own: divisions anew every second epoch, whole runs, broken ones."""

import numpy as np
import pytest
import torch
from redivide import OnePart, Redivide
from tiny_run import assert_equal_runs, build, dealt

from reid.builder import runs
from reid.losses import Term
from reid.losses.triplet import Triplet
from reid.models.encoder import Encoder
from reid.plan import Plan

OVERRIDES = {
    "METHOD": "{NAME: 'redivide:Redivide', NUM_PARTS: 3}",
    "SAMPLER": "{NAME: 'redivide:OnePart'}",
    "LOSSES": "[softmax]",
    "SOLVER.EPOCHS": "3",
    "SOLVER.CHECKPOINT_STEPS": "3",
}
STEPS = 10  # an epoch: 160 pictures, 16 a batch


@pytest.mark.parametrize("sizes", [None, [160], [1, 159], [100, 0, 3, 57], [4] * 40])
def test_an_epoch_has_its_length_whatever_the_plan_and_each_batch_one_part(sizes):
    zeros = np.zeros(160, np.int64)
    sampler = OnePart(zeros, zeros, zeros, 16, 0)
    parts = zeros if sizes is None else np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    plan = None if sizes is None else Plan(parts=torch.from_numpy(parts))
    for epoch in range(5):
        draws = sampler.draws(epoch, plan)
        assert len(draws) == len(sampler) == STEPS
        assert {draw.indices.shape for draw in draws} == {(16,)}
        assert all(len(set(parts[draw.indices])) == 1 for draw in draws)


def test_k_means_finds_parts_that_lie_apart_and_keeps_them_for_two_epochs():
    method = Redivide(Encoder("tiny"), [Term("triplet", Triplet())], num_parts=2)
    true = torch.arange(40) % 2
    parts = method.start_epoch(
        2, lambda feature: torch.randn(40, 3, generator=torch.Generator()) + 20 * true[:, None]
    ).parts
    assert torch.equal(parts, true) or torch.equal(parts, 1 - true)
    assert method.start_epoch(3, lambda feature: pytest.fail("embeds again")) is None


def cfg(world, folder, **overrides):
    return build(world, folder, {**OVERRIDES, **overrides})


@pytest.fixture(scope="module")
def whole(tiny_world, tmp_path_factory):
    """The folder and the batches of an unbroken run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, dealt(pytest.MonkeyPatch, Redivide, cfg(tiny_world, folder))


def test_every_batch_is_of_one_part_and_a_division_holds_for_two_epochs(whole):
    divisions = [{}, {}]
    for step, indices, parts in whole[1]:
        assert len(set(parts)) == 1
        division = divisions[step // (2 * STEPS)]
        assert all(division.setdefault(index, parts[0]) == parts[0] for index in indices)
    assert [set(division.values()) for division in divisions] == [{0, 1, 2}] * 2
    assert any(part != divisions[1].get(index, part) for index, part in divisions[0].items()), "it was divided anew"


@pytest.mark.parametrize("step", [10, 17])
def test_a_resumed_run_equals_an_unbroken_one(tiny_world, whole, tmp_path, step):
    """Divided at steps 0 and 20. Killed where a division goes on into a second epoch, and in the middle of such epochs."""
    folder, batches = whole
    before = dealt(pytest.MonkeyPatch, Redivide, cfg(tiny_world, tmp_path / "run"), stop=step)
    after = dealt(pytest.MonkeyPatch, Redivide, cfg(tiny_world, tmp_path / "run"), resume=True)
    assert before == batches[:step]
    assert after == batches[after[0][0] :]
    assert 0 <= step - after[0][0] < 3, "it went on from a checkpoint"
    assert_equal_runs(folder, tmp_path / "run")


def test_the_sampler_is_refused_with_a_method_that_gives_no_parts(tiny_world, tmp_path):
    message = (
        "SAMPLER redivide:OnePart needs the parts of a plan, which METHOD baseline does not give; "
        "expected METHOD divide_and_conquer"
    )
    with pytest.raises(ValueError, match=message):
        runs.train(cfg(tiny_world, tmp_path / "run", METHOD="{NAME: baseline}"))
    assert not (tmp_path / "run").exists()
