"""`reid index`, `reid search` and `reid calibrate` on vectors of a short run, from pictures to answers."""

import base64
import json
import re
import shutil

import cv2
import numpy as np
import pytest

import reid
from reid.vectors import sources, video
from reid.vectors.store import Store

PATTERN = r"(?P<person>-?\d+)_c(?P<camera>\d)s1_(?P<time>\d+)"


@pytest.fixture(scope="module")
def world(trained, tiny_world, tmp_path_factory):
    """A folder of its own with `people`, the gallery of the target, embedded into `vectors`, and the model in `export`."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(tiny_world / "target" / "bounding_box_test", folder / "people")
    shutil.copytree(tiny_world / "target" / "query", folder / "asked")
    shutil.copytree(trained / "export", folder / "export")
    source = sources.find(folder / "people", pattern=PATTERN)
    reid.load(folder / "export").embed_many(source, folder / "vectors", shard=20)
    return folder


@pytest.fixture
def copied(world, tmp_path):
    """The world, to be changed."""
    return shutil.copytree(world, tmp_path / "world")


def best(world, query, wanted=lambda name: True) -> list[str]:
    """The gallery's names, the most alike first, by the model itself."""
    names = sorted(path.name for path in (world / "people").iterdir() if wanted(path.name))
    scores = reid.load(world / "export").similarity([query], [world / "people" / name for name in names])[0]
    return [names[i] for i in np.argsort(-scores, kind="stable")]


def test_search_of_a_picture_finds_what_the_model_finds(world, call):
    query = sorted((world / "asked").iterdir())[3]
    said = json.loads(call("search", world / "vectors", "--query", query, "--json", "--top", 5))
    (answer,) = said["answers"]
    assert answer["query"] == {"path": query.name}
    assert [row["path"] for row in answer["found"]] == best(world, query)[:5]
    assert [row["rank"] for row in answer["found"]] == [1, 2, 3, 4, 5]
    first = answer["found"][0]
    assert (first["person"], first["camera"]) == re.match(r"(-?\d+)_c(\d)", first["path"]).groups()
    table = call("search", world / "vectors", "--query", query, "--top", 2).splitlines()
    assert table[0] == f"query {query.name}"
    assert table[2].split()[-1] == first["path"]


def test_filters_of_the_command(world, call):
    query = sorted((world / "asked").iterdir())[0]
    words = ["--camera", 2, "--from", 2, "--to", 2.5, "--json", "--top", 4]
    said = json.loads(call("search", world / "vectors", "--query", query, *words))
    expected = best(world, query, lambda name: "_c2s1_000002" in name)
    assert [row["path"] for row in said["answers"][0]["found"]] == expected[:4]
    nothing = call("search", world / "vectors", "--query", query, "--camera", "nowhere")
    assert nothing.splitlines()[1:] == ["  nothing"]


def test_a_folder_of_queries_one_of_them_bad_and_vectors_as_queries(world, call, tmp_path, caplog):
    shutil.copytree(world / "asked", tmp_path / "asked")
    (tmp_path / "asked" / "bad.jpg").write_text("no picture")
    said = json.loads(call("search", world / "vectors", "--query", tmp_path / "asked", "--json"))
    assert len(said["answers"]) == 16
    assert "passed over: bad.jpg: 10 bytes that are no picture" in caplog.text
    call("embed", tmp_path / "asked", "--model", world / "export", "--output", tmp_path / "q", "--side", "query")
    again = json.loads(call("search", world / "vectors", "--query", tmp_path / "q", "--json"))
    assert again == said


def test_page_of_pictures_loads_nothing_and_shows_what_was_found(world, call, tmp_path):
    query = sorted((world / "asked").iterdir())[3]
    call("search", world / "vectors", "--query", query, "--top", 3, "--page", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"<script|https?://|url\(|@import", page)
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/jpeg;base64,([^"]+)">', page)
    assert [name for name, _ in pictures] == [query.name, *best(world, query)[:3]]
    for name, data in pictures:
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        path = (world / "asked" if name == query.name else world / "people") / name
        expected = cv2.resize(cv2.imread(str(path)), (48, 96), interpolation=cv2.INTER_AREA)
        assert abs(shown.astype(int) - expected).mean() < 12
    assert "not known to this toolkit" in page


def test_page_of_crops_of_a_video_and_of_what_is_gone(copied, call, tmp_path):
    film = copied / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 5, (64, 64))
    people = sorted((copied / "people").glob("00*_c1s1_000001_00.jpg"))[:6]
    for path in people:
        writer.write(np.hstack([cv2.imread(str(path))] * 2))
    writer.release()
    (copied / "boxes.csv").write_text("frame,x,y,w,h,track\n" + "".join(f"{i},32,0,32,64,{i}\n" for i in range(6)))
    source = video.find(film, copied / "boxes.csv", camera="<b>door", first_frame=0)
    reid.load(copied / "export").embed_many(source, copied / "crops")
    words = ["search", copied / "crops", "--query", people[2], "--top", 2]
    found = json.loads(call(*words, "--json"))["answers"][0]["found"][0]
    assert (found["track"], found["frame"], found["box"], found["time"]) == ("2", 2, [32, 0, 32, 64], 0.4)
    call(*words, "--page", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img ") == 3
    assert "&lt;b&gt;door" in page
    assert "<b>" not in page
    data = re.findall(r"base64,([^\"]+)", page)[1]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    expected = cv2.resize(cv2.imread(str(people[2])), (48, 96), interpolation=cv2.INTER_AREA)
    assert abs(shown.astype(int) - expected).mean() < 15
    film.unlink()
    call(*words, "--page", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<p>missing</p>") == 2


def test_added_removed_and_compacted(copied, call, refused):
    vectors = copied / "vectors"
    (copied / "more").mkdir()
    for path in sorted((copied / "asked").iterdir())[:4]:
        shutil.copy(path, copied / "more" / f"new_{path.name}")
    call("embed", copied / "more", "--model", copied / "export", "--output", copied / "w", "--pattern", PATTERN)
    assert "4 rows of " in call("index", vectors, "--add", copied / "w")
    query = sorted((copied / "asked").iterdir())[0]
    words = ["search", vectors, "--query", query, "--json", "--top", 60]
    found = json.loads(call(*words))["answers"][0]["found"]
    assert found[0]["path"] == f"new_{query.name}"
    assert found[0]["score"] == pytest.approx(1, abs=1e-5)
    assert "hnsw over 55 rows" in call("index", vectors, "--kind", "hnsw")
    said = call("index", vectors, "--remove-person", found[0]["person"], "--remove-picture", "0000_c1s1_000000_00.jpg")
    assert "rows removed\nthe index still holds their codes" in said
    left = json.loads(call(*words))["answers"][0]["found"]
    gone = [row for row in found if row["person"] == found[0]["person"] or row["path"] == "0000_c1s1_000000_00.jpg"]
    assert len(gone) > 2
    assert [row["path"] for row in left] == [row["path"] for row in found if row not in gone]
    assert "nothing that was removed is left" in call("index", vectors, "--compact")
    for path in vectors.iterdir():
        content = path.read_bytes()
        assert not [r for r in gone if r["path"].encode() in content or r["path"].encode("utf-32-le") in content]
    assert "found no row of person '9999'" in refused("index", vectors, "--remove-person", "9999")
    assert "searched exactly, without an index" in call("index", vectors)


def test_calibrated_search_answers_unknown_and_the_card_carries_it(copied, call, refused, capsys, tmp_path):
    labelled = tmp_path / "labelled"
    call(
        "embed",
        copied / "people",
        "--model",
        copied / "export",
        "--output",
        labelled,
        "--pattern",
        r"(?P<person>\d+_c\d)",
    )
    words = ["calibrate", labelled, "--fmr", 0.05, 0.2, "--set", "tiny"]
    said = call(*words, "--into", copied / "vectors", copied / "export")
    assert said.count("false match rate") == 2
    assert said.count("written into") == 2
    rows = Store.open(copied / "vectors").header["calibration"]
    assert [row["fmr"] for row in rows] == [0.2, 0.05]
    assert json.loads((copied / "export" / "card.json").read_text())["calibration"] == rows
    assert "tiny: 19 persons" in (copied / "export" / "card.md").read_text()
    assert reid.load(copied / "export").identity()["calibration"] == rows
    query = sorted((copied / "asked").iterdir())[0]
    found = json.loads(call("search", copied / "vectors", "--query", query, "--json", "--fmr", 0.05))
    assert found["threshold"] == rows[1]["threshold"]
    assert all(row["score"] >= found["threshold"] - 1e-6 for row in found["answers"][0]["found"])
    stranger = tmp_path / "stranger.png"
    cv2.imwrite(str(stranger), np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8))
    top = json.loads(call("search", copied / "vectors", "--query", stranger, "--json"))["answers"][0]["found"][0][
        "score"
    ]
    store = Store.open(copied / "vectors")
    store.header["calibration"][1]["threshold"] = top + 0.001
    store.write_header()
    assert "unknown: nothing scores" in call("search", copied / "vectors", "--query", stranger, "--fmr", 0.05)
    assert "is calibrated for 0.2, 0.05" in refused("search", copied / "vectors", "--query", query, "--fmr", 0.01)


def test_mistakes_are_one_line(world, trained, refused, tmp_path):
    query = sorted((world / "asked").iterdir())[0]
    search = ["search", world / "vectors", "--query"]
    (tmp_path / "bad.jpg").write_text("no picture")
    assert "found no such file, expected a picture" in refused(*search, tmp_path / "gone.jpg")
    assert "that can be read; 10 bytes that are no picture" in refused(*search, tmp_path / "bad.jpg")
    assert "expected a folder written by reid embed" in refused("search", tmp_path, "--query", query)
    assert "found the time 'noon'" in refused(*search, query, "--from", "noon")
    assert "there are auto, flat" in refused("index", world / "vectors", "--kind", "annoy")
    other = shutil.copytree(world / "vectors", tmp_path / "other")
    store = Store.open(other)
    store.header["model"]["sha256"] = "c" * 64
    store.write_header()
    assert "found the model (sha256 of its checkpoint)" in refused("search", other, "--query", query)
    assert "found the model" in refused("index", other, "--add", world / "vectors")
    assert "found the model" in refused("calibrate", world / "vectors", "--into", other)
    assert "expected a folder written by reid export" in refused("calibrate", world / "vectors", "--into", tmp_path)
    store.header["side"] = "query"
    store.write_header()
    assert "found the query side" in refused("search", other, "--query", query)
    store.header["model"]["path"] = "/nowhere/model.pth"
    store.header["side"] = "gallery"
    store.write_header()
    assert "/nowhere/model.pth" in refused("search", other, "--query", query)
    assert "found the gallery side" in refused("search", other, "--query", other)
