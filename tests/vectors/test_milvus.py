"""A collection of Milvus against exact search of the folders it was filled from: on a stand-in, and on Milvus Lite where it is.

Milvus Lite needs faiss-cpu, whose folder that of another faiss would be, so it runs from a venv of its own, with pymilvus here:
python -m venv lite; lite/bin/pip install milvus-lite; pip install pymilvus; REID_TEST_MILVUS=lite/bin/python
"""

import itertools
import json
import math
import shutil
import socket
import sys

import numpy as np
import pytest
from stores import everything, make

from reid.vectors import milvus, search, server
from reid.vectors.milvus import Collection
from reid.vectors.search import EVERYTHING, Filter
from reid.vectors.store import Shard, Store

QUERIES = np.random.default_rng(5).normal(size=(7, 8)).astype(np.float32)
names = map("people_{}".format, itertools.count())


@pytest.fixture(params=["stand-in", pytest.param("lite", marks=pytest.mark.slow)])
def place(request) -> str:
    """A place where no collection is yet."""
    request.getfixturevalue(request.param.replace("-", "_"))
    uri = request.getfixturevalue("lite") if request.param == "lite" else "http://nowhere:19530"
    return f"milvus:{uri}#{next(names)}"


@pytest.fixture
def store(tmp_path) -> Store:
    return make(tmp_path / "v")


def filled(place, *stores) -> Collection:
    collection = Collection.open(place, stores[0])
    assert [collection.add(each) for each in stores] == [each.num_rows for each in stores]
    return Collection.open(place)


def check_alike(collection, store, queries, top, keep=EVERYTHING) -> None:
    """The collection finds what exact search finds: ids, scores and rows."""
    found, hits = collection.find(queries, top, keep)
    expected = search.exact(store, queries, top, keep)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert hits.keys() == set(expected.ids[expected.ids >= 0].tolist())
    assert repr([hits[i] for i in sorted(hits)]) == repr([search.hits(store, expected.ids)[i] for i in sorted(hits)])


FILTERS = [
    EVERYTHING,
    Filter(cameras=["c1", "c3"]),
    Filter(tracks=["t7"]),
    Filter(persons=["p5", "p6"]),
    Filter(start=20),
    Filter(end=100.25),
    Filter(["c2"], ["t2", "t4", "t6"], 0, 250),
    Filter(cameras=["nowhere"]),
]


def test_finds_what_exact_search_finds(place, store):
    collection = filled(place, store)
    assert collection.header == store.header
    assert collection.num_rows == store.num_rows == 267
    for keep in FILTERS:
        check_alike(collection, store, QUERIES, 10, keep)
    check_alike(collection, store, QUERIES, 500)


def test_many_queries_go_in_parts(place, store, monkeypatch):
    collection = filled(place, store)
    monkeypatch.setattr(milvus, "MOST", 20)
    check_alike(collection, store, np.tile(QUERIES, (3, 1)), 7)
    with pytest.raises(ValueError, match="--top: found 21; Milvus gives at most 20"):
        collection.find(QUERIES, 21)


def test_odd_names_unknown_times_and_crops(place, store):
    odd = ['say "a"', "back\\slash", "it's", "é\n", "", "c1%", "{x}", "火"]
    for number, shard in list(store.shards()):
        columns = dict(shard.columns)
        size = len(shard.vectors)
        columns["camera"] = np.array([odd[i % 8] for i in range(size)])
        columns["time"] = np.where(np.arange(size) % 3 == 0, math.nan, 1714557600.25 + np.arange(size))
        columns["frame"] = np.arange(size)
        columns["box"] = np.stack([-np.arange(size), np.arange(size), np.full(size, 2**33), np.full(size, 5)], axis=1)
        store.write(number, Shard(np.array(shard.vectors), columns, shard.refused))
    collection = filled(place, store)
    for name in odd:
        check_alike(collection, store, QUERIES, 10, Filter(cameras=[name, "none"]))
    check_alike(collection, store, QUERIES, 300, Filter(start=-1e300))
    check_alike(collection, store, QUERIES, 10, Filter(start=1714557610.25, end=1714557620))
    check_alike(collection, store, QUERIES, 300)


def test_hnsw_and_back(place, store, caplog):
    collection = filled(place, store)
    with caplog.at_level("INFO", logger="reid"):
        made = collection.build("hnsw")
    assert made == {"kind": "hnsw", "effort": 128, "recall": {"128": 1.0}}
    assert "hnsw, effort 128: 100.0% of the exact first 10 found" in caplog.text
    again = Collection.open(place)
    assert again.made == made
    check_alike(again, store, QUERIES, 10, Filter(cameras=["c2"]))
    assert again.build()["kind"] == "flat"
    check_alike(Collection.open(place), store, QUERIES, 10)
    with pytest.raises(ValueError, match="found ivfpq for 267 rows; on Milvus there are auto, flat, hnsw"):
        again.build("ivfpq")


def test_indexing_that_was_broken_off_is_gone_on_with(place, store, monkeypatch):
    collection = filled(place, store)
    with monkeypatch.context() as broken:
        broken.setattr(collection.server, "indexed", lambda kind: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            collection.build("hnsw")
    check_alike(Collection.open(place), store, QUERIES, 10)


def test_folders_are_added_and_keep_their_roots(place, store, tmp_path):
    other = make(tmp_path / "w", num=100, shard=30, seed=3, listing="two")
    other.header["inputs"][0]["root"] = "/others"
    collection = filled(place, store, other)
    assert collection.num_rows == 267 + 89
    vectors, columns = everything(other)
    found, hits = collection.find(vectors, 1)
    assert [hits[i].row.path for i in found.ids[:, 0].tolist()] == columns["path"].tolist()
    assert {hits[i].root for i in found.ids[:, 0].tolist()} == {"/others"}
    with pytest.raises(ValueError, match="already; expected new ones"):
        collection.add(other)
    assert collection.num_rows == 267 + 89


def test_filling_that_was_broken_off_is_not_seen_and_begins_anew(place, store, tmp_path, monkeypatch):
    collection = Collection.open(place, store)
    ask, sent = collection.server.ask, []

    def dies(question, *words, **options):
        if question == "insert":
            sent.append(question)
            if len(sent) == 3:
                raise KeyboardInterrupt
        return ask(question, *words, **options)

    with monkeypatch.context() as broken:
        broken.setattr(collection.server, "ask", dies)
        with pytest.raises(KeyboardInterrupt):
            collection.add(store)
    again = Collection.open(place)
    assert again.num_rows == 0
    assert (again.find(QUERIES, 5)[0].ids == -1).all()
    other = make(tmp_path / "w", num=50, seed=3)  # fewer rows than were sent
    assert again.add(other) == 45
    check_alike(Collection.open(place), other, QUERIES, 60)


def test_removed_is_not_found_at_once(place, store):
    collection = filled(place, store)
    vectors, columns = everything(store)
    gone = (columns["person"] == "p5") | (columns["track"] == "t7")
    gone |= np.isin(columns["path"], ["one/000003.jpg", "one/000004.jpg"])
    names = {"persons": ["p5"], "tracks": ["t7"], "pictures": ["one/000003.jpg", "/pictures/one/000004.jpg"]}
    assert collection.remove(**names) == gone.sum() > 10
    found, hits = collection.find(vectors[gone], 300)
    assert sorted(hit.row.path for hit in hits.values()) == sorted(columns["path"][~gone].tolist())
    assert ((found.ids >= 0).sum(axis=1) == (~gone).sum()).all()
    assert Collection.open(place).num_rows == (~gone).sum()
    with pytest.raises(ValueError, match=r"no row of person 'p5', picture 'x.jpg' in .*; nothing was removed"):
        collection.remove(persons=["p1", "p5"], pictures=["x.jpg"])
    assert collection.num_rows == (~gone).sum()
    collection.compact()
    assert collection.num_rows == (~gone).sum()


def test_compact_asks_the_server(stand_in, store):
    collection = filled("milvus:http://nowhere:1#people", store)
    collection.compact()
    assert collection.server.client.held["people"].asked == ["flush", "compact"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "b" * 64}, r"found the model \(sha256 of its checkpoint\) bbbbbbbbbbbbbbbb where milvus:http"),
        ({"preprocessing": {"size": [8, 4]}}, r"found the preprocessing {'size': \[8, 4\]} where milvus"),
        ({"dim": 4}, "found the length 4 where milvus.* has 8"),
        ({"side": "query"}, "found the side query in .*; expected both, as in milvus"),
    ],
)
def test_vectors_of_another_model_are_not_added(place, store, tmp_path, changes, message):
    collection = filled(place, store)
    with pytest.raises(ValueError, match=message):
        Collection.open(place, store).add(make(tmp_path / "w", listing="two", **changes))
    assert collection.num_rows == 267


def test_commands_answer_as_they_do_for_the_folder(place, trained, tiny_world, call, refused, tmp_path, caplog):
    people, asked = (tiny_world / "target" / name for name in ("bounding_box_test", "query"))
    export = shutil.copytree(trained / "export", tmp_path / "export")
    pattern = r"(?P<person>-?\d+)_c(?P<camera>\d)s1_(?P<time>\d+)"
    call("embed", people, "--model", export, "--output", tmp_path / "v", "--pattern", pattern, "--shard", 20)
    assert f"{place}: 51 rows of {tmp_path / 'v'} added" in call("index", "--index", place, "--add", tmp_path / "v")
    searches = ["--query", asked, "--json", "--camera", 2, "--from", 1, "--person", "0011", "0012", "0013", "0014"]
    expected = json.loads(call("search", tmp_path / "v", *searches))
    found = json.loads(call("search", "--index", place, *searches))
    assert expected["answers"][0]["found"]
    for one, other in zip(found["answers"], expected["answers"], strict=True):
        scores = [[row.pop("score") for row in each["found"]] for each in (one, other)]
        np.testing.assert_allclose(*scores, atol=5e-6)
        assert one == other
    call("search", "--index", place, "--query", asked, "--page", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<img ") == 16 * 11
    assert "is calibrated for none" in refused("search", "--index", place, "--query", asked, "--fmr", 0.05)
    labelled = ["--model", export, "--output", tmp_path / "labelled", "--pattern", r"(?P<person>\d+_c\d)"]
    call("embed", people, *labelled)
    assert f"written into {place}" in call("calibrate", tmp_path / "labelled", "--fmr", 0.05, "--into", place)
    threshold = Collection.open(place).header["calibration"][0]["threshold"]
    said = json.loads(call("search", "--index", place, "--query", asked, "--fmr", 0.05, "--json"))
    assert said["threshold"] == threshold
    assert call("index", "--index", place).endswith(": flat over 51 rows\n")
    one = expected["answers"][0]["found"][0]
    removed = call("index", "--index", place, "--remove-person", one["person"], "--compact").splitlines()
    assert removed == [f"{place}: 6 rows removed", f"{place}: the server was asked to drop what was removed"]
    left = json.loads(call("search", "--index", place, "--query", asked, "--json", "--top", 60))
    assert {len(answer["found"]) for answer in left["answers"]} == {45}
    assert one["person"] not in {row["person"] for answer in left["answers"] for row in answer["found"]}
    assert "found no row of person '9999'" in refused("index", "--index", place, "--remove-person", "9999")


# ---- what is no place, and what does not answer


@pytest.mark.parametrize(
    "place",
    [
        "milvus:",
        "milvus:host:19530",
        "http://host:19530",
        "milvus:http://host:x",
        "milvus:http://h:1#a-b",
        "milvus:v.db",
    ],
)
def test_places_that_are_none(place):
    with pytest.raises(ValueError, match=r"expected milvus:http://HOST:PORT#COLLECTION"):
        Collection.open(place)


def test_passwords_are_not_repeated(stand_in):
    with pytest.raises(ValueError, match=r"found milvus:http://\.\.\.@host:1; .* MILVUS_TOKEN") as error:
        Collection.open("milvus:http://me:secret@host:1")
    assert "secret" not in str(error.value)


def test_collections_that_are_none_or_something_else(place, store, call):
    with pytest.raises(ValueError, match=r"found no collection people_.* reid index --index milvus:.* --add VECTORS"):
        Collection.open(place)
    collection = filled(place, store)
    collection.server.create(f"{collection.name}_other", 4, {"text": 10})
    with pytest.raises(ValueError, match=r"found the collection people_.*_other of something else"):
        Collection.open(f"{place}_other", store)
    collection.header["version"] = 99
    collection.write_header()
    with pytest.raises(
        ValueError, match=r"its header is not one of this version \(found format 'reid vectors', version 99"
    ):
        Collection.open(place)


def test_names_longer_than_a_column(place, store):
    shard = store.read(0)
    shard.columns["path"] = np.array(["x" * 5000] * len(shard.vectors))
    store.write(0, shard)
    with pytest.raises(OSError, match=r"failed at insert: .*length") as error:
        Collection.open(place, store).add(store)
    assert "\n" not in str(error.value)


def test_without_pymilvus(monkeypatch, store, refused):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    assert "needs pymilvus, not installed here" in refused(
        "search", "--index", "milvus:http://host:1", "--query", "a.jpg"
    )


def test_neither_or_both_of_folder_and_collection(store, capsys, call):
    for words in ([], [store.folder, "--index", "milvus:http://host:1"]):
        with pytest.raises(SystemExit):
            call("index", *words)
        assert "expected VECTORS, or --index milvus:URI in its place" in capsys.readouterr().err


def test_server_that_is_not_there(stand_in, store, monkeypatch, refused):
    monkeypatch.setattr(stand_in, "down", {"http://nowhere:1"})
    said = refused("search", "--index", "milvus:http://nowhere:1", "--query", "a.jpg")
    assert "found no server that lets us in at http://nowhere:1 within 10 s; start it" in said


@pytest.mark.slow
def test_server_that_does_not_answer(lite, store, monkeypatch, refused):
    """A port where nobody speaks, and a server that falls silent: a line each, after the time it states."""
    monkeypatch.setattr(server, "CONNECT", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert f"at {uri} within 1 s" in refused("index", "--index", f"milvus:{uri}", "--compact")
    collection = filled(f"milvus:{lite}#{next(names)}", store)
    with pytest.raises(OSError, match=r"failed at search: no answer within 0\.0001 s") as error:
        collection.server.ask("search", collection.name, data=[[0.0] * 8], limit=1, timeout=0.0001)
    assert "\n" not in str(error.value)
