"""Every loss, sampler and method found in the folders is built from a config and driven three steps on the tiny world."""

import pytest
import torch

from reid import config, optim
from reid.builder import objects, registry
from reid.data import sources

WORLD = ["MODEL.BACKBONE.NAME", "tiny", "INPUT.SIZE", "[32, 16]", "INPUT.PAD", "2", "DATALOADER.BATCH_SIZE", "16"]
WORLD += ["DATALOADER.WORKERS", "0", "SOLVER.LR", "0.001"]
MEMORIES = {
    "none": [],
    "separate": ["MEMORY.SIZE", "24"],
    "joint": ["MEMORY.SIZE", "24", "MEMORY.MODE", "joint"],
    "momentum": ["MEMORY.SIZE", "24", "MEMORY.MOMENTUM", "0.9"],
}
CASES = [(["LOSSES", f"[{name}]"], "none", "off") for name in registry.names("losses")]
CASES += [
    (["LOSSES", f"[{name}]"], memory, amp)
    for name in registry.names("losses")
    if issubclass(registry.find("losses", name), objects.PairLoss)
    for memory in MEMORIES
    for amp in ("off", "bf16")
    if (memory, amp) != ("none", "off")
]
CASES += [
    (["SAMPLER", f"{{NAME: {name}}}", "LOSSES", "[softmax]"], "none", "off") for name in registry.names("data/samplers")
]
CASES += [
    (["METHOD", f"{{NAME: {name}}}", "LOSSES", "[softmax]" if name == "baseline" else "[]"], "none", "off")
    for name in registry.names("methods")
]


@pytest.fixture(scope="module")
def train_set(tiny_world):
    entries = "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}]"
    cfg = config.load(None, ["DATASETS.ROOT", str(tiny_world), "DATASETS.SOURCES", entries])
    return sources.join(objects.datasets(cfg, cfg.DATASETS.SOURCES))


@pytest.mark.parametrize(("overrides", "memory", "amp"), CASES, ids=lambda v: str(v).replace(" ", ""))
def test_three_steps_move_every_parameter_group(train_set, overrides, memory, amp):
    cfg = config.load(None, [*WORLD, *overrides, *MEMORIES[memory]])
    torch.manual_seed(0)
    method = objects.method(cfg, num_classes=train_set.num_classes, num_samples=len(train_set))
    sampler = objects.sampler(cfg, train_set)
    optimizer = objects.optimizer(cfg, method)
    optim.set_lr(optimizer, 1.0)
    start = {g["name"]: [p.clone() for p in g["params"]] for g in method.param_groups()}
    batches = objects.loader(cfg, train_set, sampler).epoch(0)
    for _, batch in zip(range(3), batches, strict=False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp == "bf16"):
            losses, fresh = method(batch)
        total = torch.stack(list(losses.values())).sum()
        assert total.isfinite(), losses
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        method.remember(fresh)
    for group in method.param_groups():
        moved = [not torch.equal(p, q) for p, q in zip(group["params"], start[group["name"]], strict=True)]
        assert any(moved), f"{group['name']} did not move"
    method.eval()
    with torch.no_grad():
        query, gallery = method.encode_query(batch.images), method.encode_gallery(batch.images)
    assert query.shape == gallery.shape
    assert query.dtype == gallery.dtype == torch.float32
