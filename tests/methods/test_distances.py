"""Class distances against a loop over pairs of pictures, and who is handed them when."""

import pytest
import torch
from test_baseline import make
from torch.nn import functional as F

from reid.losses import Term
from reid.losses.hierarchical_triplet import HierarchicalTriplet
from reid.methods._distances import class_distances
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder


def rows(sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))[
        torch.randperm(sum(sizes), generator=generator)
    ]
    return 3 * torch.randn(sum(sizes), 5, generator=generator), classes


@pytest.mark.parametrize("seed", range(3))
def test_distances_equal_the_slow_loop(seed):
    embeddings, classes = rows([3, 2, 6, 4], seed)
    units = F.normalize(embeddings.double())
    expected = torch.zeros(4, 4)
    for p in range(4):
        for q in range(4):
            found = [
                (units[i] - units[j]).square().sum()
                for i in range(len(units))
                for j in range(len(units))
                if i != j and classes[i] == p and classes[j] == q
            ]
            expected[p, q] = sum(found) / len(found)
    made = class_distances(embeddings, classes)
    assert made.dtype == torch.float32
    assert torch.allclose(made, expected, atol=1e-6)


def test_a_class_of_one_picture_takes_the_mean_of_the_others_within():
    embeddings, classes = rows([3, 1, 4])
    within = class_distances(embeddings, classes).diagonal()
    assert within[1] == pytest.approx(((within[0] + within[2]) / 2).item())
    assert class_distances(*rows([1, 1])).diagonal().tolist() == [0, 0]


def test_equal_rows_have_no_distance():
    assert class_distances(torch.ones(4, 3), torch.tensor([0, 0, 1, 1])).abs().max() < 1e-6


def test_baseline_measures_where_asked_and_not_before_the_second_epoch():
    embeddings, classes = rows([3, 4, 5])
    loss = HierarchicalTriplet(3)
    asked = []

    def embed(stage):
        asked.append(stage)
        return embeddings

    def baseline(feature="before", **options):
        return Baseline(Encoder("tiny"), [Term("htl", loss, feature=feature)], **options)

    method = baseline(classes=classes.numpy(), class_distances=True)
    assert method.start_epoch(0, embed) is None
    assert baseline(classes=classes.numpy()).start_epoch(1, embed) is None
    assert asked == []
    distances = method.start_epoch(1, embed)
    assert torch.equal(distances, class_distances(embeddings, classes))
    assert torch.equal(loss.spreads, distances.diagonal())
    baseline("after", classes=classes.numpy(), class_distances=True).start_epoch(1, embed)
    assert asked == ["penultimate", "embedding"]


def test_losses_that_ask_for_nothing_are_left_alone():
    assert make().start_epoch(1, lambda stage: pytest.fail("nobody asked")) is None
