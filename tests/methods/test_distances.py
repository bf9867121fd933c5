"""Class distances against a loop over pairs of pictures, and who is handed them when."""

import pytest
import torch
from test_baseline import make
from torch.nn import functional as F

from reid.losses import Term
from reid.losses.hierarchical_triplet import HierarchicalTriplet
from reid.losses.triplet import Triplet
from reid.methods._distances import NUMBERS, class_distances, class_neighbours
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


def dense_neighbours(embeddings, classes):
    """(C, C - 1): by the whole matrix, sorted."""
    distances = class_distances(embeddings, classes).fill_diagonal_(torch.inf)
    return distances.sort(dim=1, stable=True).indices[:, :-1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("numbers", [2**24, 20 * 21, 20 * 7, 20, 1])
def test_neighbours_in_blocks_equal_those_of_the_whole_matrix(seed, numbers):
    """20 classes; fewer numbers make smaller blocks of rows and fewer neighbours: 19, 19, 7, 1, 1."""
    embeddings, classes = rows([1 + c % 4 for c in range(20)], seed)
    found = class_neighbours(embeddings, classes, numbers)
    k = min(19, max(1, numbers // 20))
    assert found.dtype == torch.int64
    assert torch.equal(found, dense_neighbours(embeddings, classes)[:, :k])


def test_of_classes_equally_near_the_lower_comes_first_and_a_class_is_not_its_own_neighbour():
    embeddings = torch.eye(4)[[0, 0, 1, 1, 1, 0]]
    found = class_neighbours(embeddings, torch.arange(6))
    assert found.tolist()[:3] == [[1, 5, 2, 3, 4], [0, 5, 2, 3, 4], [3, 4, 0, 1, 5]]
    assert class_neighbours(embeddings, torch.arange(6), numbers=12).tolist()[:3] == [[1, 5], [0, 5], [3, 4]]


def test_a_hundred_thousand_classes_would_have_167_neighbours_each():
    assert NUMBERS // 100_000 == 167
    assert NUMBERS // 4096 >= 4095


def test_baseline_measures_what_is_needed_and_not_before_the_second_epoch():
    embeddings, classes = rows([3, 4, 5])
    loss = HierarchicalTriplet(3)
    asked = []

    def embed(feature):
        asked.append(feature)
        return embeddings

    def baseline(term, needs=frozenset()):
        method = Baseline(Encoder("tiny"), [term], classes=classes.numpy())
        method.needs = needs
        return method

    before, after = (Term("htl", loss, feature=feature) for feature in ("before", "after"))
    needs = frozenset({"neighbours"})
    assert baseline(before, needs=needs).start_epoch(0, embed) is None
    assert baseline(Term("triplet", Triplet())).start_epoch(1, embed) is None
    with pytest.raises(ValueError, match="found no classes of the training samples, which distances are measured by"):
        Baseline(Encoder("tiny"), [before]).start_epoch(0, embed)
    assert asked == []
    plan = baseline(before).start_epoch(1, embed)
    assert plan.given == {"distances"}
    assert torch.equal(plan.distances, class_distances(embeddings, classes))
    assert torch.equal(loss.spreads, plan.distances.diagonal())
    plan = baseline(Term("triplet", Triplet(), feature="after"), needs=needs).start_epoch(1, embed)
    assert plan.given == {"neighbours"}
    assert torch.equal(plan.neighbours, dense_neighbours(embeddings, classes))
    assert baseline(after, needs=needs).start_epoch(1, embed).given == {"distances", "neighbours"}
    assert asked == ["before", "before", "after"]


def test_losses_that_ask_for_nothing_are_left_alone():
    assert make().start_epoch(1, lambda feature: pytest.fail("nobody asked")) is None
