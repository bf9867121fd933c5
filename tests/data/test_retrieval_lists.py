"""What sets read from lists share: rows, pictures that are there, classes that are apart."""

import re

import pytest
from list_trees import write
from trees import grow

from reid.data.datasets import _lists
from reid.data.records import Sample

FORM, SHOWN = r"(\d+) (\S+)", "<class> <path>"


def test_rows_are_the_groups_of_every_line_but_the_header(tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes("\ufeffclass path\r\n1 a.jpg\r\n\r\n 2 b/c.jpg \r\n".encode())
    assert _lists.rows(file, FORM, SHOWN, header=["class path"]) == [("1", "a.jpg"), ("2", "b/c.jpg")]


@pytest.mark.parametrize(
    ("text", "header", "message"),
    [
        ("1 a.jpg\nx b.jpg\n", [], "list.txt, line 2: found 'x b.jpg'; expected `<class> <path>`"),
        ("class path\n1 a.jpg\n", [], "list.txt, line 1: found 'class path'; expected `<class> <path>`"),
        ("1 a.jpg\n2 b.jpg\n", ["class path"], "line 1: found '1 a.jpg'; expected a header"),
        ("", [], "list.txt: found no picture; expected lines `<class> <path>`"),
        ("class path\n", ["class path"], "list.txt: found no picture"),
        ("1 \xff.jpg 3\n", [], "line 1: found '1 \ufffd.jpg 3'"),
    ],
)
def test_a_list_of_another_form_is_refused_in_one_line(tmp_path, text, header, message):
    (tmp_path / "list.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        _lists.rows(tmp_path / "list.txt", FORM, SHOWN, header=header)
    assert "\n" not in str(refusal.value)


def test_a_missing_list_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"list\.txt: found no such list; expected lines `<class> <path>`"):
        _lists.rows(tmp_path / "list.txt", FORM, SHOWN)


def test_samples_are_found_below_the_root_and_sorted(tmp_path):
    grow(tmp_path, "b/1.jpg", "a/1.jpg", "0.jpg")
    named = [("b\\1.jpg", 7), ("a/1.jpg", 8), ("0.jpg", 9)]
    assert _lists.samples(tmp_path / "list.txt", tmp_path, named) == [
        Sample(f"{tmp_path}/0.jpg", 9, None),
        Sample(f"{tmp_path}/a/1.jpg", 8, None),
        Sample(f"{tmp_path}/b/1.jpg", 7, None),
    ]


def test_missing_pictures_are_counted_and_the_first_is_named(tmp_path):
    grow(tmp_path, "a/1.jpg")
    with pytest.raises(FileNotFoundError, match=r"found 2 of its 3 pictures missing in .*, the first a/2\.jpg"):
        _lists.pictures(tmp_path / "list.txt", tmp_path, ["a/1.jpg", "a/2.jpg", "c/1.jpg"])


@pytest.mark.parametrize("name", ["../x.jpg", "/x.jpg", "a/../../x.jpg", "C:\\x.jpg", ".."])
def test_names_stay_below_the_root(tmp_path, name):
    with pytest.raises(ValueError, match="expected one that stays below"):
        _lists.pictures(tmp_path / "list.txt", tmp_path, [name])


def test_classes_are_apart_and_lonely_ones_are_told():
    samples = [Sample(f"/{i}.jpg", pid, None) for i, pid in enumerate((1, 1, 2, 3, 3))]
    _lists.apart("set", samples[:3], samples[3:])
    with pytest.raises(ValueError, match="set: found 1 classes both trained on and scored, the first 3; expected none"):
        _lists.apart("set", samples[:4], samples[4:])
    assert _lists.lonely("set", samples) == ("set: 1 of 3 test classes have one image and no match, the first 2",)
    assert _lists.lonely("set", samples[3:]) == ()
    assert _lists.count(samples[:3], samples[3:]) == {
        "train classes": 2,
        "train images": 3,
        "test classes": 1,
        "test images": 2,
        "images": 5,
    }


def test_a_list_is_written_as_the_sets_have_it(tmp_path):
    write(tmp_path / "deep" / "list.txt", ["1 a", "2 b"])
    assert _lists.rows(tmp_path / "deep" / "list.txt", FORM, SHOWN) == [("1", "a"), ("2", "b")]
