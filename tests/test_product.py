"""Every loss, sampler, method and loss recipe found in the folders is built from a config and driven three steps."""

import inspect
from pathlib import Path

import pytest
import torch

from reid import config, optim, trainer
from reid.builder import objects, registry
from reid.data import sources
from reid.data.loader import image_batches
from reid.methods import Place
from reid.step import Step, Taken, phases

WORLD = [
    "MODEL.BACKBONE.NAME",
    "tiny",
    "INPUT.SIZE",
    "[32, 16]",
    "INPUT.AUGMENT.1.PAD",
    "2",
    "DATALOADER.BATCH_SIZE",
    "16",
]
WORLD += ["DATALOADER.WORKERS", "0", "SOLVER.LR", "0.001", "MODEL.BACKBONE.WEIGHTS", "none"]
WORLD += ["DATASETS.SOURCES", "[{NAME: folder, PATH: source_a}, {NAME: folder, PATH: source_b}]"]
MEMORIES = {
    "none": [],
    "separate": ["MEMORY.SIZE", "24"],
    "joint": ["MEMORY.SIZE", "24", "MEMORY.MODE", "joint"],
    "momentum": ["MEMORY.SIZE", "24", "MEMORY.MOMENTUM", "0.9"],
}
AMP = ("off", "bf16")
# Methods whose learners take pair losses only: some of them, each with a memory and without.
LEARNERS = {
    "bier": ("[binomial]", "[contrastive]", "[binomial, contrastive]"),
    "divide_and_conquer": ("[margin]", "[triplet]", "[multi_similarity]"),
}
LEARNERS_SIZE = {
    "bier": ["METHOD.SLICES", "[4, 12]", "MODEL.DIM", "16"],
    "divide_and_conquer": ["METHOD.NUM_LEARNERS", "2", "METHOD.REDO", "1", "MODEL.DIM", "16"],
}
METHODS_NEED = {"metabin": ["MODEL.NORM", "[bin]"], "bau": ["INPUT.VIEWS.strong", "[flip]"]}
SAMPLERS_SIZE = {"base_and_meta": ["DATALOADER.BATCH_SIZE", "24"]}
CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RECIPES = [(path, []) for path in sorted((CONFIGS / "losses").rglob("*.yaml"))]
# The methods of domain generalization: of each the recipe that its others go by, with the smallest batch of its shares.
DG = {"bau": ["16"], "m3l": ["16"], "metabin": ["24", "METHOD.START_STEP", "0"], "mldg": ["16"]}
RECIPES += [
    (CONFIGS / name / f"{recipe}.yaml", ["DATALOADER.BATCH_SIZE", *more])
    for name, more in DG.items()
    for recipe in ("resnet50_p1", "walkers")
]


def for_method(name):
    """The sampler it needs, with the losses it takes, if any: a class loss, or of learners pair losses and a memory."""
    method = registry.find("methods", name)
    teacher = ", TEACHER: a_file" if "taught_by" in inspect.signature(method).parameters else ""
    base = ["METHOD", f"{{NAME: {name}{teacher}}}", *for_sampler(method.sampler or "identity")]
    if name in LEARNERS:
        kinds = [["LOSSES", losses, *MEMORIES[memory]] for losses in LEARNERS[name] for memory in ("none", "joint")]
        return [base + LEARNERS_SIZE[name] + kind for kind in kinds]
    return [
        [
            *base,
            *METHODS_NEED.get(name, []),
            "LOSSES",
            "[softmax]" if "losses" in inspect.signature(method).parameters else "[]",
        ]
    ]


def for_sampler(name):
    return ["SAMPLER", f"{{NAME: {name}}}", *SAMPLERS_SIZE.get(name, [])]


CASES = [
    pytest.param(None, ["LOSSES", f"[{name}]", *MEMORIES[memory]], amp, id=f"{name}-{memory}-{amp}")
    for name in registry.names("losses")
    for memory in MEMORIES
    for amp in AMP
    if memory == "none" or issubclass(registry.find("losses", name), objects.PairLoss)
]
CASES += [
    pytest.param(None, [*for_sampler(name), "LOSSES", "[softmax]"], "off", id=name)
    for name in registry.names("data/samplers")
    if registry.find("data/samplers", name).needs
    <= registry.find("methods", "baseline").gives  # others: by their method
]
CASES += [
    pytest.param(None, overrides, "off", id=f"{name}{number or ''}")
    for name in registry.names("methods")
    for number, overrides in enumerate(for_method(name))
]
CASES += [pytest.param(path, size, "off", id=f"configs-{path.parent.name}-{path.stem}") for path, size in RECIPES]


@pytest.fixture(scope="module")
def train_set(tiny_world):
    cfg = config.load(None, [*WORLD, "DATASETS.ROOT", str(tiny_world)])
    return sources.join(objects.datasets(cfg, cfg.DATASETS.SOURCES))


@pytest.fixture(scope="module")
def pictures(train_set):
    """(N, 3, 32, 16): the whole training set as it is scored."""
    transform = objects.test_transform(config.load(None, WORLD))
    return torch.cat(list(image_batches(train_set.samples, transform, batch_size=64, workers=0)))


@pytest.mark.parametrize(("recipe", "overrides", "amp"), CASES)
def test_three_steps_move_every_parameter_group(train_set, pictures, recipe, overrides, amp):
    cfg = config.load(recipe, [*WORLD, *overrides])
    torch.manual_seed(0)
    size = {"num_classes": train_set.num_classes, "num_samples": len(train_set)}
    teacher = objects.method(config.load(None, [*WORLD, "LOSSES", "[softmax]"]), **size)
    method = objects.method(cfg, **size, classes=train_set.classes, domains=train_set.domains, teacher=teacher)
    sampler = objects.sampler(cfg, train_set)
    objects.check_pairs(cfg, sampler, train_set)
    optimizer = objects.optimizer(cfg, method)
    optim.set_lr(optimizer, 1.0)
    start = {g["name"]: [p.clone() for p in g["params"]] for g in method.param_groups()}
    method.place = Place(0, range(2), len(sampler))
    # While training its forwards have pictures, domains and cameras: some norms and tokens go by them.
    method.encoder.register_forward_pre_hook(told_of_domains_and_cameras)
    plan = begin(method, sampler, pictures)
    batches = objects.loader(cfg, train_set, sampler).epoch(1, plan=plan)
    step = Step(method, optimizer)
    for _, batch in zip(range(3), batches, strict=False):
        taken = Taken()
        for phase in phases(method, batch, trainer.AMP[amp]):
            total = taken.add(phase)
            assert total.isfinite(), phase.losses
            assert step(total, phase.learns).isfinite()
        assert all(isinstance(value, float) for value in method.monitor(taken.keep).values())
        method.remember(taken.keep)
    for group in method.param_groups():
        moved = [not torch.equal(p, q) for p, q in zip(group["params"], start[group["name"]], strict=True)]
        assert any(moved), f"{group['name']} did not move"
    method.eval()
    with torch.no_grad():
        query, gallery = method.encode_query(batch.images), method.encode_gallery(batch.images)
    assert query.shape == gallery.shape
    assert query.dtype == gallery.dtype == torch.float32


def told_of_domains_and_cameras(encoder, given):
    assert not encoder.training or len(given) == 3


def begin(method, sampler, pictures):
    """The starts of the first two epochs, as the trainer makes them; the plan, if the method gave any."""
    plan = None
    for epoch in (0, 1):
        method.eval()
        plan = method.start_epoch(epoch, lambda feature="embedding": look(method, pictures, feature)) or plan
    method.train()
    assert sampler.needs <= (plan.given if plan else frozenset())
    return plan


@torch.no_grad()
def look(method, pictures, feature):
    return method.encode_query(pictures) if feature == "embedding" else method.encoder(pictures)[feature]
