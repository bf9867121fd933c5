from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from trees import grow, picture

from reid.data import looks, records
from reid.data.records import Card, Dataset, Sample, Trial

CARD = Card("A set", "any", "https://example.org/set")


def find(root, *candidates):
    return records.find(root, candidates, dataset="a_set", card=CARD, tree="train/ and test/")


def test_listing_sets_imports_neither_torch_nor_opencv():
    code = (
        "import sys, reid.data.records, reid.data.datasets.folder; print({'torch', 'cv2', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_find_searches_roots_in_order_and_both_nestings(tmp_path):
    (tmp_path / "one").mkdir()
    nested = tmp_path / "two" / "set" / "Set-v1"
    nested.mkdir(parents=True)
    roots = os.pathsep.join([str(tmp_path / "one"), "", str(tmp_path / "two")])
    assert find(roots, "Set-v1", "set/Set-v1") == nested
    (tmp_path / "one" / "Set-v1").mkdir()
    assert find(roots, "Set-v1", "set/Set-v1") == tmp_path / "one" / "Set-v1"


def test_find_gives_absolute_paths_and_understands_stars(tmp_path, monkeypatch):
    (tmp_path / "set_dev").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find(".", "set*") == tmp_path / "set_dev"


def test_find_says_what_was_tried_expected_and_where_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        find(tmp_path, "A", "b/A")
    for part in (str(tmp_path / "A"), str(tmp_path / "b/A"), "train/ and test/", CARD.page):
        assert part in str(error.value)


def test_images_are_sorted_and_hidden_files_left_out(tmp_path):
    grow(tmp_path, "b.jpg", "a.JPG", "._a.jpg", ".c.png", "Thumbs.db", "c.Png")
    assert [path.name for path in records.images(tmp_path)] == ["a.JPG", "b.jpg", "c.Png"]
    with pytest.raises(FileNotFoundError, match="absent"):
        records.images(tmp_path / "absent")


def test_folders_are_sorted_and_hidden_ones_left_out(tmp_path):
    grow(tmp_path, "b/x.jpg", "a/x.jpg", ".git/x.jpg", "__MACOSX/x.jpg", "file.jpg")
    assert [path.name for path in records.folders(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:\\x.jpg", "a\\..\\..\\x.jpg", ""])
def test_paths_from_lists_must_stay_below_their_root(tmp_path, path):
    with pytest.raises(ValueError, match="stays below"):
        records.below(tmp_path, path)


def test_paths_below_the_root_are_taken_with_either_slash(tmp_path):
    assert records.below(tmp_path, "a\\b..c.jpg") == tmp_path / "a" / "b..c.jpg"


def test_name_that_is_not_utf8_is_named(tmp_path):
    try:
        (tmp_path / "caf\udce9.jpg").touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system keeps no such name")
    with pytest.raises(ValueError, match=r"found the name b'caf\\xe9\.jpg', which is not UTF-8"):
        records.images(tmp_path)


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/"), data)
    return path


def test_members_of_an_archive_are_sorted_pictures(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name in ("x/b.png", "x/a.png", "__MACOSX/x/._a.png", "x/.c.png", "x/readme.txt"):
            file.writestr(name, b"data")
    assert records.members(tmp_path / "x.zip") == ["x/a.png", "x/b.png"]


def test_members_that_leave_the_archive_or_are_links_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as file:
        file.writestr("../a.png", b"data")
    with pytest.raises(ValueError, match="stays below"):
        records.members(tmp_path / "out.zip")
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="link"):
        records.members(tmp_path / "link.zip")


def test_read_gives_files_and_members_and_names_what_is_missing(tmp_path):
    archive(tmp_path / "x.zip", a__b=b"member")
    (tmp_path / "odd.zip").mkdir()
    (tmp_path / "odd.zip" / "file").write_bytes(b"a folder may end in .zip")
    assert records.read(f"{tmp_path}/x.zip/a/b") == b"member"
    assert records.read(f"{tmp_path}/odd.zip/file") == b"a folder may end in .zip"
    with pytest.raises(FileNotFoundError, match="no such member"):
        records.read(f"{tmp_path}/x.zip/absent")
    (tmp_path / "cut.zip").write_bytes((tmp_path / "x.zip").read_bytes()[:-30])
    with pytest.raises(ValueError, match="damaged archive"):
        records.read(f"{tmp_path}/cut.zip/a/b")


def test_one_archive_is_read_rightly_by_threads_and_by_forked_processes(tmp_path):
    contents = {f"f{i}": bytes([i]) * 20_000 for i in range(40)}
    archive(tmp_path / "x.zip", **contents)
    paths = [f"{tmp_path}/x.zip/{name}" for name in contents] * 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(records.read, paths)) == list(contents.values()) * 4
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(records.read, paths, chunksize=1) == list(contents.values()) * 4


def test_broken_pictures_are_named_each_with_its_reason(tmp_path):
    jpeg, png, bmp = (picture(suffix, (64, 32)) for suffix in (".jpg", ".png", ".bmp"))
    files = {
        "good.jpg": jpeg,
        "good.png": png,
        "good.bmp": bmp,
        "good.tif": picture(".tiff"),
        "good.webp": picture(".webp"),
        "good.pgm": b"P5 2 1 255 ab",
        **{f"good{suffix}": picture(suffix) for suffix in (".avif", ".jpe", ".dib", ".pnm")},
        "good.gif": b"GIF89a\x01\0\x01\0",
        "good.jp2": b"\0\0\0\x0cjP  \r\n",
        "good.jfif": jpeg,
        "trailed.jpg": jpeg + b"\0\xff" * 2000,
        "trailed.png": png + bytes(3000),
        "cut_after_a_thumbnail.jpg": jpeg[:2]
        + b"\xff\xe1"
        + (len(jpeg) + 2).to_bytes(2, "big")
        + jpeg
        + jpeg[2:-9]
        + b"\0" * 3000,
        "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0",
        "film.jpg": b"\0\0\0\x18ftypisom\0\0\0\0",
        "padded.jpg": jpeg + b"\0" * 50,
        "cut.jpg": jpeg[:-9],
        "cut.png": png[:-14],
        "cut.bmp": bmp[:-1],
        "empty.jpg": b"",
        "page.jpg": b"<html>not found</html>",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("good.png", png)
        file.writestr("empty.png", b"")
    names = [*files, "absent.jpg", "x.zip/good.png", "x.zip/empty.png", "x.zip/absent.png"]
    lines = looks.broken([Sample(f"{tmp_path}/{name}", 1, None) for name in names * 2])
    found = {line.removeprefix(f"{tmp_path}/").split(": ", 1)[0]: line.split(": ", 1)[1] for line in lines}
    assert len(lines) == len(found), "a picture named twice is reported once"
    assert {name: reason.split(" (")[0] for name, reason in found.items()} == {
        "absent.jpg": "missing",
        "cut.bmp": "a BMP cut short",
        "cut_after_a_thumbnail.jpg": "a JPEG cut short",
        "film.jpg": "not a picture but a film",
        "photo.heic": "HEIC is not read: convert it to JPEG, as `heif-convert x.heic x.jpg` does",
        "cut.jpg": "a JPEG cut short",
        "cut.png": "a PNG cut short",
        "empty.jpg": "zero bytes",
        "page.jpg": "not a picture",
        "x.zip/absent.png": "missing",
        "x.zip/empty.png": "zero bytes",
    }


def test_checking_ten_thousand_pictures_takes_about_a_tenth_of_a_second(tmp_path):
    grow(tmp_path, *(f"{i}.jpg" for i in range(10_000)))
    samples = [Sample(f"{tmp_path}/{i}.jpg", 1, None) for i in range(10_000)]
    start = time.process_time()
    assert looks.broken(samples) == []
    assert time.process_time() - start < 1.0  # 0.11 s measured; ten times that is something else


def test_digest_does_not_depend_on_where_the_set_lies_but_on_all_it_holds():
    def digest(root, *rows):
        return records.digest([Sample(f"{root}/{path}", pid, camid) for path, pid, camid in rows], root)

    one = digest("/a/b", ("x.jpg", 1, 2), ("y.jpg", 2, None))
    assert one == digest("/c", ("x.jpg", 1, 2), ("y.jpg", 2, None))
    assert len({one, digest("/a", ("x.jpg", 1, 3), ("y.jpg", 2, None)), digest("/a", ("x.jpg", 1, 2))}) == 3
    with pytest.raises(ValueError, match="below"):
        records.digest([Sample("/a/bc/x.jpg", 1, 2)], "/a/b")


def test_counts_that_are_off_stop_the_run_or_become_a_note():
    found, expected = {"train images": 12_935, "query images": 2}, {"train images": 12_936, "query images": 2}
    with pytest.raises(ValueError, match=r"set1: found 12,935 train images, expected 12,936.*CHECK_COUNTS"):
        records.check_counts("set1", found, expected, True)
    assert records.check_counts("set1", found, expected, False) == ("set1: found 12,935 train images, expected 12,936",)
    assert records.check_counts("set1", expected, expected, True) == ()


def test_a_withdrawn_set_is_refused_with_its_dated_notice_unless_allowed():
    gone = Card("Gone", "none", "none", status="withdrawn", notice="Taken down on 2 June 2019.")
    with pytest.raises(ValueError, match=r"gone: .*2 June 2019.*ALLOW_WITHDRAWN"):
        records.refuse_withdrawn("gone", gone, False)
    assert "2 June 2019" in records.refuse_withdrawn("gone", gone, True)
    assert records.refuse_withdrawn("a_set", CARD, False) == ""


def test_a_data_set_describes_itself_in_one_line(tmp_path):
    train = [Sample("a", 1, 1), Sample("b", 1, 2), Sample("c", 4, None)]
    both = Dataset("s", tmp_path, train, [Trial(train, train[:2]), Trial(train)], CARD)
    assert repr(both) == "<s train 2 ids 3 imgs 2 cams, 3 queries in 2, 3 queries in the rest>"
    assert repr(Dataset("s", tmp_path, [], [], CARD)) == "<s>"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")
def test_named_pipe_among_pictures_is_named_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "lists.csv")
    code = """
import sys
from reid.data import looks, records
from reid.data.datasets import folder
from reid.data.records import Sample
print(*looks.broken(Sample(str(path), 1, None) for path in records.images(sys.argv[1])))
try:
    folder.load(sys.argv[1], path=sys.argv[1])
except (ValueError, OSError) as error:
    print("refused")
"""
    said = subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True, timeout=60)
    assert said == f"{tmp_path / 'a.jpg'}: not a file but a pipe or a device\nrefused\n"
