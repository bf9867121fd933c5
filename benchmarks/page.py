"""A search page of 200 ranked lists, ten pictures each: seconds, and megabytes of the file, of drawn people of 128x64 with noise.

At most 10 s and 8 MB. The pictures are in the disk's cache; each list has other ones, so that nothing is spared by repeats.
Measured on a busy machine: 0.8 CPU s, 4.4 MB.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from reid.vectors import page
from reid.vectors.answers import Answer
from reid.vectors.rows import Row
from reid.vectors.search import Hit

LISTS, DEPTH, SIZE = 200, 10, (128, 64)
SECONDS, MB = 10, 8


def picture(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: large patches and small ones, and a camera's noise: as hard to pack as a photograph."""
    coarse, fine = (rng.integers(0, 256, (8 * k, 4 * k, 3)).astype(np.float32) for k in (1, 4))
    mixed = sum(weight * cv2.resize(each, SIZE[::-1]) for weight, each in ((0.8, coarse), (0.2, fine)))
    return np.clip(mixed + rng.normal(0, 4, (*SIZE, 3)), 0, 255).astype(np.uint8)


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        hits = []
        for i in range(LISTS * (DEPTH + 1)):
            row = Row(
                f"camera_{i % 6}/{i:06d}.jpg", camera=str(i % 6), time=float(i), track=str(i // 20), person=str(i // 40)
            )
            path = Path(folder, row.path)
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), picture(rng))
            hits.append(Hit(row, folder, 1))
        lists = [hits[start : start + DEPTH + 1] for start in range(0, len(hits), DEPTH + 1)]
        answers = [Answer(query, [(0.9 - 0.05 * rank, hit) for rank, hit in enumerate(rest)]) for query, *rest in lists]
        header = {"model": {"about": "baseline on mobilenetv2_100"}, "terms": []}
        output = Path(folder, "search.html")
        begun = time.process_time()
        page.write(output, answers, header, None)  # type: ignore[arg-type]
        took, size = time.process_time() - begun, output.stat().st_size / 1e6
    print(f"{LISTS} lists of {DEPTH}: {took:.1f} CPU s (at most {SECONDS}), {size:.1f} MB (at most {MB})")
    if took > SECONDS or size > MB:
        sys.exit("too slow or too large")


if __name__ == "__main__":
    main()
