"""Pictures and people that stand where they should not: noted with their number and the first names, or refused."""

import dataclasses
import os
from pathlib import Path

import pytest
from trees import picture

from reid.data import looks, overlap
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card("a title", "terms", "a page")


@pytest.fixture
def sample(tmp_path):
    """sample(name, pid, camid, value): a picture of that grey value below the root, written where it is not there yet."""

    def make(name, pid=1, camid=None, value=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(
                picture(".png", value=100 + len(list(tmp_path.rglob("*.png"))) if value is None else value)
            )
        return Sample(str(path), pid, camid)

    return make


def dataset(root, name="mine", train=(), trials=()):
    return Dataset(name, root, list(train), list(trials), CARD, notes=("known before",))


def notes(sources, targets):
    """The new notes of both, without the set's name."""
    copies = looks.copies(looks.look(overlap.paths([*sources, *targets])))
    both = overlap.noted(sources, targets, copies)
    for side in both:
        assert all(made.notes[0] == "known before" for made in side)
    return [[line.partition(": ")[2] for made in side for line in made.notes[1:]] for side in both]


def test_sets_in_order_get_no_note(tmp_path, sample):
    made = dataset(tmp_path, train=[sample("t/1.png"), sample("t/2.png")])
    searched = dataset(
        tmp_path, "other", trials=[Trial([sample("q/1.png", 7)], [sample("g/1.png", 7), sample("g/2.png", 0)])]
    )
    assert notes([made], [searched]) == [[], []]
    assert overlap.noted([made], [searched], {})[0][0] is made


def test_copies_in_a_list_are_counted_and_those_of_two_people_too(tmp_path, sample):
    train = [sample("a.png", 1, value=9), sample("b.png", 1, value=9), sample("c.png", 2, value=9), sample("d.png", 2)]
    lines = ["2 of 4 training pictures are copies of others, the first b.png = a.png"]
    lines.append("1 of these copies are of another person, the first c.png = a.png")
    assert notes([dataset(tmp_path, train=train)], [])[0] == lines
    trials = [Trial(train), Trial(train[:2])]
    assert notes([], [dataset(tmp_path, trials=trials)])[1][0].startswith("2 of 4 pictures of a search are copies")


def test_a_picture_on_both_sides_is_told_unless_it_is_junk_there(tmp_path, sample):
    query = [sample("q/1.png", 1, 1, value=5), sample("q/2.png", 2, 1, value=6), sample("q/3.png", 3, 1)]
    gallery = [sample("g/1.png", 1, 1, value=5), sample("g/2.png", 2, 2, value=6), sample("g/3.png", 3, 2)]
    found = notes([], [dataset(tmp_path, trials=[Trial(query, gallery)])])[1]
    assert "1 of 3 queries are in the gallery too, the first q/2.png = g/2.png" in found
    same = [Trial([query[2]._replace(camid=None)], [query[2]._replace(camid=None)])]
    assert notes([], [dataset(tmp_path, trials=same)])[1] == ["1 of 1 queries are in the gallery too, the first 3.png"]


def test_pictures_that_are_trained_on_and_scored_are_told_by_path_and_by_content(tmp_path, sample):
    source = dataset(tmp_path / "one", "one", train=[sample("one/1.png", 1), sample("one/2.png", 2, value=200)])
    copy, other = sample("two/9.png", 5, value=200), sample("two/8.png", 6)
    target = dataset(tmp_path, "two", trials=[Trial([source.train[0], copy], [other])])
    assert notes([source], [target])[1] == ["2 of 3 pictures are trained on, the first 1.png"]
    apart = dataset(tmp_path, "two", trials=[Trial([copy], [other])])
    assert notes([source], [apart])[1] == ["1 of 2 pictures are trained on, the first two/9.png = one/2.png"]
    again = dataset(tmp_path / "two", "two", train=[copy, other])
    assert notes([source, again], [])[0] == [
        "1 of 2 pictures are also those of a source before it, the first two/9.png = one/2.png"
    ]


def test_people_are_compared_within_one_set_alone(tmp_path, sample):
    train = [sample("t/1.png", 3), sample("t/2.png", 4)]
    trial = Trial([sample("q/1.png", 4), sample("q/2.png", 5)], [sample("g/1.png", 3)])
    line = "1 of 2 people that are searched for are trained on, the first 4"
    whole = dataset(tmp_path, train=train, trials=[trial])
    assert notes([whole], [whole])[1] == [line]
    assert notes([dataset(tmp_path / "else", train=train)], [dataclasses.replace(whole, root=tmp_path)])[1] == []
    assert overlap.known_people(whole, [4, 9]).notes == ("known before", f"mine: {line}")
    assert overlap.known_people(whole, [9]) is whole


def test_only_files_that_end_alike_are_read_whole_and_each_once(tmp_path, monkeypatch):
    names = [f"{tmp_path}/{name}" for name in ("a", "b", "c", "d", "e")]
    long = picture(".png", (40, 60)) + bytes(5000)
    for name, data in zip(names, (long, long, b"x" + long[1:], long[:-1], picture(".png")), strict=True):
        Path(name).write_bytes(data)
    read = []
    whole = looks.records.read
    monkeypatch.setattr(looks.records, "read", lambda path: (read.append(path), whole(path))[1])
    seen = {path: looks.Look("", look.mark) for path, look in looks.look(names).items()}
    read.clear()
    for _ in range(2):
        assert looks.copies(seen) == {names[0]: names[0], names[1]: names[0]}
    assert sorted(read) == names[:3]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([Sample("a", 1, 1), Sample("a", 1, 1)], "a: found 2 times in one list of mine; expected each picture once"),
        ([Sample("a", -1, 1)], "a: found the person -1 and the camera 1; expected numbers of 0 to"),
        ([Sample("a", 2**63, 1)], "found the person 9223372036854775808"),
        ([Sample("a", 1, -1)], "found the person 1 and the camera -1"),
        ([Sample("a", 1, 2**64)], "and the camera 18446744073709551616"),
        ([Sample("a", float("nan"), 1)], "found the person nan"),
    ],
)
def test_what_no_list_can_mean_is_refused_wherever_it_stands(tmp_path, samples, message):
    for lists in ({"train": samples}, {"trials": [Trial(samples)]}, {"trials": [Trial([Sample("b", 1, 1)], samples)]}):
        with pytest.raises(ValueError, match=message) as error:
            dataset(tmp_path, **lists)
        assert "\n" not in str(error.value)


def test_one_picture_of_two_people_is_refused_over_all_lists(tmp_path):
    one, two = Sample("a", 1, 1), Sample("a", 2, 1)
    for lists in ({"train": [one], "trials": [Trial([two])]}, {"trials": [Trial([one], [two])]}):
        with pytest.raises(ValueError, match="a: found as the persons 1 and 2; expected one"):
            dataset(tmp_path, **lists)
    assert dataset(tmp_path, train=[one], trials=[Trial([one]), Trial([one])]).train == [one]


def test_a_shared_picture_is_noted_for_each_set_that_has_it(tmp_path, sample):
    first = dataset(tmp_path / "one", "one", train=[sample("one/1.png", value=3)])
    second = dataset(tmp_path / "two", "two", trials=[Trial([sample("two/1.png", value=3), sample("two/2.png")])])
    copies = looks.copies(looks.look(overlap.paths([first, second])))
    made = overlap.shared(second, [first, second], copies)
    assert made.notes[1] == f"two: 1 of 2 pictures are in one too, the first two{os.sep}1.png = one{os.sep}1.png"
