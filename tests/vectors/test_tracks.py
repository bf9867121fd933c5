"""Means of several pictures as queries, and tracks that are found once, against slow restatements; by the commands too."""

import functools
import json

import cv2
import numpy as np
import pytest
from stores import everything, make

from reid.vectors import answers, search, tracks
from reid.vectors.search import EVERYTHING, Hit
from reid.vectors.store import Shard


@pytest.fixture
def store(tmp_path):
    return make(tmp_path / "v")


def hit(track="", *, path="a.jpg", camera="c", frame=-1, root="/r") -> Hit:
    return Hit(search.Row(path, camera, track=track, frame=frame), root, 1)


VECTORS = np.random.default_rng(3).normal(size=(6, 8)).astype(np.float32)


def test_all_pictures_as_one_query_score_the_mean_of_their_scores(store):
    means, (asked,), counts = tracks.together(VECTORS, [hit(path=f"{i}.jpg") for i in range(6)], by_track=False)
    assert (asked.row.path, counts) == ("0.jpg", [6])
    found = search.exact(store, means, 10)
    vectors, columns = everything(store)
    scores = (vectors.astype(np.float64) @ VECTORS.T.astype(np.float64)).mean(axis=1)
    order = np.argsort(-scores)[:10]
    rows = search.hits(store, found.ids)
    assert [rows[i].row.path for i in found.ids[0].tolist()] == columns["path"][order].tolist()
    np.testing.assert_allclose(found.scores[0], scores[order], atol=1e-5)


def test_tracks_are_told_apart_by_camera_root_and_video():
    asked = [
        hit("1", path="a.jpg"),
        hit("1", path="b.jpg"),
        hit("1", camera="d"),
        hit("", path="lonely.jpg"),
        hit("", path="too.jpg"),
        hit("1", path="c.jpg"),
    ]
    means, firsts, counts = tracks.together(VECTORS, asked, by_track=True)
    assert counts == [3, 1, 1, 1]
    assert [each.row.path for each in firsts] == ["a.jpg", "a.jpg", "lonely.jpg", "too.jpg"]
    np.testing.assert_allclose(means[0], VECTORS[[0, 1, 5]].astype(np.float64).mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(means[1:], VECTORS[2:5])
    crops = [hit("1", path="x.avi", frame=3), hit("1", path="x.avi", frame=4), hit("1", path="y.avi", frame=3)]
    assert tracks.together(VECTORS[:3], crops, by_track=True)[2] == [2, 1]
    others = [hit("1"), hit("1", root="/s")]
    assert tracks.together(VECTORS[:2], others, by_track=True)[2] == [1, 1]
    with pytest.raises(ValueError, match="--tracks: found no query with a track"):
        tracks.together(VECTORS[:1], [hit()], by_track=True)


def slow_once(store, query, top) -> list[str]:
    """The best rows of the best tracks, by a walk down the sorted scores."""
    vectors, columns = everything(store)
    seen, paths = set(), []
    for i in np.argsort(-(vectors.astype(np.float64) @ query), kind="stable"):
        key = (columns["camera"][i], columns["track"][i]) if columns["track"][i] else i
        if key not in seen:
            seen.add(key)
            paths.append(columns["path"][i])
    return paths[:top]


@pytest.mark.parametrize("top", [1, 3, 40, 500])
def test_each_track_is_found_once_by_its_best_row(store, top):
    for number, shard in list(store.shards()):  # long tracks, and rows without one
        columns = dict(shard.columns)
        columns["track"] = np.array(["" if i % 7 == 0 else f"t{i % 3}" for i in range(len(shard.vectors))])
        store.write(number, Shard(np.array(shard.vectors), columns, shard.refused))
    found, rows = tracks.once(functools.partial(answers.find, store, keep=EVERYTHING), VECTORS, top)
    assert found.ids.shape == (6, top)
    for query, ids, scores in zip(VECTORS, found.ids.tolist(), found.scores, strict=True):
        paths = [rows[i].row.path for i in ids if i >= 0]
        assert paths == slow_once(store, query, top)
        np.testing.assert_array_equal(scores[len(paths) :], -np.inf)
        assert ids[len(paths) :] == [-1] * (top - len(paths))
        assert (np.diff(scores[: len(paths)]) <= 0).all()


def test_answers_say_what_their_scores_are(store):
    found = search.exact(store, VECTORS[:2], 2)
    rows = search.hits(store, found.ids)
    made = answers.of([hit(), hit()], found, rows, pictures=[5, 1], one_per_track=True)
    assert [each.rescoring for each in made] == [
        "mean of 5 pictures; the best row of each track",
        "the best row of each track",
    ]
    assert (
        answers.to_table(made, None).splitlines()[0] == "query a.jpg (mean of 5 pictures; the best row of each track)"
    )
    said = json.loads(answers.to_json(made, store.header, None))["answers"]
    assert [each["rescoring"] for each in said] == [each.rescoring for each in made]
    (plain,) = answers.of([hit()], search.exact(store, VECTORS[:1], 2), rows)
    assert "rescoring" not in json.loads(answers.to_json([plain], store.header, None))["answers"][0]


def test_commands_with_several_pictures_and_tracks(trained, tiny_world, call, refused, tmp_path, capsys):
    people, export = tiny_world / "target" / "bounding_box_test", trained / "export"
    # A person by a camera is a track here.
    pattern = r"(?P<track>(?P<person>-?\d+)_c\d)"
    call("embed", people, "--model", export, "--output", tmp_path / "v", "--pattern", pattern)
    (tmp_path / "asked").mkdir()
    for path in sorted((tiny_world / "target" / "query").glob("001[12]_c1*")):
        cv2.imwrite(str(tmp_path / "asked" / path.name), cv2.imread(str(path)))
    search_of = ["search", tmp_path / "v", "--query"]
    (answer,) = json.loads(call(*search_of, tmp_path / "asked", "--together", "--json"))["answers"]
    assert answer["rescoring"] == "mean of 2 pictures"
    table = call(*search_of, tmp_path / "v", "--tracks", "--one-per-track", "--top", 3)
    lines = [line for line in table.splitlines() if line.startswith("query")]
    assert sum("(mean of 3 pictures; the best row of each track)" in line for line in lines) == 16
    document = json.loads(call(*search_of, tmp_path / "v", "--tracks", "--one-per-track", "--top", 3, "--json"))
    for each in document["answers"]:
        assert each["found"][0]["track"] == each["query"]["track"]
        assert len({row["track"] for row in each["found"]}) == 3
    call(*search_of, tmp_path / "asked", "--together", "--page", tmp_path / "page.html")
    assert "<strong>mean of 2 pictures</strong>" in (tmp_path / "page.html").read_text()
    assert "found no query with a track" in refused(*search_of, tmp_path / "asked", "--tracks")
    for words in (["--together", "--tracks"], ["--together", "--fmr", 0.1]):
        with pytest.raises(SystemExit):
            call(*search_of, tmp_path / "asked", *words)
        assert "error: " in capsys.readouterr().err
