import pytest
from small import plant, rows
from trees import grow

from reid.data.datasets import threedpes


@pytest.mark.parametrize("place", ["3DPeS", "threedpes/3DPeS", "3dpes/3DPeS", "3dpes", "threedpes"])
def test_folders_of_people_read_the_same_in_both_nestings(tmp_path, place):
    folder = plant(tmp_path, "threedpes", at=place)
    loaded = threedpes.load(tmp_path)
    assert rows(loaded.train, folder) == [
        ("1/1_2_FRAME_34_RGB.bmp", 1, None),
        ("12/12_3_FRAME_4_RGB.bmp", 12, None),
    ]
    assert loaded.trials == []


def test_flat_form_reads_the_same_people_whatever_lies_beside_it(tmp_path):
    grow(tmp_path / "3DPeS", "RGB/1_2_FRAME_34_RGB.bmp", "RGB/12_1B_3_FRAME_4_RGB.bmp", "MASK/1_2_FRAME_34_MASK.bmp")
    assert rows(threedpes.load(tmp_path).train, tmp_path / "3DPeS") == [
        ("RGB/12_1B_3_FRAME_4_RGB.bmp", 12, None),
        ("RGB/1_2_FRAME_34_RGB.bmp", 1, None),
    ]


@pytest.mark.parametrize("name", ["masks2/1.bmp", "RGB/portrait.bmp"])
def test_folder_or_name_of_another_form_is_named(tmp_path, name):
    grow(tmp_path / "3DPeS", "1/1.bmp", name)
    with pytest.raises(ValueError, match=r"(masks2|portrait\.bmp): found this (folder|name); expected"):
        threedpes.load(tmp_path)
