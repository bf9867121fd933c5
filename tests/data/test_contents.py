"""Digests of files are kept between runs: each file is read once, until its size or its time changes."""

import hashlib
import json
import os
import zipfile

import pytest

from reid.data import contents, records


@pytest.fixture
def read(tmp_path, monkeypatch):
    """The paths that are read from here on; with a cache of its own."""
    monkeypatch.setenv("REID_CACHE", str(tmp_path / "cache"))
    paths, real = [], records.read
    monkeypatch.setattr(records, "read", lambda path: (paths.append(path), real(path))[1])
    return paths


def blake(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def test_each_file_is_read_once_until_it_changes(tmp_path, read, monkeypatch):
    one, two = tmp_path / "1.jpg", tmp_path / "2.jpg"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    paths = [str(one), str(two)]
    expected = {paths[0]: blake(b"one"), paths[1]: blake(b"two")}
    assert contents.digests(iter(paths)) == expected
    assert contents.digests(paths) == expected
    assert sorted(read) == paths
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["contents.json"]
    monkeypatch.chdir(tmp_path)
    assert contents.digests(["1.jpg"]) == {"1.jpg": blake(b"one")}, "by whatever path"
    assert len(read) == 2
    before = one.stat().st_mtime_ns
    one.write_bytes(b"uno")
    os.utime(one, ns=(before + 1, before + 1))
    two.write_bytes(b"longer")
    os.utime(two, ns=(before, before))
    assert contents.digests(paths) == {paths[0]: blake(b"uno"), paths[1]: blake(b"longer")}
    assert len(read) == 4


def test_members_of_an_archive_are_known_by_its_size_and_time(tmp_path, read):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.jpg", b"one")
    path = f"{tmp_path}/a.zip/x.jpg"
    for _ in range(2):
        assert contents.digests([path]) == {path: blake(b"one")}
    assert read == [path]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"/a": 3}', '{"/a": [1, 2]}', '{"/a": [1, "2", "x"]}', '{"/a": [1, 2, 3]}', "[" * 5000]
)
def test_a_malformed_file_is_passed_over_in_one_line_and_written_anew(tmp_path, read, caplog, text):
    (tmp_path / "cache").mkdir()
    file = tmp_path / "cache" / "contents.json"
    file.write_text(text)
    (tmp_path / "1.jpg").write_bytes(b"one")
    path = str(tmp_path / "1.jpg")
    assert contents.digests([path]) == {path: blake(b"one")}
    (line,) = caplog.messages
    assert line.startswith(f"{file} is malformed and was passed over: ")
    assert "\n" not in line
    assert list(json.loads(file.read_text())) == [path]


def test_where_nothing_can_be_kept_it_is_said_and_the_digests_are_right(tmp_path, read, monkeypatch, caplog):
    (tmp_path / "1.jpg").write_bytes(b"one")
    monkeypatch.setenv("REID_CACHE", str(tmp_path / "1.jpg"))
    path = str(tmp_path / "1.jpg")
    assert contents.digests([path]) == {path: blake(b"one")}
    assert "digests of files are not kept: " in caplog.messages[-1]


def test_nothing_asked_for_touches_no_disk(tmp_path, read):
    assert contents.digests([]) == {}
    assert not (tmp_path / "cache").exists()
