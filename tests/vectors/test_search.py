"""Search against a sort of all scores in float64; filters, indexes, adding and removing."""

import json
import math
import shutil
import subprocess
import sys

import faiss
import numpy as np
import pytest
from stores import everything, make

from reid.vectors import answers, edit, index, search
from reid.vectors.search import Filter
from reid.vectors.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return make(tmp_path / "v")


def slow(store, queries, top, wanted=lambda columns, i: True):
    """The paths of the best, by a sort of all scores in float64."""
    vectors, columns = everything(store)
    kept = [i for i in range(len(vectors)) if wanted({name: values[i] for name, values in columns.items()}, i)]
    paths = []
    for query in queries.astype(np.float64):
        order = sorted(kept, key=lambda i: -float(vectors[i].astype(np.float64) @ query))
        paths.append([columns["path"][i] for i in order[:top]])
    return paths


def paths(store, found) -> list[list[str]]:
    rows = search.hits(store, found.ids)
    return [[rows[i].row.path for i in ids if i >= 0] for ids in found.ids.tolist()]


QUERIES = np.random.default_rng(5).normal(size=(7, 8)).astype(np.float32)


@pytest.mark.parametrize("top", [1, 10, 500])
def test_exact_search_is_a_sort_of_all_scores(store, top):
    found = search.exact(store, QUERIES, top)
    assert found.ids.shape == found.scores.shape == (7, top)
    assert paths(store, found) == slow(store, QUERIES, top)
    assert (found.ids[:, 267:] == -1).all()
    assert np.isneginf(found.scores[:, 267:]).all()
    vectors, columns = everything(store)
    order = {path: i for i, path in enumerate(columns["path"].tolist())}
    best = vectors[[order[row[0]] for row in paths(store, found)]]
    np.testing.assert_allclose(found.scores[:, 0], (best * QUERIES).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("keep", "wanted"),
    [
        (Filter(cameras=["c1", "c3"]), lambda row, i: row["camera"] in ("c1", "c3")),
        (Filter(tracks=["t7"]), lambda row, i: row["track"] == "t7"),
        (Filter(persons=["p5", "p6"]), lambda row, i: row["person"] in ("p5", "p6")),
        (Filter(start=20), lambda row, i: row["time"] >= 20),
        (Filter(start=20, end=100), lambda row, i: 20 <= row["time"] <= 100),
        (
            Filter(["c2"], ["t2", "t4", "t6"], 0, 250),
            lambda row, i: row["camera"] == "c2" and row["time"] <= 250 and row["track"] in ("t2", "t4", "t6"),
        ),
        (Filter(cameras=["nowhere"]), lambda row, i: False),
    ],
)
def test_filters(store, keep, wanted):
    assert paths(store, search.exact(store, QUERIES, 10, keep)) == slow(store, QUERIES, 10, wanted)


def test_rows_without_a_time_are_left_out_once_one_is_asked_for(store):
    shard = store.read(0)
    shard.columns["time"][:] = math.nan
    store.write(0, shard)
    assert len(search.hits(store, search.exact(store, QUERIES[:1], 500, Filter(start=-1e9)).ids)) == 267 - len(
        shard.vectors
    )
    assert (search.exact(store, QUERIES[:1], 267).ids >= 0).all()


def test_equal_scores_are_ordered_by_their_place(store):
    shard = store.read(0)
    vectors = np.array(shard.vectors)
    vectors[:] = vectors[0]
    store.write(0, search.Shard(vectors, shard.columns, shard.refused))
    found = search.exact(store, vectors[:1], 5)
    assert len(set(found.scores[0].tolist())) == 1
    assert found.ids[0].tolist() == sorted(set(found.ids[0].tolist()))


# ---- indexes


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Store:
    """10,667 rows with an IVF-PQ, which takes seconds to train: once for all."""
    store = make(tmp_path_factory.mktemp("large") / "v", num=12_000, dim=16, shard=2048)
    about = index.build(store, "ivfpq")
    assert about["rows"] == len(everything(store)[0])
    assert list(about["recall"].values())[-1] >= 0.95
    return store


@pytest.fixture
def copied(large, tmp_path) -> Store:
    """The large one, to be changed."""
    shutil.copytree(large.folder, tmp_path / "copied")
    return Store.open(tmp_path / "copied")


def recall(store, queries) -> float:
    found, expected = index.search_best(store, queries, 10), search.exact(store, queries, 10)
    agreed = found.ids == expected.ids
    np.testing.assert_allclose(found.scores[agreed], expected.scores[agreed], atol=1e-6)
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(expected.ids, found.ids, strict=True)]))


def test_ivfpq_finds_what_it_says_and_less_where_only_codes_decide(large, monkeypatch):
    queries = everything(large)[0][::100]
    assert recall(large, queries) > 0.9
    monkeypatch.setattr(index, "DEPTH", 1)  # no more candidates than are wanted: by codes of a sixteenth
    assert recall(large, queries) < 0.9


def test_candidates_that_are_none_or_gone_never_win(store):
    row = np.array(store.read(0).vectors[:1])
    found = search.rescored(store, -row, np.array([[-1, 0, 8, 77 << 32]]), 3)  # 8 gave no vector, 77 is no shard
    assert found.ids.tolist() == [[0, -1, -1]]
    assert found.scores[0, 0] == pytest.approx(-1, abs=1e-6)
    assert np.isneginf(found.scores[0, 1:]).all()


def test_hnsw_finds_all_of_a_small_store(store):
    about = index.build(store, "hnsw")
    assert about == {"kind": "hnsw", "rows": 267, "effort": 128, "recall": {"128": 1.0}, "shards": [0, 1, 2, 3, 4]}
    assert recall(store, QUERIES) == 1
    index.drop(store)
    assert not index.exists(store)


def test_index_keeps_to_filters_and_to_what_is_still_there(copied, tmp_path):
    queries = everything(copied)[0][:20]
    for keep in (Filter(cameras=["c0", "c1", "c2"]), Filter(start=3000)):
        hits = search.hits(copied, index.search_best(copied, queries, 10, keep).ids).values()
        assert len(hits) > 50
        assert all(hit.row.camera in (keep.cameras or [hit.row.camera]) for hit in hits)
        assert all(hit.row.time >= keep.start for hit in hits)
    narrow = Filter(cameras=["c3"])
    expected = search.exact(copied, queries, 10, narrow)
    np.testing.assert_array_equal(index.search_best(copied, queries, 10, narrow).ids, expected.ids)
    edit.remove(copied, persons=["p0"])
    hits = search.hits(copied, index.search_best(copied, queries, 10).ids).values()
    assert len(hits) > 50
    assert not [hit for hit in hits if hit.row.person == "p0"]
    more = make(tmp_path / "more", num=100, dim=16, seed=9, listing="two")
    edit.add(copied, more)
    found = index.search_best(copied, more.read(0).vectors[:5], 1)
    assert [row[0] for row in paths(copied, found)] == more.read(0).columns["path"][:5].tolist()


def test_indexes_that_cannot_be(store, monkeypatch):
    assert index.build(store) is None
    with pytest.raises(ValueError, match="found annoy; there are auto, flat, ivfpq, hnsw"):
        index.build(store, "annoy")
    monkeypatch.setattr(index, "LARGE", 266)  # past which auto takes an IVF-PQ
    with pytest.raises(ValueError, match="--kind: ivfpq needs 9,984 rows, found 267; use flat"):
        index.build(store)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: faiss.write_index(faiss.IndexFlatIP(8), str(path)),
        lambda path: path.unlink(),
    ],
)
def test_damaged_index_is_named(store, spoil):
    index.build(store, "hnsw")
    spoil(store.folder / "index.faiss")
    with pytest.raises(ValueError, match=r"index\.faiss: found a damaged index .* build it again") as error:
        index.search_best(store, QUERIES, 1)
    assert "\n" not in str(error.value)


# ---- adding and removing


def everywhere(store: Store, needle: bytes | str) -> list[str]:
    """The files that hold it, as bytes, as UTF-8 or as numpy's text."""
    forms = [needle] if isinstance(needle, bytes) else [needle.encode(), needle.encode("utf-32-le")]
    return [path.name for path in sorted(store.folder.iterdir()) if any(form in path.read_bytes() for form in forms)]


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_removed_person_is_not_found_and_no_byte_of_it_is_left(store, kind):
    index.build(store, kind)
    (store.folder / ".000099.npz.77").write_bytes(store.path(1).read_bytes())  # of a process that was killed
    (store.folder / "000099.npz").write_bytes(store.path(1).read_bytes())  # of one that was killed while it added
    store.write_refused()
    vectors, columns = everything(store)
    gone = columns["person"] == "p5"
    lost = [(p, v) for p, v in zip(columns["path"][gone].tolist(), vectors[gone], strict=True)]
    lost += [(path, None) for path in ("one/000035.jpg", "one/000125.jpg")]  # refused
    assert len(lost) > 8
    assert all(everywhere(store, path) for path, _ in lost)
    assert edit.remove(store, persons=["p5"]) == gone.sum()
    found = search.hits(store, index.search_best(store, vectors[gone], 50).ids)
    assert len(found) > 40
    assert "p5" not in {hit.row.person for hit in found.values()}
    edit.compact(store)
    for path, vector in lost:
        assert everywhere(store, path) == []
        assert vector is None or everywhere(store, vector.tobytes()) == []
    assert "p5" not in everything(store)[1]["person"]
    assert not [number for number, shard in store.shards() if "p5" in shard.refused["person"]]
    assert index.exists(store) == (kind == "hnsw")
    assert (~gone).sum() == len(everything(store)[0])


def test_before_compact_the_index_still_holds_the_vector_which_is_why_there_is_compact(store):
    index.build(store, "hnsw")
    vector = np.array(store.read(0).vectors[0])
    edit.remove(store, pictures=["one/000000.jpg"])
    assert everywhere(store, vector.tobytes()) == ["index.faiss"]
    edit.compact(store)
    assert everywhere(store, vector.tobytes()) == []


def test_pictures_and_tracks_are_removed_by_their_names(store):
    assert edit.remove(store, pictures=["one/000003.jpg", "/pictures/one/000004.jpg"]) == 2
    assert edit.remove(store, pictures=["one/000008.jpg"]) == 0  # it was refused: only its path was there
    assert everywhere(store, "one/000008.jpg") == []
    tracks = (everything(store)[1]["track"] == "t7").sum()
    assert edit.remove(store, tracks=["t7"]) == tracks > 0
    assert len(everything(store)[0]) == 267 - 2 - tracks


def test_removing_somebody_who_is_not_there_removes_nobody(store):
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    with pytest.raises(ValueError, match=r"found no row of person 'p99', picture 'x.jpg' in .*; nothing was removed"):
        edit.remove(store, persons=["p1", "p99"], pictures=["x.jpg"])
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


def test_unfinished_store_is_searched_but_not_edited(store, tmp_path):
    store.path(2).unlink()
    assert "one/000150.jpg" not in everything(store)[1]["path"].tolist()
    assert (search.exact(store, QUERIES, 3).ids >= 0).all()
    other = make(tmp_path / "w", listing="two")
    for refused in (lambda: edit.remove(store, persons=["p1"]), lambda: edit.add(other, store)):
        with pytest.raises(ValueError, match="has 4 of 5 shards; run reid embed to its end first"):
            refused()


def test_added_rows_are_found_under_their_own_root(store, tmp_path):
    other = make(tmp_path / "w", num=100, shard=30, seed=3, listing="two")
    other.header["inputs"][0]["root"] = "/others"
    other.write_header()
    assert edit.add(store, other) == 89
    again = Store.open(store.folder)
    found = search.exact(again, other.read(3).vectors, 1)
    hits = search.hits(again, found.ids)
    assert [hits[i].row.path for i in found.ids[:, 0].tolist()] == other.read(3).columns["path"].tolist()
    assert {hits[i].root for i in found.ids[:, 0].tolist()} == {"/others"}
    assert again.write_refused() == 33 + 11
    with pytest.raises(ValueError, match="already; expected new ones"):
        edit.add(again, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"sha256": "b" * 64},
            r"found the model \(sha256 of its checkpoint\) bbbbbbbbbbbbbbbb where .* has aaaaaaaaaaaaaaaa",
        ),
        ({"preprocessing": {"size": [8, 4]}}, r"found the preprocessing {'size': \[8, 4\]} where"),
        ({"dim": 4}, "found the length 4 where .* has 8"),
        ({"side": "query"}, "found the side query in .*; expected both"),
    ],
)
def test_vectors_of_another_model_are_not_added(store, tmp_path, changes, message):
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    with pytest.raises(ValueError, match=message):
        edit.add(store, make(tmp_path / "w", listing="two", **changes))
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before


# ---- answers


def test_answers_as_table_and_json(store):
    query = search.Hit(search.Row("q\n.jpg"), "/", 1)
    found = search.exact(store, QUERIES[:2], 3)
    made = answers.of([query, query], found, search.hits(store, found.ids), float(found.scores[0, 1]))
    assert [len(answer.found) for answer in made] == [2, int((found.scores[1] >= found.scores[0, 1]).sum())]
    lines = answers.to_table(made[:1], None).splitlines()
    assert lines[0] == r"query q\n.jpg"
    assert lines[1].split() == ["rank", "score", "camera", "time", "track", "person", "path"]
    best = search.hits(store, found.ids)[int(found.ids[0, 0])].row
    assert lines[2].split() == [
        "1",
        f"{found.scores[0, 0]:.4f}",
        best.camera,
        f"{best.time:.2f}",
        best.track,
        best.person,
        best.path,
    ]
    said = json.loads(answers.to_json(made, store.header, 0.5))
    assert said["answers"][0]["query"] == {"path": "q\n.jpg"}
    assert said["answers"][0]["found"][0]["path"] == best.path
    assert said["terms"] == store.header["terms"]
    (unknown,) = answers.of([query], *answers.find(store, QUERIES[:1], 3, search.EVERYTHING), 1e6)
    assert answers.to_table([unknown], 1e6).splitlines()[1] == "  unknown: nothing scores 1000000.0000 or more"


PATCHED = """
import sys
import faiss.contrib.torch_utils  # as pytorch-metric-learning does: it replaces what faiss searches by
import numpy as np
from reid.vectors import index, search
from reid.vectors.store import Store

store = Store.open(sys.argv[1])
queries = np.eye(store.header["dim"], dtype=np.float32)
index.build(store, "hnsw")
found = index.Index.open(store).search(store, queries, 5)
assert np.array_equal(found.ids, search.exact(store, queries, 5).ids), found.ids
print("alike")
"""


def test_search_goes_on_where_another_package_patched_faiss(tmp_path):
    make(tmp_path / "store")
    ended = subprocess.run([sys.executable, "-c", PATCHED, str(tmp_path / "store")], capture_output=True, text=True)
    assert ended.stdout.endswith("alike\n"), ended.stderr
