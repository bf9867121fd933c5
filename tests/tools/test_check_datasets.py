"""What the check finds: whole sets whole, and by name whatever is missing, cut short, damaged or misnamed."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid import config
from reid.builder import check

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check_datasets.py"


def call(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def look(root: Path, *entries, decode: bool = True) -> list[check.Report]:
    return list(check.check(config.load(None, ["DATASETS.ROOT", str(root)]), entries, decode=decode))


@pytest.fixture
def pku(tmp_path):
    """PKU-Reid with two persons, every picture noise of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "pku_reid"
    for person in ("001", "002"):
        (folder / person).mkdir(parents=True)
        for camera in (1, 2):
            for side in range(1, 9):
                picture = rng.integers(0, 256, (64, 32, 3), np.uint8)
                assert cv2.imwrite(str(folder / person / f"{camera:02d}_{side:02d}.jpg"), picture)
    return folder


def test_whole_set_is_whole(pku):
    (report,) = look(pku.parent, "pku_reid")
    assert (report.state, report.problems, report.num_pictures) == ("whole", (), 32)
    text = str(report)
    assert text.startswith("pku_reid: whole\n  <pku_reid train 2 ids 32 imgs 2 cams, 16 queries in 16")
    assert "32 pictures below" in text
    assert "all decoded" in text
    assert "terms: CC BY-NC-SA 4.0" in text


def test_missing_picture_and_cut_picture_are_named(pku):
    (pku / "001" / "01_03.jpg").unlink()
    cut = pku / "002" / "02_08.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    done = call("pku_reid", "--root", pku.parent)
    assert done.returncode == 1, done.stderr
    assert "pku_reid: not whole" in done.stdout
    assert "found 15 pictures of person 001, expected 16" in done.stdout
    assert f"{cut}: a JPEG cut short (no end mark)" in done.stdout
    assert done.stdout.count("expected 16") == 1  # named as a problem, and not noted again
    assert done.stdout.endswith("1 not whole\n")


def test_damage_inside_is_found_by_decoding_only(pku):
    damaged = pku / "002" / "01_01.jpg"
    content = damaged.read_bytes()
    middle = len(content) // 2
    damaged.write_bytes(content[:middle] + content[-2:])  # the end mark is there
    grey = pku / "001" / "01_01.jpg"
    grey.write_bytes(b"\xff\xd8\xff" + bytes(500) + b"\xff\xd9")
    assert look(pku.parent, "pku_reid", decode=False)[0].state == "whole"
    (report,) = look(pku.parent, "pku_reid")
    assert report.state == "not whole"
    assert [line.partition(":")[0] for line in report.problems] == [str(grey), str(damaged)]
    assert "cannot be decoded" in report.problems[0]
    assert "decodes with damage (Corrupt JPEG data" in report.problems[1]


def test_png_with_a_colour_profile_that_libpng_dislikes_is_whole(tmp_path):
    from PIL import Image

    folder = tmp_path / "mine"
    folder.mkdir()
    # libpng warns of this profile and decodes the picture without loss.
    Image.new("RGB", (8, 16)).save(folder / "0001_c1.png", icc_profile=b"no profile at all" * 20)
    (report,) = look(tmp_path, {"NAME": "folder", "PATH": "mine"})
    assert report.state == "whole", report.problems


def test_misnamed_picture_is_named_with_the_form_expected(pku):
    (pku / "001" / "01_03.jpg").rename(pku / "001" / "01_09.jpg")
    (report,) = look(pku.parent, "pku_reid")
    assert report.state == "not whole"
    assert "01_09.jpg: found this name; expected" in report.problems[0]
    assert report.dataset is None


def test_missing_part_is_not_whole_and_an_absent_set_is_absent(tmp_path):
    (tmp_path / "Market-1501-v15.09.15" / "query").mkdir(parents=True)
    broken, absent = look(tmp_path, "market1501", "viper")
    assert broken.state == "not whole"
    assert "bounding_box_train: found no such folder" in broken.problems[0]
    assert absent.state == "absent"
    assert "found none of" in absent.problems[0]


def test_withdrawn_set_is_shown_with_its_notice(tmp_path):
    (report,) = look(tmp_path, "dukemtmc")
    assert report.card.status == "withdrawn"
    assert "25 April 2019" in str(report)


def test_without_names_absent_sets_are_listed_and_no_failure(pku):
    done = call("--quick", "--root", pku.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert "pku_reid: whole" in lines
    assert "market1501: absent; available: https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html" in lines
    assert lines[-1] == f"1 whole, {len(check.known()) - 1} absent"
    assert "folder" not in check.known()


def test_named_absent_set_fails(pku):
    done = call("pku_reid", "omniglot", "--root", pku.parent, "--quick")
    assert done.returncode == 1
    assert "omniglot: absent\n  omniglot: found none of" in done.stdout
    assert done.stdout.endswith("1 whole, 1 absent\n")


def test_options_are_given_as_in_a_config(tiny_world):
    done = call("{NAME: folder, PATH: source_a}", "--root", tiny_world, "--quick")
    assert done.returncode == 0, done.stderr
    assert "<source_a train 10 ids 80 imgs 2 cams, 16 queries in 50>; form market" in done.stdout


def test_sets_of_a_config_are_looked_at(pku, tmp_path):
    (tmp_path / "mine.yaml").write_text("DATASETS: {SOURCES: [omniglot], TARGETS: [pku_reid]}")
    done = call("--config", tmp_path / "mine.yaml", "--root", pku.parent, "--quick")
    assert done.returncode == 1
    assert done.stdout.endswith("1 whole, 1 absent\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pku_red"], "no pku_red; did you mean pku_reid?"),
        (["{NAME: pku_reid, CAMERA: 1}"], "datasets.pku_reid: no option CAMERA"),
        (["folder"], "option PATH is needed"),
        (["[pku_reid"], "error: "),
        (["--config", "nowhere.yaml"], "no file nowhere.yaml"),
    ],
)
def test_wrong_words_are_one_line_and_nothing_is_read(words, message):
    done = call(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_one_set_imports_neither_the_others_nor_torch(pku):
    code = (
        f"import sys; sys.path.insert(0, {str(TOOL.parents[1])!r})\n"
        "from reid import config\nfrom reid.builder import check\n"
        f"cfg = config.load(None, ['DATASETS.ROOT', {str(pku.parent)!r}])\n"
        "print([r.state for r in check.check(cfg, ['pku_reid'], decode=False)])\n"
        "print('torch' in sys.modules, sorted(m for m in sys.modules if m.startswith('reid.data.datasets.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['whole']", "False ['reid.data.datasets.pku_reid']"]


@pytest.mark.parametrize("tool", ["check_datasets.py", "summarize.py"])
def test_help_comes_at_once(tool):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, TOOL.with_name(tool), "--help"], capture_output=True, text=True, check=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.2
    assert done.stdout.startswith("usage:")


@pytest.mark.data
def test_real_sets_are_whole(real_data):
    done = call("pku_reid", "grocery_store", "omniglot", "--root", real_data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("3 whole\n")


@pytest.mark.data
def test_real_set_with_one_file_deleted_and_one_cut_names_both(real_data, tmp_path):
    shutil.copytree(real_data / "grocery_store_128", tmp_path / "grocery_store_128")
    one, other = sorted((tmp_path / "grocery_store_128" / "test").rglob("*.jpg"))[10:12]
    one.unlink()
    other.write_bytes(other.read_bytes()[: other.stat().st_size // 2])
    done = call("grocery_store", "--root", tmp_path)
    assert done.returncode == 1
    assert f"{one}: missing" in done.stdout
    assert f"{other}: a JPEG cut short" in done.stdout
    assert len([line for line in done.stdout.splitlines() if ".jpg: " in line]) == 2


def test_two_builds_of_faiss_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in ("faiss_cpu-1.9.0", "other-1.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "METADATA").write_text(f"Name: {name[:-6]}\nVersion: {name[-5:]}\n")
    assert check.builds_of_faiss() == ""
    (tmp_path / "faiss_gpu-1.9.1.dist-info").mkdir()
    (tmp_path / "faiss_gpu-1.9.1.dist-info" / "METADATA").write_text("Name: faiss-gpu\nVersion: 1.9.1\n")
    assert check.builds_of_faiss().startswith("found faiss-cpu 1.9.0 and faiss-gpu 1.9.1, which lie in one folder")
