"""AM-Softmax against a loop over the paper's equation, and against an independent library."""

import pytest
from class_cases import DIM, NUM_CLASSES, cosine, cross_entropy, same_as_loop, same_as_peer
from pytorch_metric_learning import losses

from reid.losses.am_softmax import AMSoftmax


def loop(x, classes, weight):
    total = 0.0
    for row, label in zip(x, classes, strict=True):
        logits = [30 * (cosine(row, w) - (0.35 if c == label else 0)) for c, w in enumerate(weight)]
        total += cross_entropy(logits, label)
    return total / len(x)


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_slow_loop(seed):
    same_as_loop(AMSoftmax(NUM_CLASSES, DIM), loop, seed)


def test_equals_pytorch_metric_learning_whose_name_for_it_is_cosface():
    peer = losses.CosFaceLoss(NUM_CLASSES, DIM, margin=0.4, scale=64)
    same_as_peer(AMSoftmax(NUM_CLASSES, DIM, margin=0.4, scale=64.0), peer, "W")
