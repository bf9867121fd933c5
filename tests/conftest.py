"""What all tests share: one thread, the tiny world, and the places of real data."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

# Torch reads these when it is first imported, which nothing above does.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

CHECKOUT = Path(__file__).resolve().parent.parent
# Colour cast (RGB factors) and background of each domain: colours alone carry over, raw pixels do not.
TINY_DOMAINS = {
    "source_a": ((1.0, 1.0, 1.0), 110),
    "source_b": ((1.15, 0.95, 0.75), 60),
    "target": ((0.8, 0.95, 1.15), 170),
}
TINY_TRAIN_IDS, TINY_TEST_IDS, TINY_VIEWS = 10, 8, 4


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> None:
    """Nothing is kept in the user's caches, by no program that a test starts."""
    os.environ["REID_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory) -> Path:
    """Three domains (source_a, source_b, target) in Market's form, to be read as `{NAME: folder, PATH: source_a}`.

    Each: train 10 ids x 2 cams x 4 = 80 pictures; test 8 other ids, 16 queries, a gallery of 48 and 2 distractors
    (pid 0), 1 junk picture (pid -1). 64x32, JPEG, one PNG a person. A person is a top and a bottom of two colours.
    """
    root = tmp_path_factory.mktemp("tiny_world")
    rng = np.random.default_rng(7)
    num_ids = TINY_TRAIN_IDS + TINY_TEST_IDS
    outfits = rng.permutation(64)[: len(TINY_DOMAINS) * num_ids].reshape(len(TINY_DOMAINS), num_ids)
    for (name, (cast, background)), looks in zip(TINY_DOMAINS.items(), outfits, strict=True):
        for part in ("bounding_box_train", "query", "bounding_box_test"):
            (root / name / part).mkdir(parents=True)
        for pid, outfit in enumerate(looks, start=1):
            for camid in (1, 2):
                for view in range(TINY_VIEWS):
                    test_part = "query" if view == 0 else "bounding_box_test"
                    part = "bounding_box_train" if pid <= TINY_TRAIN_IDS else test_part
                    file = f"{pid:04d}_c{camid}s1_{view:06d}_00.{'png' if view == 3 and camid == 2 else 'jpg'}"
                    _write(root / name / part / file, _pedestrian(outfit, camid, cast, background, rng))
        for file in ("0000_c1s1_000000_00.jpg", "0000_c2s1_000000_00.jpg", "-1_c1s1_000000_00.jpg"):
            _write(root / name / "bounding_box_test" / file, _pedestrian(outfits.max(), 1, (0.2, 0.2, 0.2), 0, rng))
    return root


def _pedestrian(outfit: int, camid: int, cast, background: int, rng: np.random.Generator) -> np.ndarray:
    """(64, 32, 3) uint8 RGB: a top and a bottom in two of eight hues, a little moved, seen in the domain's light."""
    image = np.full((64, 32, 3), background, np.uint8)
    x, y = rng.integers(-3, 4, 2).tolist()
    for hue, (top, bottom) in zip(divmod(int(outfit), 8), ((12, 36), (37, 60)), strict=True):
        hsv = np.uint8([[[hue * 22, 220, 200]]])
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
        cv2.rectangle(image, (8 + x, top + y), (23 + x, bottom + y), colour, -1)
    cv2.circle(image, (16 + x, 7 + y), 4, (200, 160, 130), -1)
    light = (1.0 if camid == 1 else 0.8) * np.array(cast)
    noise = rng.normal(0, 6, image.shape)
    return np.clip(image * light + noise, 0, 255).astype(np.uint8)


def _write(path: Path, image: np.ndarray) -> None:
    assert cv2.imwrite(str(path), image[..., ::-1]), path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real pictures for tests marked `data`: $REID_TEST_DATA, else ../shared/data."""
    return _existing("REID_TEST_DATA", CHECKOUT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def imagenet_weights() -> Path:
    """MobileNetV2's ImageNet weights for tests marked `data`: $REID_TEST_WEIGHTS, else below ../shared/weights."""
    return _existing("REID_TEST_WEIGHTS", CHECKOUT.parent / "shared" / "weights" / "mobilenetv2_100_imagenet.pth")


def _existing(variable: str, default: Path) -> Path:
    path = Path(os.environ.get(variable, default))
    if not path.exists():
        pytest.skip(f"{path} is absent; set {variable} to where it is")
    return path
