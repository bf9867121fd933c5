from __future__ import annotations

import pytest
from person_trees import counts, plant, rows

from reid.data import records
from reid.data.datasets import cuhk_sysu

FORMS = {
    "cuhksysu/cropped_images": ("p11422_s16929_1.jpg", "p2_s7_1.jpg"),
    "CUHK-SYSU/cropped_image": ("p11422_n01_s16929_hard0.png", "p00002_n02_s00007_hard1.png"),
    "CUHK-SYSU/bounding_box_train": ("11422_c0_000001.jpg", "0002_c1_000002.jpg"),
    "cuhksysu4reid/combine": ("11422_s16929_0000001_0.jpg", "00002_s7_0000002_1.jpg"),
    "cuhk_sysu/cuhksysu4reid/combine": ("11422_s16929_0000001_0.jpg", "00002_s7_0000002_1.jpg"),
}


@pytest.mark.parametrize("form", FORMS)
def test_cuhk_sysu_reads_each_form_with_one_camera_and_nothing_to_score(tmp_path, form):
    one, two = FORMS[form]
    root = plant(tmp_path / form, [one, two])
    plant(root, [f"._{one}"])
    loaded = cuhk_sysu.load(tmp_path, check_counts=False)
    assert rows(loaded.train, root) == sorted([(one, 11_422, 0), (two, 2, 0)])
    assert loaded.trials == []
    assert loaded.variant == {"form": root.name}


@pytest.mark.parametrize("form", FORMS)
def test_cuhk_sysu_names_a_picture_of_another_form(tmp_path, form):
    plant(tmp_path / form, [FORMS[form][0], "s16929.jpg"])
    with pytest.raises(ValueError, match=r"s16929\.jpg: found this name"):
        cuhk_sysu.load(tmp_path, check_counts=False)


def test_cuhk_sysu_is_not_read_from_the_parts_of_its_fourth_form(tmp_path):
    plant(tmp_path / "cuhksysu4reid" / "train", ["00001_s00001_0000001_0.jpg"])
    with pytest.raises(FileNotFoundError, match=r"found none of .*cuhksysu4reid/combine"):
        cuhk_sysu.load(tmp_path)


def test_cuhk_sysu_at_full_size_has_the_published_counts(tmp_path):
    names = [f"p{1 + i % 11_934}_s{i}_1.jpg" for i in range(34_574)]
    root = plant(tmp_path / "cuhksysu" / "cropped_images", names)
    loaded = cuhk_sysu.load(tmp_path)
    assert counts(loaded.train) == (11_934, 34_574)
    assert loaded.notes == ()
    records.images(root)[0].unlink()
    with pytest.raises(ValueError, match="cuhk_sysu: found 34,573 train images, expected 34,574"):
        cuhk_sysu.load(tmp_path)
