"""Multi-similarity loss against a loop over the paper's equations, its closed weights, and an independent library."""

from math import exp

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero, one_anchor
from pytorch_metric_learning import losses, miners

from reid.losses.multi_similarity import MultiSimilarity

A, B, BASE, EPS = 2.0, 50.0, 0.5, 0.1


def slow(case, beta, epsilon=None):
    values = []
    for i in case.complete:
        positives, negatives = ([case.s[i][j] for j in chosen[i]] for chosen in (case.positives, case.negatives))
        if epsilon is not None:
            least, most = min(positives), max(negatives)
            positives = [s for s in positives if s < most + epsilon]
            negatives = [s for s in negatives if s > least - epsilon]
        pull = torch.log(1 + sum((-A * (s - BASE)).exp() for s in positives)) if positives else 0
        push = torch.log(1 + sum((beta * (s - BASE)).exp() for s in negatives)) if negatives else 0
        values.append(pull / A + push / beta)
    return sum(values) / len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [50.0, 10.0])
@pytest.mark.parametrize("seed", range(2))
def test_value_and_gradient_equal_the_slow_loop(kind, beta, seed):
    case = Case(kind, seed)
    case.check(MultiSimilarity(beta=beta), slow(case, beta, EPS))
    case.check(MultiSimilarity(beta=beta, mining=False), slow(case, beta))


@pytest.mark.parametrize("mining", [True, False])
def test_value_and_gradient_equal_pytorch_metric_learning(mining):
    """Every class twice: there alone the two means are over the same anchors."""
    case = Case("batch", classes=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    mined = miners.MultiSimilarityMiner(EPS)(case.x, case.classes) if mining else None
    case.check(MultiSimilarity(mining=mining), losses.MultiSimilarityLoss(A, B, BASE)(case.x, case.classes, mined))


@pytest.mark.parametrize(("mining", "expected"), [(True, 0.350647), (False, 0.482514)])
def test_worked_example_of_one_anchor(mining, expected):
    assert MultiSimilarity(mining=mining)(one_anchor()).item() == pytest.approx(expected, abs=1e-6)


def test_weights_of_pairs_equal_the_closed_form():
    """dL/ds is -1 / (exp(-a (base - s)) + sum exp(-a (s_k - s))) of a positive, and alike of a negative."""
    positives, negatives = (0.8, 0.6), (0.4, 0.55, 0.1)
    found = MultiSimilarity(mining=False).weights(one_anchor())[0].tolist()
    expected = [-1 / (exp(-A * (BASE - p)) + sum(exp(-A * (k - p)) for k in positives)) for p in positives]
    expected += [1 / (exp(B * (BASE - n)) + sum(exp(B * (k - n)) for k in negatives)) for n in negatives]
    assert found == pytest.approx(expected)
    assert found[3] == pytest.approx(0.923670, abs=1e-6)


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(MultiSimilarity(), classes)


def test_anchor_that_mining_leaves_nothing_still_counts():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    loss = MultiSimilarity()(rows, torch.tensor([0, 0, 1, 1]))
    assert loss.item() == 0
