"""Normalised softmax against a loop over the definition, and against an independent library."""

import pytest
from class_cases import DIM, NUM_CLASSES, cosine, cross_entropy, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.normalized_softmax import NormalizedSoftmax


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(seed):
    def loop(x, classes, weight):
        rows = zip(x, classes, strict=True)
        return sum(cross_entropy([cosine(row, w) / 0.1 for w in weight], label) for row, label in rows) / len(x)

    same_as_loop(NormalizedSoftmax(NUM_CLASSES, DIM, temperature=0.1), loop, seed)


def test_equals_pytorch_metric_learning():
    same_as_peer(NormalizedSoftmax(NUM_CLASSES, DIM), losses.NormalizedSoftmaxLoss(NUM_CLASSES, DIM), "W")
