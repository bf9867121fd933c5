"""The configs of the protocols: each names what exists, trains on fake trees of its sets, and has its published size."""

import re
import shutil
import time
from pathlib import Path

import pytest
from person_trees import listed, market_names, msmt17_names, plant
from small import partitions

from reid import config
from reid.builder import check, objects, registry, runs
from reid.data import sources

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem: path for path in sorted((ROOT / "configs" / "protocols").glob("*.yaml"))}
# name -> (identities, images) to train on
SIZES = {
    "classic": (18_530, 121_765),
    "p1": (16_718, 85_354),
    "p2_market": (13_742, 74_560),
    "p2_msmt17": (13_452, 54_875),
    "p2_cuhk03": (13_726, 80_131),
    "p3_market": (17_502, 175_112),
    "p3_msmt17": (14_902, 78_090),
    "p3_cuhk03": (17_536, 190_434),
    "market_to_msmt17": (751, 12_936),
    "market_to_cuhk03": (751, 12_936),
    "msmt17_to_market": (1_041, 32_621),
    "msmt17_to_cuhk03": (1_041, 32_621),
    "cuhk03_to_market": (767, 7_365),
    "cuhk03_to_msmt17": (767, 7_365),
}
# recipe of configs/dimn -> its protocol
DIMN = {
    "mobilenetv2_p1": "p1",
    "mobilenetv2_p1_published": "p1",
    "mobilenetv2_classic": "classic",
    "resnet50_p1": "p1",
    **{f"resnet50_{name}": name for name in SIZES if name[:2] in ("p2", "p3")},
}
# set -> (identities of train, query, gallery; images of each; cameras), all three below one folder
MARKET_LIKE = {
    "Market-1501-v15.09.15": ((751, 750, 750), (12_936, 3_368, 13_115), 6),
    "DukeMTMC-reID": ((702, 702, 1_110), (16_522, 2_228, 17_661), 8),
    "cuhk03-np/detected": ((767, 700, 700), (7_365, 1_400, 5_332), 2),
}
CUHK02 = {"P1": 971, "P2": 306, "P3": 107, "P4": 193, "P5": 239}
MSMT17 = {"train": (1_041, 32_621), "query": (3_060, 11_659), "gallery": (3_060, 82_161)}
CUHK_SYSU = (11_934, 34_574)


def targets(root: Path) -> None:
    """The four small targets at full size."""
    plant(root / "viper/VIPeR", (f"cam_{camera}/{person:03d}_0.bmp" for camera in "ab" for person in range(632)))
    people = {"a": range(1, 386), "b": range(1, 750)}
    plant(
        root / "prid_2011/single_shot",
        (f"cam_{c}/person_{n:04d}.png" for c, numbers in people.items() for n in numbers),
    )
    pairs = [f"{part}/{n:04d}_{cam}_1.jpeg" for part, cam in (("probe", 1), ("gallery", 2)) for n in range(1, 251)]
    partitions(plant(root / "grid/underground_reid", pairs + [f"gallery/0000_3_{n}.jpeg" for n in range(775)]))
    plant(root / "ilids/i-LIDS_Pedestrian/Persons", (f"{1 + i % 119:04d}{1 + i // 119:03d}.jpg" for i in range(476)))


def people(root: Path, share: float) -> None:
    """The large sets: at full size, or `share` of their people and pictures."""

    def of(number: int) -> int:
        return max(2, round(number * share))

    for place, (ids, images, cams) in MARKET_LIKE.items():
        for part, first, num_ids, total in zip(
            ("bounding_box_train", "query", "bounding_box_test"), (1, 2_001, 2_001), ids, images, strict=True
        ):
            plant(root / place, market_names(part, first, of(num_ids), max(of(total), 2 * of(num_ids)), cams))
    if share == 1:
        junk = [f"-1_c1s1_{i:06d}_00.jpg" for i in range(3_819)] + [f"0000_c1s1_{i:06d}_00.jpg" for i in range(2_798)]
        plant(root / "Market-1501-v15.09.15" / "bounding_box_test", junk)
    for pair, ids in CUHK02.items():
        names = [f"cam{cam}/{n:03d}_{i}.png" for cam in (1, 2) for n in range(1, of(ids) + 1) for i in (1, 2)]
        plant(root / "cuhk02" / pair, names)
    ids, total = map(of, CUHK_SYSU)
    plant(root / "cuhksysu/cropped_images", (f"p{1 + i % ids}_s{i}_1.jpg" for i in range(total)))
    train, query, gallery = ((of(ids), 4 * of(ids) if share < 1 else total) for ids, total in MSMT17.values())
    place, names = root / "MSMT17_V2", msmt17_names(*train)
    listed(place, "mask_train_v2", {"train": names[:-2], "val": names[-2:]})
    listed(place, "mask_test_v2", {"query": msmt17_names(*query), "gallery": msmt17_names(*gallery, start=query[1])})


@pytest.fixture(scope="module")
def small_world(tmp_path_factory):
    root = tmp_path_factory.mktemp("small_world")
    targets(root)
    people(root, 0.004)
    return root


@pytest.fixture(scope="module")
def full_world(tmp_path_factory):
    root = tmp_path_factory.mktemp("full_world")
    targets(root)
    people(root, 1)
    yield root
    shutil.rmtree(root)  # 330,000 names


def load(name: str, *overrides: str):
    return config.load(FILES[name], ["DATASETS.ALLOW_WITHDRAWN", str(name == "classic"), *overrides])


def test_every_protocol_of_the_page_has_its_file():
    assert set(FILES) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_config_holds_data_only_and_names_what_exists(name):
    cfg = config.load(FILES[name])
    assert all(key.startswith("DATASETS.") for key in config.differences(cfg, config.load()))
    for entry in (*cfg.DATASETS.SOURCES, *cfg.DATASETS.TARGETS):
        assert callable(registry.dataset(cfg, entry, check_counts=True))
    assert not cfg.DATASETS.ALLOW_WITHDRAWN


@pytest.mark.parametrize("name", SIZES)
def test_config_says_its_size_in_its_head(name):
    ids, images = SIZES[name]
    assert f"# Trained on: {ids:,} identities, {images:,} images." in FILES[name].read_text(encoding="utf-8")


def test_page_of_the_protocols_has_the_same_sizes():
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([\d,]+) \| ([\d,]+) \|$", page, re.MULTILINE)
    assert {name: (int(ids.replace(",", "")), int(images.replace(",", ""))) for name, ids, images in rows} == SIZES


@pytest.mark.parametrize("name", SIZES)
def test_config_trains_three_steps_as_the_base_of_another(name, small_world, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"""
_BASE_: {FILES[name]}
OUTPUT_DIR: {tmp_path / "run"}
DATASETS: {{ROOT: {small_world}, CHECK_COUNTS: false, ALLOW_WITHDRAWN: {name == "classic"}}}
DEVICE: cpu
MODEL: {{BACKBONE: {{NAME: tiny}}}}
INPUT: {{SIZE: [16, 8], AUGMENT: [flip]}}
DATALOADER: {{BATCH_SIZE: 4, WORKERS: 0}}
SAMPLER: {{NAME: identity, NUM_INSTANCES: 2}}
LOSSES: [softmax, triplet]
SOLVER: {{MAX_STEPS: 3}}
"""
    )
    rows = runs.train(config.load(recipe))
    cfg = config.load(FILES[name])
    expected = [entry if isinstance(entry, str) else entry["NAME"] for entry in cfg.DATASETS.TARGETS]
    assert [row["dataset"] for row in rows if row["kind"] == "dataset"] == expected
    assert {row["num_trials"] for row in rows if row["kind"] == "dataset"} == {10 if len(expected) == 4 else 1}
    assert rows[-1]["step"] == 3
    # The trees are too small, and the run says so wherever it is quoted.
    notes = " ".join(rows[-1]["notes"])
    assert "expected" in notes
    assert ("dukemtmc is withdrawn: Taken down by Duke University on 25 April 2019" in notes) == (name == "classic")
    named = [line for line in rows[-1]["protocol"] if line.startswith("source ")]
    assert len(named) == len(cfg.DATASETS.SOURCES)


def test_classic_is_refused_without_leave(small_world):
    cfg = config.load(FILES["classic"], ["DATASETS.ROOT", str(small_world), "DATASETS.CHECK_COUNTS", "false"])
    with pytest.raises(ValueError, match=r"dukemtmc: withdrawn by its makers.*25 April 2019.*ALLOW_WITHDRAWN"):
        objects.datasets(cfg, cfg.DATASETS.SOURCES)


@pytest.mark.parametrize(("recipe", "protocol"), DIMN.items())
def test_dimn_recipe_trains_on_the_sets_of_its_protocol(recipe, protocol, small_world, tmp_path):
    path, classic = ROOT / "configs" / "dimn" / f"{recipe}.yaml", protocol == "classic"
    small = {
        "OUTPUT_DIR": tmp_path / "run",
        "DATASETS.ROOT": small_world,
        "DATASETS.CHECK_COUNTS": False,
        "MODEL.BACKBONE": "{NAME: tiny, WEIGHTS: none}",
        "INPUT.SIZE": [16, 8],
        "INPUT.AUGMENT.1.PAD": 0,
        "DATALOADER.BATCH_SIZE": 16,
        "DATALOADER.WORKERS": 0,
        "SOLVER.MAX_STEPS": 3,
        "SOLVER.WARMUP_STEPS": 0,
        "DEVICE": "cpu",
    }
    words = [str(word) for pair in small.items() for word in pair]
    if classic:
        with pytest.raises(ValueError, match=r"dukemtmc: withdrawn by its makers.*ALLOW_WITHDRAWN"):
            runs.train(config.load(path, words))
        words += ["DATASETS.ALLOW_WITHDRAWN", "True"]
    cfg, sets = config.load(path, words), config.load(FILES[protocol]).DATASETS
    assert (cfg.DATASETS.SOURCES, cfg.DATASETS.TARGETS) == (sets.SOURCES, sets.TARGETS)
    assert runs.train(cfg)[-1]["step"] == 3
    log = (tmp_path / "run" / "log.txt").read_text()
    ids, images = SIZES[protocol]
    assert f"{ids:,} identities, {images:,} images" in path.read_text(encoding="utf-8")
    assert "<dimn " in log


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_protocol_has_its_published_size(name, full_world):
    cfg = load(name, "DATASETS.ROOT", str(full_world))
    train_set = sources.join(objects.datasets(cfg, cfg.DATASETS.SOURCES))
    assert (train_set.num_classes, len(train_set)) == SIZES[name]
    assert all(not dataset.train or dataset.trials for dataset in objects.datasets(cfg, cfg.DATASETS.TARGETS))


@pytest.mark.slow
def test_msmt17_at_full_size_is_listed_and_looked_at_in_three_seconds(full_world):
    cfg = load("market_to_msmt17", "DATASETS.ROOT", str(full_world))
    start = time.process_time()
    (report,) = check.check(cfg, cfg.DATASETS.TARGETS, decode=False)
    assert time.process_time() - start < 3
    assert (report.state, report.num_pictures) == ("whole", 126_441)
