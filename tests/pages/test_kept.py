"""What is kept of a scoring, against slow restatements: lists, their ranks, cameras, scores, the map, activations."""

import numpy as np
import pytest
import torch
from torch import nn

from reid import schema
from reid.data.records import Card, Dataset, Sample, Trial
from reid.evaluation import kept, rank
from reid.evaluation.activations import through_score
from reid.evaluation.kept import lists, looked, sums
from reid.evaluation.kept.form import Kept
from reid.evaluation.rank import Ids
from reid.methods import Method
from reid.similarity import Inner

RNG = np.random.default_rng(3)
PEOPLE = RNG.normal(size=(9, 6))
SAMPLES = [Sample(f"/data/{i:03d}.jpg", i % 9, i // 9 % 3) for i in range(90)]  # person 0 is the distractor
ROWS = torch.from_numpy(np.stack([PEOPLE[s.pid] + RNG.normal(size=6) * 1.2 for s in SAMPLES]).astype(np.float32))
ROWS[40] = ROWS[41] = ROWS[50]  # three people with one vector: ties
TRIAL = Trial(SAMPLES[1:30], SAMPLES[30:])
SET = Dataset("one", "/data", (), [TRIAL], Card("made up", "none", "nowhere"))


class Plain(Method):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Identity()


class Rows:
    """Stands for `Sides`: the row of a sample by the number in its name."""

    method, options = Plain(), {}

    def query(self, samples):
        return ROWS[[int(sample.path[-7:-4]) for sample in samples]]

    gallery = query

    def similarity(self, query, gallery):
        return Inner(query, gallery)


@pytest.fixture(scope="module")
def found():
    scores = Rows().similarity(Rows().query(TRIAL.query), Rows().query(TRIAL.gallery))
    return rank.score(scores, None, Ids.of(TRIAL.query), Ids.of(TRIAL.gallery)).searches


@pytest.fixture
def content(found, monkeypatch):
    monkeypatch.setattr(lists, "_activations", lambda sides, shown: [None] * len(shown))
    return kept.look(Rows(), SET, [found])


def score(one, other):
    return float(ROWS[int(one.path[-7:-4])].double() @ ROWS[int(other.path[-7:-4])].double())


def kind(query, other):
    """`right`, `wrong` or `junk`, in words."""
    if query.pid == other.pid != 0:
        return "junk" if query.camid == other.camid else "right"
    return "wrong"


def ordered(query):
    """The gallery without junk: by score, what ties with a match before it."""
    there = [(score(query, other), kind(query, other), other) for other in TRIAL.gallery]
    there = [each for each in there if each[1] != "junk"]
    return sorted(there, key=lambda each: (-(each[0] - (each[1] == "right") * 1e-5), each[1] == "right"))


def test_kept_is_what_its_form_says(content):
    schema.check(content, Kept)
    assert content["may_show"] is False
    assert content["lacking"] == ["No activations: the encoder's last features have no places in the picture."]


def test_outcome_is_that_of_queries_with_a_match(content, found):
    (outcome,) = content["trials"]
    valid = [sample for sample in TRIAL.query if any(kind(sample, other) == "right" for other in TRIAL.gallery)]
    assert outcome["pid"] == [sample.pid for sample in valid]
    assert 0 not in outcome["pid"]
    assert outcome["first"] == [1 + [each[1] for each in ordered(sample)].index("right") for sample in valid]
    assert outcome["ap"] == found.ap[found.valid].tolist()


def test_worst_queries_come_first_then_some_by_chance_then_the_best(content):
    def precision(query):
        ranks = [at for at, each in enumerate(ordered(query), start=1) if each[1] == "right"]
        return sum(n / at for n, at in enumerate(ranks, start=1)) / len(ranks), -ranks[0]

    valid = [sample for sample in TRIAL.query if sample.pid != 0]
    worst = sorted(valid, key=precision)[:8]
    best = sorted(valid, key=precision, reverse=True)[:4]
    shown = {name: [r["query"]["path"] for r in content["ranked"] if r["kind"] == name] for name in lists.LISTS}
    found = [next(sample for sample in valid if sample.path == path) for path in shown["worst"]]
    assert list(map(precision, found)) == list(map(precision, worst))
    assert {s.path for s in best} == set(shown["best"])
    assert len(shown["random"]) == 4
    assert len({path for paths in shown.values() for path in paths}) == 16
    assert list(dict.fromkeys(r["kind"] for r in content["ranked"])) == ["worst", "random", "best"]


def test_a_set_of_few_queries_shows_each_once(found):
    few = rank.Searches(*(getattr(found, name)[:5] for name in found.__dataclass_fields__))
    assert sorted(lists.choose(few)) == np.flatnonzero(few.valid).tolist()


def test_lists_are_in_the_order_of_scores_and_ranks_as_counted(content):
    lost = 0
    for ranked in content["ranked"]:
        query = next(sample for sample in TRIAL.query if sample.path == ranked["query"]["path"])
        expected = ordered(query)
        for each in ranked["found"]:
            value, what, _ = expected[each["rank"] - 1]
            assert each["score"] == pytest.approx(value, abs=1e-4)
            assert each["right"] == (what == "right")
            assert kind(query, next(s for s in TRIAL.gallery if s.path == each["path"])) == what
        assert [each["rank"] for each in ranked["found"]][:8] == list(range(1, 9))
        assert ranked["first"] == next(each["rank"] for each in ranked["found"] if each["right"])
        lost += ranked["first"] > 8
    assert lost  # some first match stands behind the first eight


def test_errors_by_cameras_are_searches_of_one_camera(content):
    table = content["cameras"]
    for row, own in enumerate(table["query"]):
        for column, camera in enumerate(table["gallery"]):
            asked = wrong = 0
            for query in TRIAL.query:
                here = [each for each in ordered(query) if each[2].camid == camera]
                if query.camid == own and any(each[1] == "right" for each in here):
                    asked, wrong = asked + 1, wrong + (here[0][1] == "wrong")
            assert (table["asked"][row][column], table["wrong"][row][column]) == (asked, wrong)
    assert sum(map(sum, table["wrong"])) > 0
    assert all(table["asked"][i][i] == 0 for i in range(3))


def test_without_cameras_or_with_too_many_there_is_no_table(found):
    scores = looked.scores_of(Rows(), SET, TRIAL, [0, 1])
    bare = Trial([s._replace(camid=None) for s in TRIAL.query], [s._replace(camid=None) for s in TRIAL.gallery])
    assert sums.cameras(bare, scores) is None
    many = [s._replace(camid=i) for i, s in enumerate(TRIAL.gallery)]
    assert sums.cameras(Trial(TRIAL.query, many), scores) is None


def test_scores_fall_into_the_bins_they_lie_in(content):
    where = content["scores"]
    width = (where["high"] - where["low"]) / sums.BINS
    for name in ("right", "wrong"):
        values = np.array([each[0] for query in TRIAL.query if query.pid for each in ordered(query) if each[1] == name])
        bins = np.clip(np.floor((values - where["low"]) / width), 0, sums.BINS - 1).astype(int)
        assert abs(np.bincount(bins, minlength=sums.BINS) - where[name]).sum() <= 2  # float32 at an edge


def test_map_is_the_gallery_on_its_principal_components(content):
    where = content["map"]
    assert len(where["x"]) == len(TRIAL.gallery)
    letters = {pid: {m for p, m in zip(where["pid"], where["letter"], strict=True) if p == pid} for pid in range(9)}
    assert letters.pop(0) == {""}
    assert sorted(letter for (letter,) in letters.values()) == list("ABCDEFGH")
    by_pid = sorted(range(len(TRIAL.gallery)), key=lambda i: (TRIAL.gallery[i].pid == 0, TRIAL.gallery[i].pid, i))
    rows = Rows().query([TRIAL.gallery[i] for i in by_pid]).double().numpy()
    rows -= rows.mean(axis=0)
    _, values, axes = np.linalg.svd(rows, full_matrices=False)
    for name, axis, share, value in zip("xy", axes, where["shares"], values, strict=False):
        assert abs(np.array(where[name])) == pytest.approx(abs(rows @ axis), abs=1e-6)
        assert share == pytest.approx(value**2 / (values**2).sum())


def test_other_scores_than_inner_products_have_no_map(found, monkeypatch):
    sides = Rows()
    monkeypatch.setattr(sides, "method", Plain())
    sides.method.inner_product = False
    content = kept.look(sides, SET, [found])
    assert content["map"] is None
    assert "no inner product" in " ".join(content["lacking"])


class Pooled(Method):
    """A backbone of one product a place, averaged; the gallery's side through a matrix more."""

    asymmetric = True

    def __init__(self, tokens=False):
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.backbone = nn.Conv2d(3, 5, 4, stride=4, bias=False)
        if tokens:
            self.encoder.backbone = nn.Sequential(self.encoder.backbone, nn.Flatten(2), Across())
            self.encoder.backbone.num_prefix_tokens = 1
        self.mapping = nn.Linear(5, 5, bias=False)

    def encode_query(self, images):
        given = self.encoder.backbone(images)
        return given[:, 1:].mean(dim=1) if given.ndim == 3 else given.mean(dim=(2, 3))

    def encode_gallery(self, images):
        return self.mapping(self.encode_query(images))


class Across(nn.Module):
    """(B, C, T) -> (B, 1 + T, C), a token of ones in front."""

    def forward(self, rows):
        rows = rows.transpose(1, 2)
        return torch.cat([torch.ones_like(rows[:, :1]), rows], dim=1)


@pytest.mark.parametrize("tokens", [False, True])
def test_activations_are_each_places_part_of_the_score(tokens):
    torch.manual_seed(0)
    method = Pooled(tokens).eval().requires_grad_(False)
    query, gallery = torch.randint(0, 256, (2, 3, 3, 16, 8), dtype=torch.uint8)
    maps = through_score(method, query, gallery)
    kernel = method.encoder.backbone[0] if tokens else method.encoder.backbone
    places = [kernel(images.float() / 255).flatten(2) for images in (query, gallery)]  # (B, C, 8)
    means = [at.mean(dim=2) for at in places]
    parts = [
        torch.einsum("bcp,bc->bp", places[0], method.mapping(means[1])) / 8,
        torch.einsum("bcp,bc->bp", places[1], means[0] @ method.mapping.weight) / 8,
    ]
    scores = (method.encode_query(query / 255) * method.encode_gallery(gallery / 255)).sum(dim=1)
    for part, grid in zip(parts, maps, strict=True):
        torch.testing.assert_close(part.sum(dim=1), scores)  # nothing of the score is left out
        raised = part.clamp_min(0)
        expected = (255 * raised / raised.amax(dim=1, keepdim=True)).round()
        assert grid.shape == (3, 4, 2)
        assert abs(torch.from_numpy(grid).flatten(1) - expected.nan_to_num()).max() <= 1


def test_activations_need_places():
    assert through_score(Plain(), torch.zeros(1, 3, 8, 4), torch.zeros(1, 3, 8, 4)) is None


@pytest.mark.parametrize("gap", [0.0, 6e-8, 1e-3])
def test_scores_that_are_nearly_equal_are_all_counted(gap):
    """As those of an untrained encoder, or of one that has collapsed: single precision has no 60 edges between them."""
    scores = torch.tensor([[0.9, 0.9 + gap, 0.9]])
    right, junk = torch.tensor([[True, False, False]]), torch.zeros(1, 3, dtype=torch.bool)
    counted = sums.distribution(looked.Looked([0], scores, right, junk, 1.0, True))
    assert (sum(counted["right"]), sum(counted["wrong"])) == (1, 2)
    assert counted["low"] < counted["high"]
