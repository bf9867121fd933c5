"""Proof that a change is neutral: the same runs on a revision before and on this checkout, every figure compared.

    python benchmarks/equal_losses.py REVISION                   # bit for bit
    python benchmarks/equal_losses.py REVISION --processes 2     # two gloo processes, to 1e-6

Ten recipes train 30 steps each on coloured figures drawn here, and are scored. Every number of metrics.jsonl and
results.jsonl is compared, and the largest difference in either file is printed; names that only one side has are listed, and a
name that was changed is recognised by its values.
Nothing is timed. The pictures, the batches and the first weights come from seeds, so any difference is the change's own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
COMMON = """
DATASETS: {{ROOT: {data}, SOURCES: [{{NAME: folder, PATH: a}}, {{NAME: folder, PATH: b}}], TARGETS: [{{NAME: folder, PATH: c}}]}}
INPUT: {{SIZE: [32, 16]}}
DATALOADER: {{BATCH_SIZE: 16, WORKERS: 0}}
MODEL: {{BACKBONE: {{NAME: tiny}}, NECK: {neck}}}
SOLVER: {{EPOCHS: 3, LOG_STEPS: 1, LR: 0.001}}
TEST: {{EVERY: 1, RERANK: true}}
DEVICE: cpu
OUTPUT_DIR: {output}
"""
RECIPES = {
    "two-losses": "LOSSES: [softmax, triplet]",
    "euclidean": "LOSSES: [softmax, {NAME: triplet, MINING: all}]\nMETHOD: {NAME: baseline, METRIC: euclidean}",
    "xbm-separate": "LOSSES: [softmax, contrastive]\nMEMORY: {SIZE: 64, START_STEP: 4}",
    "xbm-joint": "LOSSES: [circle, multi_similarity]\nMEMORY: {SIZE: 64, MODE: joint}",
    "momentum": "LOSSES: [softmax, {NAME: triplet, FEATURE: after}]\nMEMORY: {SIZE: 64, MOMENTUM: 0.9}",
    "within-domain": "LOSSES: [lifted, npair]\nMETHOD: {NAME: baseline, NEGATIVES_WITHIN_DOMAIN: true}",
    "dimn": "SAMPLER: {NAME: episode}\nMETHOD: {NAME: dimn, BANK_INIT: class_means, NORMALIZE_MAPPED: true}",
    "ecn": "METHOD: {NAME: ecn, NEIGHBOURS_FROM: 1}",
    "hierarchical": "SAMPLER: {NAME: hard_class, NUM_INSTANCES: 4, NUM_ANCHORS: 2}\nLOSSES: [hierarchical_triplet]",
    "margin": "LOSSES: [margin, proxy_anchor]",  # without a neck
}
Figures = dict[tuple[int, str], list[float]]  # (row of a file, name) -> values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the commit to compare with, such as HEAD~1")
    parser.add_argument("--processes", type=int, default=1, help="of each run; above 1 figures may differ by 1e-6")
    parser.add_argument("--recipe", choices=RECIPES, action="append", help="only this one")
    args = parser.parse_args()
    names = args.recipe or list(RECIPES)
    unequal = False
    with tempfile.TemporaryDirectory() as scratch, _checkout(args.revision, Path(scratch) / "before") as before:
        data = Path(scratch) / "data"
        _draw(data)
        print(f"{'recipe':16}{'steps':>6}{'figures':>9}{'in losses':>12}{'in scores':>12}  names of one side only")
        for name in names:
            folders = [Path(scratch) / f"{name}-{side}" for side in ("before", "after")]
            with ThreadPoolExecutor(2) as pool:
                sides = [
                    pool.submit(_run, checkout, name, data, folder, args.processes)
                    for checkout, folder in zip((before, ROOT), folders, strict=True)
                ]
            unequal |= _compare(name, *(side.result() for side in sides), tolerance=1e-6 * (args.processes > 1))
    sys.exit("some figures differ" if unequal else 0)


@contextmanager
def _checkout(revision: str, path: Path) -> Iterator[Path]:
    """A checkout of `revision`, with kernels of its own where this one has some, so that both sides count by compiled code."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(path), revision], check=True)
    try:
        if any((ROOT / "reid").rglob("*.so")):
            build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
            subprocess.run(build, cwd=path, check=True, stderr=subprocess.DEVNULL)
        yield path
    finally:
        subprocess.run([*git, "remove", "--force", str(path)], check=True)


def _run(checkout: Path, name: str, data: Path, folder: Path, processes: int) -> tuple[Figures, Figures]:
    """Trains and scores one recipe by the code of `checkout`; the figures of its steps and of its scores."""
    config = folder.with_suffix(".yaml")
    config.write_text(COMMON.format(data=data, output=folder, neck=name != "margin") + RECIPES[name])
    words = [str(checkout / "tools" / "train_net.py"), "--config", str(config)]
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *words]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *words], cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if ended.returncode:
        sys.exit(f"{name} in {checkout}: {ended.stderr.decode()[-2000:]}")
    steps, scores = (_figures(folder / file) for file in ("metrics.jsonl", "results.jsonl"))
    return steps, scores


def _figures(path: Path) -> Figures:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        (number, name): [float(value)]
        for number, row in enumerate(rows)
        for name, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _compare(name: str, before: tuple[Figures, Figures], after: tuple[Figures, Figures], *, tolerance: float) -> bool:
    """Prints one line; True where something differs that is not a changed name."""
    largest, count, alone = [0.0, 0.0], 0, []
    for file, (one, other) in enumerate(zip(before, after, strict=True)):
        for key in one.keys() & other.keys():
            largest[file] = max(largest[file], abs(one[key][0] - other[key][0]))
            count += 1
        gone, come = (_columns(a, a.keys() - b.keys()) for a, b in ((one, other), (other, one)))
        for column, values in gone.items():
            (same, *_) = [new for new, others in come.items() if others == values] or [""]
            come.pop(same, None)
            alone.append(f"{column} -> {same or 'gone'}")
        alone += [f"new {column}" for column in come]
    lines = [[len({row for row, _ in figures}) for figures in side] for side in (before, after)]
    wrong = not max(largest) <= tolerance or not count or lines[0] != lines[1]
    steps, scores = largest
    print(
        f"{name:16}{lines[1][0]:>6}{count:>9}{steps:>12.3g}{scores:>12.3g}  {', '.join(sorted(alone))}{'  DIFFERS' * wrong}",
        flush=True,
    )
    return wrong


def _columns(figures: Figures, keys: set[tuple[int, str]]) -> dict[str, list[float]]:
    """The values of each name among `keys`, row by row."""
    columns: dict[str, list[float]] = {}
    for row, name in sorted(keys):
        columns.setdefault(name, []).extend(figures[row, name])
    return columns


def _draw(data: Path) -> None:
    """Three domains in the form of Market-1501: persons are a top and a bottom in two of eight hues, four views by two cameras."""
    rng = np.random.default_rng(7)
    for domain, cast in {"a": (1.0, 1.0, 1.0), "b": (1.15, 0.95, 0.75), "c": (0.8, 0.95, 1.15)}.items():
        for part in ("bounding_box_train", "query", "bounding_box_test"):
            (data / domain / part).mkdir(parents=True)
        for pid, outfit in enumerate(rng.permutation(64)[:18], start=1):
            for camera in (1, 2):
                for view in range(4):
                    part = "bounding_box_train" if pid <= 10 else "query" if view == 0 else "bounding_box_test"
                    image = np.full((64, 32, 3), 90.0)
                    x, y = rng.integers(-3, 4, 2)
                    for hue, (top, bottom) in zip(divmod(int(outfit), 8), ((12, 36), (37, 60)), strict=True):
                        colour = cv2.cvtColor(np.uint8([[[hue * 22, 220, 200]]]), cv2.COLOR_HSV2RGB)[0, 0]
                        image[top + y : bottom + y, 8 + x : 24 + x] = colour
                    image = image * cast * (1.0 if camera == 1 else 0.8) + rng.normal(0, 6, image.shape)
                    file = data / domain / part / f"{pid:04d}_c{camera}s1_{view:06d}_00.png"
                    cv2.imwrite(str(file), np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])


if __name__ == "__main__":
    main()
