"""The recipes of the retrieval benchmarks: each says whose it is and whose figures it names, and trains on a fake tree."""

import json
import re
from pathlib import Path

import list_trees
import pytest
from person_trees import plant

from reid import config
from reid.builder import objects, registry, runs

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs" / "retrieval"
PAPERS = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in sorted(FOLDER.glob("*/*.yaml"))}
FAIR = {name: PAPERS.pop(name) for name in ("fair/grocery_store", "fair/omniglot")}
KS = {
    "cars196": (1, 2, 4, 8),
    "cub200": (1, 2, 4, 8),
    "inshop": (1, 10, 20, 30, 40, 50),
    "sop": (1, 10, 100, 1000),
    "vehicleid": (1, 5),
}
CLASSES, PICTURES = 6, 4  # of each half of a fake tree
# What is too large for it, or for embeddings of 16 numbers. All its pictures are one, which k-means cannot divide.
SMALLER = {
    "bier": ["METHOD.SLICES", "[2, 4, 10]"],
    "divide_and_conquer": ["METHOD.NUM_LEARNERS", "2", "METHOD.CLUSTERS", "random"],
}


@pytest.fixture(scope="module")
def small_world(tmp_path_factory) -> Path:
    """Every benchmark with six classes of four pictures to train on and as many to score."""
    root = tmp_path_factory.mktemp("small_world")
    birds = [f"{pid:03d}.Bird/{k}.jpg" for pid in (*range(1, 7), *range(101, 107)) for k in range(PICTURES)]
    plant(list_trees.cub200(root / "CUB_200_2011", birds) / "images", birds)
    cars = [pid for pid in (*range(1, 7), *range(99, 105)) for _ in range(PICTURES)]
    place = list_trees.cars_mat(root / "cars196", cars)
    plant(place, (f"car_ims/{i:06d}.jpg" for i in range(1, len(cars) + 1)))
    things = [(pid, f"chair_final/{pid}_{k}.jpg") for pid in range(1, 13) for k in range(PICTURES)]
    place = list_trees.sop(root / "Stanford_Online_Products", {"train": things[:24], "test": things[24:]})
    plant(place, (path for _, path in things))
    clothes = [
        (f"img/MEN/Shirts/id_{pid:08d}/{k}.jpg", pid, "train" if pid <= CLASSES else ("query", "gallery")[k % 2])
        for pid in range(1, 13)
        for k in range(PICTURES)
    ]
    list_trees.inshop(root / "inshop" / "Eval" / "list_eval_partition.txt", clothes)
    plant(root / "inshop", (path for path, _, _ in clothes))
    numbers = [(i, 1 + i // PICTURES) for i in range(12 * PICTURES)]
    place = list_trees.vehicleid(root / "VehicleID_V1.0", {"train_list": numbers[:24], "test_list_2400": numbers[24:]})
    plant(place, (f"image/{i:07d}.jpg" for i, _ in numbers))
    return root


def lines(path: Path) -> str:
    return "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))


def test_retrieval_recipes_cover_the_benchmarks_and_methods():
    assert {name.partition("/")[2] for name in PAPERS} == set(KS)
    methods = {name.partition("/")[0] for name in PAPERS}
    single = {"circle", "margin", "multi_similarity", "proxy_anchor", "soft_triple", "xbm"}
    assert methods == {*single, "bier", "divide_and_conquer"}


@pytest.mark.parametrize("name", PAPERS)
def test_retrieval_recipe_names_no_figure_without_saying_how_it_is_known(name):
    head = lines(PAPERS[name])
    assert head.count("Not run here") == 1
    # A mark follows every figure, and nothing is said to be a result.
    figures = re.findall(r"R@1 (?:about )?[\d.]+ (\(\w+)?", head)
    assert set(figures) <= {"(verified", "(recalled"}
    assert figures or "not known here" in head
    assert "Result" not in head
    assert "Paper" in head


@pytest.mark.parametrize("name", PAPERS)
def test_retrieval_recipe_trains_three_steps(name, small_world, tmp_path):
    overrides = ["OUTPUT_DIR", str(tmp_path / "run"), "DEVICE", "cpu", "DATALOADER.WORKERS", "0"]
    overrides += ["DATASETS.ROOT", str(small_world), "DATASETS.CHECK_COUNTS", "False"]
    overrides += ["MODEL.BACKBONE", "{NAME: tiny, WEIGHTS: none}", "MODEL.DIM", "16", "INPUT.SIZE", "[16, 16]"]
    overrides += ["DATALOADER.BATCH_SIZE", "8", "SOLVER.MAX_STEPS", "3", "SOLVER.WARMUP_STEPS", "1"]
    overrides += SMALLER.get(name.partition("/")[0], [])
    named = config.load(PAPERS[name])
    if "NUM_INSTANCES" in named.SAMPLER:
        overrides += ["SAMPLER.NUM_INSTANCES", "2"]
    if named.MEMORY.SIZE:
        overrides += ["MEMORY.SIZE", "20", "MEMORY.START_STEP", "1"]
    cfg = config.load(PAPERS[name], overrides)
    rows = runs.train(cfg)
    (benchmark,) = {entry if isinstance(entry, str) else entry["NAME"] for entry in cfg.DATASETS.TARGETS}
    assert benchmark == name.partition("/")[2]
    assert [row["dataset"] for row in rows if row["kind"] == "dataset"] == [benchmark]
    assert rows[-1]["step"] == 3
    assert {f"R@{k}" for k in KS[benchmark]} <= rows[-1].keys()
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    loss = cfg.LOSSES[0]["NAME"]
    named = {loss, *([f"{loss}_memory"] if cfg.MEMORY.SIZE else [])}
    if cfg.METHOD.NAME == "bier":
        named = {f"{loss}_{m}" for m in (1, 2, 3)}  # a loss a learner
    assert {key for key in last if key.startswith(loss)} == named
    assert last["grad_norm"] > 0


def test_retrieval_fair_bases_differ_in_nothing_a_method_could_gain_by():
    one, other = (config.load(path) for path in FAIR.values())
    free = {"DATASETS.SOURCES", "DATASETS.TARGETS", "INPUT", "MODEL.BACKBONE", "MODEL.NORM", "MODEL.FREEZE_BN"}
    free |= {"SOLVER.EPOCHS", "SOLVER.LR", "SOLVER.MAX_STEPS", "SOLVER.WARMUP_STEPS"}
    changed = config.differences(one, other)
    assert not [key for key in changed if not any(key == k or key.startswith(f"{k}.") for k in free)]
    for cfg in (one, other):
        assert cfg.TEST.SELECT == "source_val"
        # All but the loss and its rate is hashed into the protocol, so a table with anything else changed is refused.
        frozen = registry.frozen(cfg)
        assert {"MODEL.DIM", "INPUT.SIZE", "SOLVER.MAX_STEPS"} <= frozen.keys()
        assert {"MODEL", "INPUT", "SAMPLER", "METHOD", "MEMORY"} <= set(frozen["frozen"].split(", "))
        assert not {key for key in frozen if key.startswith(("LOSSES", "SOLVER.LR"))}
        assert cfg.DATASETS.SOURCES == cfg.DATASETS.TARGETS
        assert not cfg.MEMORY.SIZE


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", FAIR)
def test_retrieval_fair_base_trains_three_steps(name, real_data, tmp_path):
    overrides = ["OUTPUT_DIR", str(tmp_path / "run"), "DEVICE", "cpu", "DATALOADER.WORKERS", "0"]
    overrides += ["DATASETS.ROOT", str(real_data), "INPUT.SIZE", "[16, 16]", "MODEL.BACKBONE.NAME", "tiny"]
    cfg = config.load(FAIR[name], [*overrides, "SOLVER.MAX_STEPS", "3", "SOLVER.WARMUP_STEPS", "1"])
    assert objects.datasets(cfg, cfg.DATASETS.TARGETS)[0].metric == "retrieval"
    assert runs.train(cfg)[-1]["step"] == 3
