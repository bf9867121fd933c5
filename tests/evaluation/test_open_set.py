"""Open set: detection and identification against a loop, MAP@5 and its threshold against the competition's rule, restated."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid.data.datasets import humpback_whale
from reid.data.records import Card, Dataset, Sample, Trial
from reid.evaluation import counting
from reid.evaluation.evaluate import check_method, evaluate
from reid.evaluation.ids import Ids, relevance
from reid.evaluation.open_set import answers, best_threshold, dir_at_far, expect_both, map_at_5, unknown_classes
from reid.evaluation.protocol import describe
from reid.evaluation.relevance import Relevance
from reid.methods import Method
from reid.similarity import Inner

FARS = (0, 0.1, 0.34, 0.5, 1)


# ---- detection and identification


def slow_rates(scores, pids, camids, fars):
    """Query by query, over lists; pid 0 of the gallery matches nobody."""
    absent = [pid for pid in pids[0] if pid not in pids[1]]
    unknown = set(absent) if absent else set(sorted(set(pids[0].tolist()))[1::2])
    alarms, outcomes = [], []
    for i, pid in enumerate(pids[0]):
        own = [j for j, other in enumerate(pids[1]) if other == pid and pid]
        matches = [j for j in own if camids[0][i] != camids[1][j]]
        wrong = [scores[i][j] for j, other in enumerate(pids[1]) if j not in own and other not in unknown]
        wrong = max(wrong, default=-np.inf)
        if pid in unknown:
            alarms.append(wrong)
        elif matches:
            right = max(scores[i][j] for j in matches)
            outcomes.append((right, wrong < right - 1e-6 * max(1, abs(right))))
    if not alarms or not outcomes:
        return None
    alarms.sort(reverse=True)
    rates = []
    for far in fars:
        limit = alarms[int(far * len(alarms))] if far < 1 else -np.inf
        limit += 1e-6 * max(1, abs(limit)) if np.isfinite(limit) else 0
        rates.append(np.mean([first and right > limit for right, first in outcomes]))
    return rates


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([2, 1024]))
@settings(max_examples=60, deadline=None)
def test_open_set_rates_equal_a_loop(seed, all_there, tile):
    rng = np.random.default_rng(seed)
    query, gallery = (2 * rng.integers(-3, 4, (n, 3)).astype(np.float32) for n in (12, 25))
    pids = rng.integers(1, 6, 12), rng.integers(0, 6 if all_there else 4, 25)
    if all_there:
        pids[1][:5] = np.arange(1, 6)
    camids = rng.integers(0, 2, 12), rng.integers(0, 2, 25)
    expected = slow_rates(query @ gallery.T, pids, camids, FARS)
    assume(expected is not None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "TILE", (tile, tile))
        similarity = Inner(torch.from_numpy(query), torch.from_numpy(gallery))
        who = relevance((12, 25), Ids(pids[0], camids[0]), Ids(pids[1], camids[1]), False)
        found = dir_at_far(similarity, who, *pids, FARS)
    assert list(found) == ["DIR@0", "DIR@0.1", "DIR@0.34", "DIR@0.5", "DIR@1"]
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-12)


def test_open_set_by_hand():
    """Persons 1 and 3 are known, 2 is taken out. 3 is found, 1 is too but scores no higher than 2's best stranger."""
    gallery = torch.eye(3)
    query = torch.tensor([[0.5, 0.1, 0.2], [0.6, 0.9, 0.0], [0.1, 0.9, 0.8]])
    pids = np.array([1, 2, 3])
    found = dir_at_far(Inner(query, gallery), Relevance(pids, pids), pids, pids, [0, 1])
    assert found == {"DIR@0": 0.5, "DIR@1": 1.0}
    query[0, 0] = 0.6000005  # above the stranger by less than rounding may do
    assert dir_at_far(Inner(query, gallery), Relevance(pids, pids), pids, pids, [0]) == {"DIR@0": 0.5}


def test_open_set_takes_who_is_absent_as_unknown_else_every_second():
    assert unknown_classes(np.array([4, 5, 6, 6]), np.array([4, 6, 7])).tolist() == [5]
    assert unknown_classes(np.array([4, 5, 6, 9, 5]), np.array([4, 5, 6, 9])).tolist() == [5, 9]
    with pytest.raises(ValueError, match="found no query of a known class; expected queries of two classes"):
        expect_both(np.array([4]), np.array([5]))


# ---- MAP@5


def slow_map(scores, query_classes, gallery_classes, threshold):
    """The competition's rule: five different names a picture; new_whale before those that score below the threshold."""
    total = 0.0
    for i, own in enumerate(query_classes):
        names = {}
        for j in np.argsort(-scores[i], kind="stable"):
            names.setdefault(gallery_classes[j], scores[i][j])
        listed = [name for name, score in names.items() if score >= threshold]
        listed += ["new_whale", *(name for name, score in names.items() if score < threshold)]
        right = own if own in names else "new_whale"
        if right in listed[:5]:
            total += 1 / (listed.index(right) + 1)
    return total / len(query_classes)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_classes", [3, 12])
def test_open_set_map_at_5_equals_the_competitions_rule(seed, num_classes):
    rng = np.random.default_rng(seed)
    query, gallery = (rng.normal(size=(n, 6)).astype(np.float32) for n in (30, 40))
    query_classes, gallery_classes = rng.integers(0, num_classes + 4, 30), rng.integers(0, num_classes, 40)
    scores = query @ gallery.T
    found = answers(Inner(torch.from_numpy(query), torch.from_numpy(gallery)), query_classes, gallery_classes)
    assert 0 < found.known.sum() < 30
    for threshold in (-100, -1, 0, 0.77, 2.5, 100):
        expected = slow_map(scores.astype(np.float64), query_classes, gallery_classes, threshold)
        assert map_at_5(found, threshold) == pytest.approx(expected, abs=1e-12)
    every = np.unique(scores.astype(np.float64))
    edges = [every[0] - 1, *((every[1:] + every[:-1]) / 2), every[-1] + 1]
    best = max(map_at_5(found, edge) for edge in edges)
    assert map_at_5(found, best_threshold(found)) == pytest.approx(best, abs=1e-12)


def test_open_set_ties_count_against_the_query():
    query, gallery = torch.ones(1, 1), torch.ones(2, 1)
    found = answers(Inner(query, gallery), np.array([0]), np.array([0, 1]))
    assert found.place.tolist() == [2]
    assert map_at_5(found, 0.5) == 0.5


@pytest.mark.parametrize(("own", "expected"), [(0, (1.0, 0.5)), (7, (0.5, 1.0))])
def test_open_set_a_score_that_equals_the_threshold_is_not_below_it(own, expected):
    found = answers(Inner(torch.ones(1, 1), torch.tensor([[0.5], [0.25]])), np.array([own]), np.array([0, 1]))
    assert (map_at_5(found, 0.5), map_at_5(found, 0.51)) == expected


# ---- rows of results


VECTORS = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
VECTORS[:60] += 1.5 * np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)[np.arange(60) % 20]
SAMPLES = [Sample(f"/data/{i:02d}.jpg", 100 + (i % 20 if i < 60 else i), None) for i in range(80)]
# Twenty classes of three pictures and twenty of one. A search has ten of the former and, as queries, ten of the latter.
HELD_OUT, TRIAL = (
    Trial([s for s in SAMPLES if (s.pid % 2 == turn) and (s.pid >= 160 or int(s.path[6:8]) < 20)], gallery)
    for turn in (0, 1)
    for gallery in [[s for s in SAMPLES if s.pid % 2 == turn and s.pid < 120 and int(s.path[6:8]) >= 20]]
)
FLUKES = Dataset(
    "flukes", "/data", (), [TRIAL], Card("made up", "none", "nowhere"), metric="retrieval", held_out=HELD_OUT
)


class Found(Method):
    """Its embeddings are `VECTORS`, by the number in a picture's name."""


@pytest.fixture
def rows_of(monkeypatch):
    """The row of a data set's only trial."""
    rows = torch.from_numpy(VECTORS)
    monkeypatch.setattr(
        "reid.evaluation.sides.embed", lambda encode, samples, **_: rows[[int(s.path[6:8]) for s in samples]]
    )

    def scored(dataset, **options):
        found = evaluate(Found(), [dataset], protocol={"any": "dict"}, **options)
        return next(row for row in found if row["kind"] == "trial")

    return scored


def scores_of(trial):
    """Scores, and the classes of both sides."""
    query, gallery = (VECTORS[[int(s.path[6:8]) for s in side]] for side in (trial.query, trial.gallery))
    return (query @ gallery.T).astype(np.float64), *([s.pid for s in side] for side in (trial.query, trial.gallery))


def test_open_set_threshold_is_the_best_on_what_is_held_out(rows_of):
    row = rows_of(FLUKES, open_set=[0.2])
    held_out, trial = scores_of(HELD_OUT), scores_of(TRIAL)
    every = np.unique(held_out[0])
    values = [slow_map(*held_out, edge) for edge in [every[0] - 1, *(every[1:] + every[:-1]) / 2, every[-1] + 1]]
    assert max(values) > values[0] + 0.05, "refusing pays"
    assert slow_map(*held_out, row["refused_below"]) == pytest.approx(max(values))
    assert row["MAP@5"] == pytest.approx(slow_map(*trial, row["refused_below"]))
    pids = tuple(map(np.array, trial[1:]))
    expected = slow_rates(trial[0], pids, (np.zeros(len(pids[0])), np.ones(len(pids[1]))), [0.2])
    assert row["DIR@0.2"] == pytest.approx(expected[0])


def test_open_set_labels_of_the_trial_do_not_move_the_threshold(rows_of):
    row = rows_of(FLUKES)
    shuffled = [Sample(s.path, other.pid, None) for s, other in zip(TRIAL.query, TRIAL.query[::-1], strict=True)]
    other = rows_of(dataclasses.replace(FLUKES, trials=[Trial(shuffled, TRIAL.gallery)]))
    assert other["refused_below"] == row["refused_below"]
    assert other["MAP@5"] != row["MAP@5"]
    assert not [key for key in row if key.startswith("DIR@")]


def test_open_set_is_refused_where_scores_are_of_shortlists():
    method = Found()
    method.rescoring = "the first 10"
    with pytest.raises(ValueError, match=r"TEST.OPEN_SET is \[0.1\]: one threshold serves all queries.*expected \[\]"):
        check_method(method, open_set=[0.1])


def test_open_set_whales_are_halved_again_and_the_nameless_with_them(tmp_path):
    """Eight whales of three pictures, five pictures of new_whale: four whales are trained on, two held out, two scored."""
    folder = tmp_path / "humpback_whale"
    (folder / "train").mkdir(parents=True)
    lines = [(f"{whale}{picture}.jpg", f"w_{whale}") for whale in range(8) for picture in range(3)]
    lines += [(f"n{number}.jpg", "new_whale") for number in range(5)]
    for name, _ in lines:
        (folder / "train" / name).write_bytes(b"")
    (folder / "train.csv").write_text("Image,Id\n" + "".join(f"{name},{whale}\n" for name, whale in lines))
    closed, opened = (humpback_whale.load(tmp_path, open_set=on, check_counts=False) for on in (False, True))
    assert closed.held_out is None
    assert opened.train == closed.train
    assert {sample.pid for sample in closed.trials[0].query} == {4, 5, 6, 7}

    def names(samples):
        return [sample.path.rpartition("/")[2] for sample in samples]

    assert names(opened.held_out.query) == ["40.jpg", "50.jpg", "n0.jpg", "n2.jpg", "n4.jpg"]
    assert names(opened.trials[0].query) == ["60.jpg", "70.jpg", "n1.jpg", "n3.jpg"]
    assert names(opened.trials[0].gallery) == ["61.jpg", "62.jpg", "71.jpg", "72.jpg"]
    pids = [sample.pid for trial in opened.searches for sample in trial.query]
    assert len(set(pids)) == len(pids), "nobody is taken for another"
    assert describe([], [closed]) != describe([], [opened])
    assert "held_out" in describe([], [opened])["targets"][0]
