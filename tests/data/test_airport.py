import pytest
from small import plant, rows
from trees import grow

from reid.data.datasets import airport

SMALL = [("1/11001/a.jpg", 11001, 1), ("6/401999/b.jpg", 401999, 6)]


def listed(root, text: str):
    folder = grow(root / "AirportALERT", "cam1/11001/a.jpg")
    (folder / "filepath.txt").write_text(text)
    return folder


@pytest.mark.parametrize("place", ["AirportALERT", "airport/AirportALERT", "airport"])
def test_both_nestings_read_the_same_people_of_the_range_only(tmp_path, place):
    folder = plant(tmp_path, "airport", at=place)
    assert (folder / "filepath.txt").read_text().count("\n") == 3
    loaded = airport.load(tmp_path)
    assert rows(loaded.train, folder) == SMALL
    assert loaded.trials == []


def test_either_slash_any_order_blank_lines_and_a_byte_order_mark_are_read(tmp_path):
    folder = listed(tmp_path, "\ufeffcam1/11002/b.jpg\r\n\r\ncam1\\11001\\a.jpg\r\n")
    assert rows(airport.load(tmp_path).train, folder) == [
        ("cam1/11001/a.jpg", 11001, 1),
        ("cam1/11002/b.jpg", 11002, 1),
    ]


@pytest.mark.parametrize(
    "line", ["..\\11001\\a.jpg", "1\\..\\a.jpg", "C:\\1\\11001\\a.jpg", "/1/11001/a.jpg", "1\\11001"]
)
def test_line_of_another_form_is_named(tmp_path, line):
    listed(tmp_path, f"1\\11001\\a.jpg\n{line}\n")
    with pytest.raises(ValueError, match=r"filepath\.txt, line 2: found .*; expected <camera>"):
        airport.load(tmp_path)


def test_list_missing_or_without_anybody_in_the_range_is_said(tmp_path):
    folder = listed(tmp_path, "1\\11000\\a.jpg\n1\\402000\\b.jpg\n")
    with pytest.raises(FileNotFoundError, match="found no person 11001 to 401999"):
        airport.load(tmp_path)
    (folder / "filepath.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"airport: found no .*filepath\.txt; expected"):
        airport.load(tmp_path)
