"""BAU's three losses against loops in float64, as the paper and as the released code has them; prototypes, runs, refusals."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from meta_cases import THREE, Linear, assert_resumed_equals_unbroken, batch
from tiny_run import build

from reid.builder import runs
from reid.losses import Term
from reid.losses.infonce import InfoNCE
from reid.losses.triplet import Triplet
from reid.methods.bau import BAU

ROWS = batch((0, 0, 0))  # three domains of three identities with two pictures
CLASSES, DOMAINS = ROWS.classes.numpy(), ROWS.domains.numpy()


def make(**options):
    terms = [Term("triplet", Triplet()), Term("infonce", InfoNCE(), feature="after")]
    method = BAU(Linear(), terms, 9, classes=CLASSES, domains=DOMAINS, **options).double().train()
    rows = torch.randn(18, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    method.start_epoch(0, lambda feature: rows / rows.norm(dim=1, keepdim=True))
    return method


def views():
    strong = batch((0, 0, 0), seed=2).images
    return replace(ROWS, views={"strong": ROWS.images + 0.3 * strong})


def slow(method, weight, k, num, released):
    """The three losses by loops, of the linear encoder's `weight`."""
    made = views()
    both = torch.cat([made.images, made.views["strong"]]).flatten(1) @ weight.T
    both = (both - both.mean(0)) / (both.var(0, correction=0) + 1e-5).sqrt()
    both = both / both.norm(dim=1, keepdim=True)
    weak, strong = both[:18], both[18:]
    order = torch.cat([strong, weak])
    near = [set((-(order @ row)).argsort()[:k].tolist()) | {i} for i, row in enumerate(order)]
    mutual = [{j for j in near[i] if i in near[j]} for i in range(36)]
    total = weights = 0.0
    for i in range(18):
        for j in range(18):
            if CLASSES[i] == CLASSES[j]:
                ours, theirs = mutual[i], mutual[18 + j]
                share = len(ours & theirs) / (len(ours | theirs) + 1e-6)
                total, weights = total + share * (strong[i] - weak[j]).square().sum(), weights + share
    spread = [
        torch.stack([(-2 * (v[i] - v[j]).square().sum()).exp() for i in range(18) for j in range(i)]).mean().log()
        for v in (weak, strong)
    ]
    centres, of_domain = method.prototypes.rows, []
    for view in (weak, strong):
        terms = []
        for i in range(18):
            own = [c for c in range(9) if c // 3 == DOMAINS[i]]
            squared = {c: (view[i] - centres[c]).square().sum() for c in own}
            if released:
                chosen = sorted(squared.values(), key=lambda d: d.item())[1 : num + 1]
                terms += [(-2 * d).exp() for d in chosen] + [torch.tensor(0.0)] * (min(num, 8) - len(chosen))
            else:
                del squared[int(CLASSES[i])]
                terms += [(-2 * d).exp() for d in sorted(squared.values(), key=lambda d: d.item())[:num]]
        of_domain.append(torch.stack(terms).mean().log())
    return {"aligned": total / weights, "uniform": sum(spread) / 2, "domain_uniform": sum(of_domain) / 2}


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("num", [1, 2, 0])
def test_values_and_gradients_equal_the_slow_restatement(num, released):
    method = make(
        alignment=1.5, uniformity=0.7, domain_uniformity=0.3, num_neighbours=7, num_prototypes=num, released=released
    )
    weight = method.encoder.reduce.weight
    (phase,) = method.phases(views())
    assert [*phase.losses] == ["triplet", "infonce", "aligned", "uniform", "domain_uniform"]
    expected = slow(method, weight, 7, num or 18, released)
    for name, factor in {"aligned": 1.5, "uniform": 0.7, "domain_uniform": 0.3}.items():
        value = factor * expected[name]
        assert phase.losses[name].item() == pytest.approx(value.item(), rel=1e-6), (
            name
        )  # prototypes are kept in float32
        gradients = [torch.autograd.grad(v, weight, retain_graph=True)[0] for v in (phase.losses[name], value)]
        assert torch.allclose(*gradients, atol=1e-6), name


def test_released_and_default_part_where_the_nearest_is_another_and_where_a_domain_is_small():
    method, other = make(), make(released=True)
    one, theirs = (next(m.phases(views())).losses["domain_uniform"] for m in (method, other))
    assert one.item() > theirs.item() + 0.5, "a domain of three identities among 18 places"


def test_prototypes_begin_as_means_and_are_written_after_the_step_one_picture_after_another():
    method = make()
    rows = torch.randn(18, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    rows = rows / rows.norm(dim=1, keepdim=True)
    means = [rows[torch.from_numpy(CLASSES) == c].mean(0) for c in range(9)]
    expected = torch.stack([mean / mean.norm() for mean in means])
    assert torch.allclose(method.prototypes.rows, expected, atol=1e-6)
    kept = method.prototypes.rows.clone()
    (phase,) = method.phases(views())
    assert torch.equal(method.prototypes.rows, kept), "not before the step"
    assert phase.keep["rows"].norm(dim=1).numpy() == pytest.approx(np.ones(18))
    method.remember(phase.keep)
    for c, row in zip(CLASSES.tolist(), phase.keep["rows"], strict=True):
        blended = 0.1 * expected[c] + 0.9 * row
        expected[c] = blended / blended.norm()
    assert torch.allclose(method.prototypes.rows, expected, atol=1e-6)


def test_a_weight_of_zero_leaves_a_loss_out():
    (phase,) = make(alignment=0.0, domain_uniformity=0.0).phases(views())
    assert [*phase.losses] == ["triplet", "infonce", "uniform"]


RUN = {"METHOD.NAME": "bau", "INPUT.VIEWS.strong": "[flip, jitter, erasing]"}


@pytest.mark.parametrize(
    "overrides",
    [
        {"LOSSES": "[softmax, triplet]", "METHOD.RELEASED": "true"},
        {"LOSSES": "[am_softmax, {NAME: circle, FEATURE: after}]", "MEMORY.SIZE": "40", "SOLVER.AMP": "bf16"},
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(tiny_world, tmp_path, monkeypatch, overrides):
    lines = assert_resumed_equals_unbroken(
        tiny_world, tmp_path, monkeypatch, {**RUN, "SOLVER.MAX_STEPS": "6", **overrides}
    )
    assert {"aligned", "uniform", "domain_uniform"} <= json.loads(lines[-1]).keys()


def test_of_one_source_it_trains_too(tiny_world, tmp_path):
    one = {"DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}]", "LOSSES": "[softmax]", "SOLVER.MAX_STEPS": "2"}
    assert runs.train(build(tiny_world, tmp_path / "run", {**RUN, **one}))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"INPUT.VIEWS": "{}"}, r"INPUT\.VIEWS: found no strong, which METHOD bau reads"),
        (
            {"LOSSES": "[]", "METHOD": "{NAME: bau, ALIGNMENT: 0, UNIFORMITY: 0, DOMAIN_UNIFORMITY: 0}"},
            "bau: LOSSES is empty and ALIGNMENT, UNIFORMITY and DOMAIN_UNIFORMITY are 0; expected some loss",
        ),
    ],
)
def test_what_it_cannot_do_is_refused_before_there_is_a_run(tiny_world, tmp_path, overrides, message):
    cfg = {**THREE, **RUN, "LOSSES": "[softmax]", **overrides}
    if "INPUT.VIEWS" in overrides:
        del cfg["INPUT.VIEWS.strong"]
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", cfg))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
