"""Data sets to rows: trials, means, roles, one embedding a picture and side, intervals."""

import dataclasses

import numpy as np
import pytest
import slow
import torch

from reid.data.records import Card, Dataset, Sample, Trial
from reid.evaluation import report
from reid.evaluation import sides as module
from reid.evaluation.clustering import agreement
from reid.evaluation.evaluate import evaluate
from reid.evaluation.protocol import describe, fingerprint
from reid.evaluation.rank import Ids, retrieval, score
from reid.evaluation.rerank import expand_queries, k_reciprocal
from reid.methods import Method
from reid.similarity import Inner
from reid.similarity.matched import Matched, Rescored

CARD = Card("made up", "none", "nowhere")
VECTORS = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32) + np.eye(40, 8, dtype=np.float32)
SAMPLES = [Sample(f"/data/{i:02d}.jpg", i % 10 + 1, i // 10 + 1) for i in range(40)]
ONE = Dataset("one", "/data", (), [Trial(SAMPLES[:10], SAMPLES[10:])], CARD)
TWO = Dataset("two", "/data", (), [Trial(SAMPLES[:10], SAMPLES[10:]), Trial(SAMPLES[10:20], SAMPLES[20:])], CARD)
CLASSES = Dataset("classes", "/data", (), [Trial(SAMPLES)], CARD, metric="retrieval", ks=(1, 10))
PROTOCOL = {"any": "dict"}


class Lookup(Method):
    """Encodes a picture as the vector of its number; the gallery in the reverse order of columns when asymmetric."""

    def __init__(self, asymmetric=False):
        super().__init__()
        self.asymmetric = asymmetric

    def encode_query(self, images):
        assert not self.training
        return torch.from_numpy(VECTORS)[images]

    def encode_gallery(self, images):
        rows = self.encode_query(images)
        return rows.flip(1) if self.asymmetric else rows


class Maps(Lookup):
    """The same vectors as maps of two channels and four places, scored by the best of four shifts."""

    inner_product = False

    def __init__(self, first=0):
        super().__init__()
        self.first = first
        self.rescoring = f"first {first} rescored" if first else ""

    def encode_query(self, images):
        return super().encode_query(images).unflatten(1, (2, 4))

    def match(self, query, gallery):
        shifts = torch.stack([gallery.roll(step, dims=2) for step in range(4)])
        return torch.einsum("bcp,sncp->bns", query, shifts).amax(dim=2)

    def similarity(self, query, gallery):
        matched = Matched(self.match, query, gallery, symmetric=True, scale=100.0)
        return Rescored(Inner(query.flatten(1), gallery.flatten(1)), matched, self.first) if self.first else matched


def shifted(query, gallery):
    """(Q, G) float64: what `Maps` scores, in loops."""
    one, other = (x.astype(np.float64).reshape(-1, 2, 4) for x in (query, gallery))
    return np.array([[max((a * np.roll(b, s, axis=1)).sum() for s in range(4)) for b in other] for a in one])


@pytest.fixture(autouse=True)
def embedded(monkeypatch):
    """Replaces the disk: embeds a sample from the number in its name, and keeps what was asked for."""
    asked = []

    def embed(encode, samples, *, title, **options):
        asked.append([sample.path for sample in samples])
        return encode(torch.tensor([int(sample.path[6:8]) for sample in samples]))

    monkeypatch.setattr(module, "embed", embed)
    return asked


def test_a_trial_and_its_data_set_have_the_figures_of_the_ranker():
    rows = evaluate(Lookup(), [ONE], protocol=PROTOCOL, step=7, seed=3)
    assert [row["kind"] for row in rows] == ["trial", "dataset", "mean"]
    scores = score(VECTORS[:10], VECTORS[10:], Ids.of(SAMPLES[:10]), Ids.of(SAMPLES[10:]))
    for row in rows:
        found = {name: row[name] for name in ("R1", "R5", "R10", "mAP", "mINP")}
        assert list(found.values()) == [*scores.cmc[[0, 4, 9]], scores.mAP, scores.mINP]
        assert (row["fingerprint"], row["selection"], row["step"], row["seed"]) == (fingerprint(PROTOCOL), "last", 7, 3)
    assert (rows[0]["num_query"], rows[0]["num_gallery"], rows[0]["num_valid"]) == (10, 30, 10)
    assert "R1_std" not in rows[1]


def test_several_trials_become_mean_and_spread():
    trials = evaluate(Lookup(), [TWO], protocol=PROTOCOL)
    first, second, dataset, _ = trials
    assert (first["trial"], second["trial"]) == (0, 1)
    assert dataset["mAP"] == pytest.approx((first["mAP"] + second["mAP"]) / 2)
    assert dataset["mAP_std"] == pytest.approx(np.std([first["mAP"], second["mAP"]], ddof=1))
    assert dataset["num_trials"] == 2


def test_each_picture_is_embedded_once_a_side(embedded):
    evaluate(Lookup(), [TWO], protocol=PROTOCOL)
    assert [len(paths) for paths in embedded] == [40]
    embedded.clear()
    evaluate(Lookup(asymmetric=True), [TWO], protocol=PROTOCOL)
    assert [sorted(set(paths)) == sorted(paths) for paths in embedded] == [True, True]
    assert [len(paths) for paths in embedded] == [20, 30]


def test_an_asymmetric_method_has_its_gallery_encoded_its_own_way():
    row = evaluate(Lookup(asymmetric=True), [ONE], protocol=PROTOCOL)[0]
    other = np.ascontiguousarray(VECTORS[10:, ::-1])
    assert row["mAP"] == score(VECTORS[:10], other, Ids.of(SAMPLES[:10]), Ids.of(SAMPLES[10:])).mAP
    classes = [sample.pid for sample in SAMPLES]
    row = evaluate(Lookup(asymmetric=True), [CLASSES], protocol=PROTOCOL)[0]
    other = np.ascontiguousarray(VECTORS[:, ::-1])
    assert row["MAP@R"] == retrieval(VECTORS, classes, other, classes, skip_same_index=True)["MAP@R"]


def test_retrieval_sets_have_their_own_figures_and_their_own_mean():
    rows = evaluate(Lookup(), [ONE, CLASSES], protocol=PROTOCOL)
    expected = retrieval(VECTORS, [sample.pid for sample in SAMPLES], ks=(1, 10))
    row = rows[3]
    assert (row["dataset"], row["metric"]) == ("classes", "retrieval")
    assert {name: row[name] for name in expected} == expected
    assert [(row["metric"], row["num_datasets"]) for row in rows if row["kind"] == "mean"] == [
        ("reid", 1),
        ("retrieval", 1),
    ]


def test_clustering_is_for_retrieval_sets_and_for_the_gallery_where_there_is_one():
    two_sides = dataclasses.replace(CLASSES, name="sides", trials=[Trial(SAMPLES[:10], SAMPLES[10:])])
    rows = evaluate(Lookup(), [ONE, CLASSES, two_sides], protocol=PROTOCOL, clustering=True, query_expansion=2, seed=5)
    classes = [sample.pid for sample in SAMPLES]
    expected = {"classes": agreement(VECTORS, classes, seed=5), "sides": agreement(VECTORS[10:], classes[10:], seed=5)}
    for row in rows:
        wanted = {} if "rescoring" in row else expected.get(row["dataset"], {})
        if row["kind"] != "mean":
            assert {name: row[name] for name in ("NMI", "AMI") if name in row} == wanted
    means = [row for row in rows if row["kind"] == "mean" and row["metric"] == "retrieval"]
    assert means[0]["NMI"] == pytest.approx((expected["classes"]["NMI"] + expected["sides"]["NMI"]) / 2)
    assert "NMI" not in evaluate(Lookup(), [CLASSES], protocol=PROTOCOL)[0]


def test_sources_are_scored_and_left_out_of_the_mean():
    rows = evaluate(Lookup(), [ONE, TWO], protocol=PROTOCOL, role={"one": "source"})
    assert [row["role"] for row in rows] == ["source", "source", "target", "target", "target", "target"]
    assert rows[-1]["mAP"] == rows[-2]["mAP"]


def test_intervals_hold_the_figure_and_repeat():
    rows = evaluate(Lookup(), [TWO, CLASSES], protocol=PROTOCOL, bootstrap=200)
    again = evaluate(Lookup(), [TWO, CLASSES], protocol=PROTOCOL, bootstrap=200)
    assert rows == again
    for row, names in ((rows[0], ("R1", "mAP")), (rows[2], ("R1", "mAP")), (rows[3], ("R@1", "MAP@R"))):
        for name in names:
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]


def test_the_method_goes_back_to_training():
    method = Lookup().train()
    evaluate(method, [ONE], protocol=PROTOCOL)
    assert method.training


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("dataset", [TWO, CLASSES])
def test_other_ways_of_scoring_have_rows_of_their_own(dataset, asymmetric):
    method = Lookup(asymmetric)
    plain = evaluate(method, [dataset], protocol=PROTOCOL)
    rows = evaluate(method, [dataset], protocol=PROTOCOL, rerank=True, query_expansion=3)
    assert [row for row in rows if "rescoring" not in row] == plain
    for name in ("query expansion", "re-ranking"):
        these = [row for row in rows if row.get("rescoring") == name]
        assert [row["kind"] for row in these] == [row["kind"] for row in plain]
        assert [set(row) - {"rescoring"} for row in these] == [set(row) for row in plain]
        assert these[0] != {**plain[0], "rescoring": name}


def test_rescored_figures_are_those_of_the_functions():
    row = evaluate(Lookup(), [ONE], protocol=PROTOCOL, rerank=True)[2]
    found = k_reciprocal(VECTORS[:10], VECTORS[10:])
    ids = Ids.of(SAMPLES[:10]), Ids.of(SAMPLES[10:])
    assert (row["kind"], row["rescoring"]) == ("trial", "re-ranking")
    assert row["mAP"] == score(found.similarity, None, *ids).mAP
    row = evaluate(Lookup(), [ONE], protocol=PROTOCOL, query_expansion=100)[2]  # more than there are: all of them
    assert row["mAP"] == score(expand_queries(VECTORS[:10], VECTORS[10:], num=30), VECTORS[10:], *ids).mAP


def test_what_cannot_be_scored_is_refused_by_name():
    with pytest.raises(ValueError, match="found no data set"):
        evaluate(Lookup(), [], protocol=PROTOCOL)
    with pytest.raises(ValueError, match="bare has no trial"):
        evaluate(Lookup(), [Dataset("bare", "/data", SAMPLES, (), CARD)], protocol=PROTOCOL)
    with pytest.raises(ValueError, match="one has the role judge"):
        evaluate(Lookup(), [ONE], protocol=PROTOCOL, role={"one": "judge"})
    strangers = Dataset("strangers", "/data", (), [Trial(SAMPLES[:1], SAMPLES[1:5])], CARD)
    with pytest.raises(ValueError, match=r"strangers, trial 0: .* no identity is on both sides"):
        evaluate(Lookup(), [strangers], protocol=PROTOCOL)


def test_a_real_protocol_describes_the_sets():
    protocol = describe([], [ONE, CLASSES])
    rows = evaluate(Lookup(), [ONE], protocol=protocol)
    assert rows[0]["fingerprint"] == fingerprint(protocol)


def test_queries_without_a_match_are_named_and_explained(caplog):
    lost = [Sample("/data/00.jpg", 1, 2), Sample("/data/01.jpg", 77, 1)]  # seen by camera 2 only; not in the gallery
    gallery = [Sample("/data/10.jpg", 1, 2), *SAMPLES[12:20]]
    trial = Trial([*lost, *SAMPLES[2:10]], gallery)
    with caplog.at_level("WARNING", logger="reid.evaluation.evaluate"):
        rows = evaluate(Lookup(), [Dataset("some", "/data", (), [trial], CARD)], protocol=PROTOCOL)
    assert (rows[0]["num_query"], rows[0]["num_valid"]) == (10, 8)
    (message,) = caplog.messages
    for words in (
        "2 of 10 queries",
        "1 of people who are not",
        "1 of people seen there by",
        "/data/00.jpg, /data/01.jpg",
    ):
        assert words in message


@pytest.mark.parametrize("rerank", [False, True])
@pytest.mark.parametrize("dataset", [ONE, TWO, CLASSES])
def test_maps_under_a_matcher_are_scored_the_same_way(dataset, rerank):
    rows = evaluate(Maps(), [dataset], protocol=PROTOCOL, rerank=rerank)
    rows = [row for row in rows if row["kind"] == "trial" and ("rescoring" in row) == rerank]
    for row, trial in zip(rows, dataset.trials, strict=True):
        alone = trial.gallery is None
        samples = [*trial.query, *(trial.gallery or ())]
        numbers = [int(sample.path[6:8]) for sample in samples]
        scores = shifted(VECTORS[numbers], VECTORS[numbers])
        num = len(trial.query)
        columns = slice(0 if alone else num, None)
        scores = -slow.k_reciprocal(scores, num, 20, 6, 0.3, alone) if rerank else scores[:num, columns]
        ids = [Ids.of(side) for side in (trial.query, samples[columns])]
        if alone:
            found = slow.retrieval(slow.searches(scores, *(i.pids for i in ids), skip_same_index=True), (1,))
            assert (row["R@1"], row["MAP@R"]) == pytest.approx((found["R@1"], found["MAP@R"]), abs=1e-9)
        else:
            ranks = slow.searches(scores, *(i.pids for i in ids), *(i.camids for i in ids))
            cmc, mean_ap, mean_inp, _ = slow.figures(ranks)
            assert (row["R1"], row["mAP"], row["mINP"]) == pytest.approx((cmc[0], mean_ap, mean_inp), abs=1e-9)


def test_rows_of_shortlists_say_so_and_a_shortlist_of_all_is_exact():
    exact = evaluate(Maps(), [ONE, CLASSES], protocol=PROTOCOL)
    for first in (5, 100):
        rows = evaluate(Maps(first), [ONE, CLASSES], protocol=PROTOCOL)
        assert {row["rescoring"] for row in rows} == {f"first {first} rescored"}
        same = [{k: v for k, v in row.items() if k != "rescoring"} for row in rows]
        assert (same == exact) == (first == 100)
        assert f"one, first {first} rescored" in report.table(rows)


def test_what_a_score_does_not_allow_is_refused_before_anything_is_embedded(embedded):
    options = {"protocol": PROTOCOL}
    with pytest.raises(
        ValueError, match=r"TEST.QUERY_EXPANSION is 3: it averages vectors, .* Maps is no inner product"
    ):
        evaluate(Maps(), [ONE], query_expansion=3, **options)
    with pytest.raises(ValueError, match=r"TEST.CLUSTERING is True: it averages vectors, .* expected False"):
        evaluate(Maps(), [CLASSES], clustering=True, **options)
    with pytest.raises(ValueError, match=r"TEST.RERANK is True: it needs all scores, .*\(first 5 rescored\)"):
        evaluate(Maps(5), [ONE], rerank=True, **options)
    assert embedded == []


@pytest.mark.parametrize(("inner", "rescoring"), [(True, ""), (False, "first 9 rescored")])
def test_a_method_that_says_something_else_of_its_scores_is_refused(inner, rescoring):
    method = Maps()
    method.inner_product, method.rescoring = inner, rescoring
    with pytest.raises(ValueError, match=r"Maps: found a similarity Matched .*; make them agree"):
        evaluate(method, [ONE], protocol=PROTOCOL)


GROUPS = [[SAMPLES[i], SAMPLES[i + 10]] for i in range(9)] + [[SAMPLES[9]]]
SEVERAL = Dataset("several", "/data", (), [Trial(SAMPLES[:10], SAMPLES[20:], GROUPS)], CARD)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_several_pictures_a_query_search_as_their_mean_in_rows_of_their_own(embedded, asymmetric):
    rows = evaluate(Lookup(asymmetric), [SEVERAL], protocol=PROTOCOL)
    plain, several = (row for row in rows if row["kind"] == "trial")
    assert ("rescoring" in plain, several["rescoring"]) == (False, "multi-query")
    assert [row.get("rescoring") for row in rows if row["kind"] == "mean"] == [None, "multi-query"]
    means = np.stack([np.mean([VECTORS[SAMPLES.index(s)] for s in group], axis=0) for group in GROUPS])
    gallery = np.ascontiguousarray(VECTORS[20:, ::-1]) if asymmetric else VECTORS[20:]
    for row, query in ((plain, VECTORS[:10]), (several, means)):
        expected = score(query, gallery, Ids.of(SAMPLES[:10]), Ids.of(SAMPLES[20:]))
        assert row["mAP"] == pytest.approx(expected.mAP, abs=1e-12)
    assert several["mAP"] != plain["mAP"]
    assert [len(paths) for paths in embedded] == ([19, 20] if asymmetric else [39])


def test_several_pictures_a_query_need_vectors_and_a_group_for_each():
    with pytest.raises(
        ValueError, match="several has several pictures a query: their vectors are averaged, and a score of Maps"
    ):
        evaluate(Maps(), [SEVERAL], protocol=PROTOCOL)
    for groups in (GROUPS[:9], [*GROUPS[:9], [SAMPLES[8]]]):
        with pytest.raises(ValueError, match=f"found {len(groups)} groups of 10 queries; expected one for each"):
            Dataset("several", "/data", (), [Trial(SAMPLES[:10], SAMPLES[20:], groups)], CARD)
