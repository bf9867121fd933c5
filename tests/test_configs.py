"""Every recipe that is shipped says what it is, loads, and names only what exists, with options that are taken."""

from pathlib import Path

import pytest

from reid import config
from reid.builder import objects, registry, study

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "configs").rglob("*.yaml"))
RECIPES = [path for path in FILES if path.parent.name != "studies"]
STUDIES = [path for path in FILES if path.parent.name == "studies"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_recipe_loads_and_names_only_what_exists(path):
    assert path.read_text(encoding="utf-8").startswith("# ")
    cfg = config.load(path)
    entries = [*cfg.DATASETS.SOURCES, *cfg.DATASETS.TARGETS]
    assert entries
    blocks = [("data/datasets", entry) for entry in entries]
    blocks += [("losses", entry) for entry in cfg.LOSSES]
    blocks += [("data/augment", entry) for entry in cfg.INPUT.AUGMENT]
    blocks += [("data/samplers", cfg.SAMPLER), ("methods", cfg.METHOD)]
    frame = {"NAME", "WEIGHT", "FEATURE", "LR_FACTOR", "WEIGHT_DECAY"}  # WEIGHT to WEIGHT_DECAY: of any loss
    for folder, entry in blocks:
        block = registry.entry(entry, folder)
        known = registry.options(folder, block["NAME"])
        assert set(block) - frame <= set(known), f"{folder}: {dict(block)}"
        own = {key: value for key, value in block.items() if key in known}
        registry.arguments(own, known, f"{folder.rpartition('/')[2]}.{block['NAME']}")
    objects.losses(cfg, num_classes=2, dim=2)


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_study_names_recipes_and_keys_that_exist(path):
    jobs = study.read(path).jobs()
    assert len({job.folder for job in jobs}) == len(jobs) > 0


@pytest.mark.parametrize("path", [p for p in FILES if "protocols" not in p.parts], ids=lambda p: p.stem)
def test_recipe_gives_its_command(path):
    head = "".join(line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#"))
    assert "Command: " in head
    assert str(path.relative_to(ROOT)) in head or "make demo" in head
