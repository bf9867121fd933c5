"""The sheet of ranked results: order by score, junk left out, right in green and wrong in red."""

import cv2
import numpy as np
import pytest
import torch

from reid.data.records import Sample, Trial
from reid.evaluation import ranked
from reid.similarity import Inner


@pytest.fixture
def samples(tmp_path):
    def make(shade: int, pid: int, camid: int | None) -> Sample:
        path = str(tmp_path / f"{shade}.png")
        cv2.imwrite(path, np.full((16, 8, 3), shade, np.uint8))
        return Sample(path, pid, camid)

    return make


def cells(path, rows: int, columns: int) -> list[list[tuple[int, tuple[int, ...]]]]:
    """(shade in the middle, RGB of the border) of each cell."""
    image = cv2.imread(str(path))[..., ::-1]
    height, width = image.shape[0] // rows, image.shape[1] // columns
    return [
        [
            (int(image[r * height + 20, c * width + 8, 0]), tuple(int(v) for v in image[r * height + 1, c * width + 1]))
            for c in range(columns)
        ]
        for r in range(rows)
    ]


def test_junk_is_left_out_and_the_border_says_right_or_wrong(samples, tmp_path):
    query = [samples(10, 1, 1)]
    gallery = [samples(20, 1, 1), samples(30, 2, 2), samples(40, 1, 2)]  # junk, wrong, right
    scores = torch.tensor([[0.9], [0.8], [0.7]])
    found = Inner(torch.ones(1, 1), scores)
    ranked.sheet(Trial(query, gallery), found, tmp_path / "x.png", num_queries=1, depth=2, size=(32, 16))
    (row,) = cells(tmp_path / "x.png", 1, 3)
    assert row == [(10, ranked.GREY), (30, ranked.RED), (40, ranked.GREEN)]


def test_a_set_that_searches_itself_leaves_out_the_query(samples, tmp_path):
    query = [samples(10, 1, None), samples(20, 1, None), samples(30, 2, None)]
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    ranked.sheet(Trial(query), Inner(vectors, vectors), tmp_path / "x.png", num_queries=3, depth=1, size=(32, 16))
    rows = cells(tmp_path / "x.png", 3, 2)
    assert [row[1] for row in rows] == [(20, ranked.GREEN), (10, ranked.GREEN), (20, ranked.RED)]
