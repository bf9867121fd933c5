"""Retrieval of classes: against slow loops and against pytorch-metric-learning."""

import numpy as np
import pytest
import slow
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

from reid import similarity
from reid.evaluation import counters, counting
from reid.evaluation.rank import retrieval, retrieve, summary


def vectors(rng, classes, dim=12, noise=1.0):
    centres = rng.normal(size=(int(max(classes)) + 1, dim))
    rows = centres[classes] + noise * rng.normal(size=(len(classes), dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 25),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from([1, 3, 1024]),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_equals_the_slow_loops(seed, num_pictures, num_classes, alone, tile, kernels):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, num_classes, num_pictures) + 1
    rows = 2 * rng.integers(-2, 3, (num_pictures, 3)).astype(np.float32)
    gallery, gallery_classes = (None, None) if alone else (rows[::-1].copy(), classes)
    others = (rows, classes) if alone else (gallery, gallery_classes)
    found = slow.person_search(rows, others[0], classes, others[1], skip_same_index=alone)
    assume(any(found))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "TILE", (tile, tile))
        if not kernels:
            patch.setattr(counters, "kernel", None)
            patch.setattr(similarity, "kernel", None)
        got = retrieval(rows, classes, gallery, gallery_classes, ks=(1, 3, 100))
    assert got == pytest.approx(slow.retrieval(found, (1, 3, 100)), abs=1e-12)


@pytest.mark.parametrize("alone", [True, False])
def test_equals_pytorch_metric_learning(alone):
    rng = np.random.default_rng(5)
    classes, other_classes = rng.integers(0, 40, 400), rng.integers(0, 40, 600)
    both = vectors(rng, np.concatenate([classes, other_classes]), noise=0.6)
    rows, others = torch.from_numpy(both[:400]), torch.from_numpy(both[400:])
    wanted = ("precision_at_1", "mean_average_precision_at_r", "r_precision", "mean_reciprocal_rank")
    peer = AccuracyCalculator(include=wanted, k="max_bin_count", device=torch.device("cpu"))
    if alone:
        ours = retrieval(rows, classes)
        theirs = peer.get_accuracy(rows, torch.from_numpy(classes))
    else:
        ours = retrieval(rows, classes, others, other_classes)
        theirs = peer.get_accuracy(rows, torch.from_numpy(classes), others, torch.from_numpy(other_classes))
    for name, of_peer in zip(("R@1", "MAP@R", "RP"), wanted, strict=False):
        assert ours[name] == pytest.approx(theirs[of_peer], abs=1e-6), name
    assert 0.2 < ours["MAP@R"] < 0.9


def test_class_zero_is_a_class_like_any_other():
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    assert retrieval(rows, [0, 0, 1, 1], ks=[1]) == {"R@1": 1, "MAP@R": 1, "RP": 1, "MRR": 1}


def test_a_lone_picture_is_left_out_and_still_in_the_way():
    rows = np.array([[1, 0], [0.6, 0.8], [0.8, 0.6]], np.float32)
    searches = retrieve(rows, [7, 7, 8])
    assert searches.valid.tolist() == [True, True, False]
    assert searches.first.tolist() == [2, 2, 0]
    assert summary(searches)["R@1"] == 0


def test_a_collapsed_model_scores_no_better_than_chance():
    figures = retrieval(np.ones((12, 4), np.float32), np.repeat([0, 1, 2], 4))
    assert figures["R@1"] == 0
    assert figures["R@8"] == 0
    assert figures["RP"] == 0


def test_a_duplicate_of_another_class_is_a_tie_lost():
    rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    assert retrieval(rows, [0, 1, 0, 1])["R@1"] == 0


def test_two_encodings_of_one_list_skip_the_picture_itself():
    rng = np.random.default_rng(2)
    classes = rng.integers(0, 5, 40)
    rows = vectors(rng, classes)
    alone = retrieval(rows, classes)
    assert retrieval(rows, classes, rows.copy(), classes, skip_same_index=True) == alone
    assert retrieval(rows, classes, rows, classes, skip_same_index=True) == alone


def test_one_list_on_both_sides_finds_itself_first():
    rows = vectors(np.random.default_rng(2), np.arange(20))
    assert retrieval(rows, np.arange(20), rows, np.arange(20), ks=[1])["R@1"] == 1


def test_half_a_gallery_is_refused():
    rows = np.eye(2, dtype=np.float32)
    with pytest.raises(ValueError, match="only one of the gallery and who is on it"):
        retrieval(rows, [0, 1], rows)
    with pytest.raises(ValueError, match="gallery classes of shape"):
        retrieval(rows, [0, 1], rows, [0])
