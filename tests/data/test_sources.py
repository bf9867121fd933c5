from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from reid.data import sources
from reid.data.datasets import folder
from reid.data.records import Card, Dataset, Sample
from reid.data.samplers.shuffle import Shuffle

CARD = Card("A set", "any", "none")


def dataset(tmp_path, name, people, metric="reid"):
    """people: (pid, camid) of each training picture."""
    samples = [Sample(f"{tmp_path}/{name}/{i}.jpg", pid, camid) for i, (pid, camid) in enumerate(people)]
    return Dataset(name, tmp_path / name, samples, [], CARD, metric=metric)


@pytest.fixture
def joined(tmp_path):
    one = dataset(tmp_path, "one", [(7, 2), (3, 1), (7, 1)])
    two = dataset(tmp_path, "two", [(3, None), (9, None)])
    three = dataset(tmp_path, "three", [(0, 1), (3, 15)])
    return sources.join([one, two, three])


def test_join_numbers_classes_domains_and_cameras_over_all_sources(joined):
    assert joined.names == ("one", "two", "three")
    assert joined.classes.tolist() == [1, 0, 1, 2, 3, 4, 5]
    assert joined.domains.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert joined.camids.tolist() == [1, 0, 0, -1, -1, 2, 3]
    assert {array.dtype for array in (joined.classes, joined.domains, joined.camids)} == {np.dtype(np.int64)}
    assert (joined.num_classes, joined.num_domains, len(joined)) == (6, 3, 7)
    assert joined.samples[3].pid == 3


def test_the_training_set_says_a_line_a_source(joined):
    assert repr(joined).splitlines() == [
        "<one train 2 ids 3 imgs 2 cams>",
        "<two train 2 ids 2 imgs no cams>",
        "<three train 2 ids 2 imgs 2 cams>",
    ]


def test_join_refuses_nothing_twice_the_same_and_sets_without_training_pictures(tmp_path):
    one = dataset(tmp_path, "one", [(1, 1)])
    for wrong, message in (
        ([], r"found \[\]"),
        ([one, one], "each once"),
        ([one, dataset(tmp_path, "two", [])], "two has no training pictures"),
    ):
        with pytest.raises(ValueError, match=message):
            sources.join(wrong)


def test_junk_never_becomes_an_identity(tmp_path):
    with pytest.raises(ValueError, match="found the person -1 and the camera 1"):
        dataset(tmp_path, "one", [(-1, 1), (2, 1)])


def test_label_map_lists_the_pids_in_the_order_of_their_classes(joined):
    label_map = joined.label_map()
    assert label_map == {"one": [3, 7], "two": [3, 9], "three": [0, 3]}
    rows = [(name, pid) for name, pids in label_map.items() for pid in pids]
    for sample, domain, row in zip(joined.samples, joined.domains, joined.classes, strict=True):
        assert rows[row] == (joined.names[domain], sample.pid)


def test_label_map_is_checked_and_its_differences_are_shown(joined):
    joined.check_label_map(joined.label_map())
    with pytest.raises(ValueError, match="trained on two, one, three"):
        joined.check_label_map({"two": [3, 9], "one": [3, 7], "three": [0, 3]})
    with pytest.raises(ValueError, match=r"found 2 ids of one, expected 3 .*\(new: 7\) \(missing: 4, 5\)"):
        joined.check_label_map(joined.label_map() | {"one": [3, 4, 5]})


def test_label_map_and_arrays_do_not_depend_on_the_hash_seed(tmp_path):
    rows = "".join(f"{i}.jpg,person-{i % 5},{i % 3},train\n" for i in range(20))
    (tmp_path / "list.csv").write_text("path,pid,camid,split\n" + rows)
    code = (
        "import sys; from reid.data import sources; from reid.data.datasets import folder; "
        "s = sources.join([folder.load(sys.argv[1], path='list.csv')]); "
        "print(s.label_map(), s.classes.tolist(), s.camids.tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1
    assert "'list': [1, 2, 3, 4, 5]" in outputs.pop()


def test_describe_counts_what_the_batches_really_hold(joined):
    sampler = Shuffle(joined.classes, joined.domains, joined.camids, 7, 0)
    assert sources.describe(sampler, joined) == [
        "1 batches of 7 an epoch; each picture is seen, on average:",
        "  one 1.00 times per epoch (42.9% of what is seen)",
        "  two 1.00 times per epoch (28.6% of what is seen)",
        "  three 1.00 times per epoch (28.6% of what is seen)",
    ]


# ---- hold_out


def test_hold_out_keeps_whole_identities_apart_and_gives_every_query_a_match(tiny_world):
    pair = [folder.load(tiny_world, path=path) for path in ("source_a", "source_b")]
    training, validation = sources.hold_out(pair, 0.2, seed=1)
    assert [len({s.pid for s in d.train}) for d in training] == [8, 8]
    assert len(validation.trials) == 2
    for before, after, trial in zip(pair, training, validation.trials, strict=True):
        held = {sample.pid for sample in trial.query}
        assert len(held) == 2
        assert not held & {sample.pid for sample in after.train}
        assert sorted([*after.train, *trial.query, *trial.gallery]) == sorted(before.train)
        assert len(trial.query) == 4, "one query an identity and camera"
        assert all(any(g.pid == q.pid and g.camid != q.camid for g in trial.gallery) for q in trial.query)
        assert after.variant["held_out"] == {"ids": 2, "fraction": 0.2, "seed": 1}
    assert (validation.name, validation.metric, validation.root) == ("source_val", "reid", tiny_world)


def test_hold_out_is_a_function_of_the_seed(tiny_world):
    pair = [folder.load(tiny_world, path=path) for path in ("source_a", "source_b")]
    one, again, other = (sources.hold_out(pair, 0.3, seed)[1].trials for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_hold_out_leaves_identities_without_a_match_in_training(tmp_path):
    single, one_camera, two_cameras = [(1, 1)], [(2, 1), (2, 1)], [(3, 1), (3, 2)]
    data = dataset(tmp_path, "one", single + one_camera + two_cameras)
    (training,), validation = sources.hold_out([data], 0.34, seed=0)
    assert {sample.pid for sample in training.train} == {1, 2}
    (trial,) = validation.trials
    assert [(s.pid, s.camid) for s in trial.query] == [(3, 1)], "two pictures of two cameras: one query, one match"
    assert [(s.pid, s.camid) for s in trial.gallery] == [(3, 2)]


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_are_disjoint_and_cover_every_identity_that_can_be_held_out(tmp_path, folds):
    pids = [*range(1, 11), *range(1, 11), 99]
    data = dataset(tmp_path, "one", [(pid, None) for pid in pids], metric="retrieval")
    held = []
    for fold in range(folds):
        (training,), validation = sources.hold_out([data], 0.0, seed=0, fold=(fold, folds))
        (trial,) = validation.trials
        held.append({sample.pid for sample in trial.query})
        assert sorted([*training.train, *trial.query]) == sorted(data.train)
        assert not held[-1] & {sample.pid for sample in training.train}
        assert training.variant["held_out"] == {"ids": len(held[-1]), "fold": [fold, folds], "seed": 0}
    assert sorted(pid for part in held for pid in part) == [*range(1, 11)], "each once; 99 has no match to find"
    assert max(map(len, held)) - min(map(len, held)) <= 1


@pytest.mark.parametrize("fold", [[0, 1], [2, 2], [-1, 2], [0], [0, 2, 3]])
def test_fold_that_is_none_is_refused(tmp_path, fold):
    data = dataset(tmp_path, "one", [(pid, None) for pid in (1, 1, 2, 2)])
    with pytest.raises(ValueError, match=r"hold_out: found the fold .*; expected \[k, K\]"):
        sources.hold_out([data], 0.1, seed=0, fold=fold)


def test_hold_out_without_cameras_takes_one_query_an_identity(tmp_path):
    data = dataset(tmp_path, "one", [(pid, None) for pid in (1, 1, 1, 2, 2, 2)])
    _, validation = sources.hold_out([data], 0.5, seed=0)
    (trial,) = validation.trials
    assert (len(trial.query), len(trial.gallery)) == (1, 2)


def test_hold_out_of_a_retrieval_set_has_new_classes_whose_pictures_search_each_other(tmp_path):
    pids = (1, 1, 1, 2, 2, 2, 3, 4, 4)
    data = dataset(tmp_path, "one", [(pid, None) for pid in pids], metric="retrieval")
    (training,), validation = sources.hold_out([data], 0.5, seed=0)
    (trial,) = validation.trials
    held = {sample.pid for sample in trial.query}
    assert validation.metric == "retrieval"
    assert trial.gallery is None
    assert len(held) == 2
    assert 3 in {sample.pid for sample in training.train}, "a class of one picture has no match to find"
    assert not held & {sample.pid for sample in training.train}
    assert sorted([*training.train, *trial.query]) == sorted(data.train)


def test_hold_out_says_where_no_source_can_give_a_trial(tmp_path):
    able = dataset(tmp_path, "able", [(pid, camid) for pid in range(4) for camid in (1, 2)])
    unable = dataset(tmp_path, "unable", [(pid, 0) for pid in (1, 1, 2, 2)])
    training, validation = sources.hold_out([unable, able], 0.5, seed=0)
    assert training[0] is unable
    assert len(validation.trials) == 1
    with pytest.raises(ValueError, match="no source"):
        sources.hold_out([unable], 0.5, seed=0)
    for fraction in (0, 1, -0.1):
        with pytest.raises(ValueError, match="fraction"):
            sources.hold_out([able], fraction, seed=0)
