"""M3L against a slow restatement in float64, its second order by finite differences; the bank, runs, and what is refused."""

import json

import pytest
import torch
from meta_cases import THREE, Linear, assert_resumed_equals_unbroken, batch, differences, stepper, triplet
from tiny_run import build

from reid.builder import runs
from reid.data.samplers.meta import META_TEST, META_TRAIN
from reid.losses import Term
from reid.losses.triplet import Triplet
from reid.methods.m3l import M3L
from reid.models.encoder import Encoder

SPLITS = {
    "three": (META_TRAIN, META_TRAIN, META_TEST),
    "four": (META_TRAIN, META_TEST, META_TRAIN, META_TRAIN),
    "two of meta-test": (META_TRAIN, META_TEST, META_TRAIN, META_TEST),
}
LR = 0.05


def make(roles, **options):
    """With a triplet; the bank begins with means of random rows."""
    made = batch(roles)
    num = 3 * len(roles)
    known = {"classes": made.classes.numpy(), "domains": made.domains.numpy()}
    method = M3L(Linear(), [Term("triplet", Triplet())], num, **known, **options).double().train()
    rows = torch.randn(len(made), 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    method.start_epoch(0, lambda feature: rows / rows.norm(dim=1, keepdim=True))
    return method


def neck(before, weights):
    apart = before - before.mean(0)
    return (
        apart / (apart.square().mean(0) + 1e-5).sqrt() * weights["encoder.neck.weight"] + weights["encoder.neck.bias"]
    )


def bank_loss(after, part, bank):
    """-log of the share of the own identity among the three of the domain, by loops."""
    total = 0.0
    for row, own in zip(after, part.classes.tolist(), strict=True):
        cosines = [row / row.norm() @ bank[c] / 0.05 for c in range(own // 3 * 3, own // 3 * 3 + 3)]
        total = total - (cosines[own % 3] - torch.stack(cosines).exp().sum().log())
    return total / len(after)


def domains_of(whole, role):
    return [part for d in range(9) if len(part := whole.select((whole.domains == d) & (whole.roles == role)))]


def seen_by(weights, whole, released):
    """Mean and deviation of each domain of meta-train; constants."""
    found = []
    for part in domains_of(whole, META_TRAIN):
        before = (part.images.flatten(1) @ weights["encoder.reduce.weight"].T).detach()
        variance = (before - before.mean(0)).square().mean(0)
        found.append((before.mean(0), variance if released else variance.sqrt()))
    return found


def objective(weights, whole, bank, seen, *, second_order=True):
    """F(w) + 0.7 G(w'), w' by one step of Adam with decay 0.01."""

    def losses(values, parts, mixed):
        found = []
        for part in parts:
            before = part.images.flatten(1) @ values["encoder.reduce.weight"].T
            rows = [before]
            if mixed:
                share = torch.rand((), dtype=torch.float64)
                draws = [mean + deviation * torch.randn(6, 4, dtype=torch.float64) for mean, deviation in mixed]
                rows = [share * z + (1 - share) * before for z in draws]
            of_bank = [bank_loss(neck(x, values), part, bank) for x in rows]
            found.append(triplet(before, part.classes) + sum(of_bank) / len(of_bank))
        return sum(found) / len(found)

    first = losses(weights, domains_of(whole, META_TRAIN), [])
    gradients = torch.autograd.grad(first, list(weights.values()), create_graph=True)
    moved = {}
    for (name, p), g in zip(weights.items(), gradients, strict=True):
        d = (g if second_order else g.detach()) + 0.01 * p
        moved[name] = p - LR * d / (d**2 + 1e-5).sqrt()
    torch.manual_seed(7)
    return first + 0.7 * losses(moved, domains_of(whole, META_TEST), seen)


@pytest.mark.parametrize("roles", SPLITS)
@pytest.mark.parametrize(
    "options",
    [{}, {"released": True}, {"meta_bn": False}, {"second_order": False}],
    ids=lambda o: "-".join(o) or "plain",
)
def test_value_and_gradients_equal_the_slow_restatement(roles, options):
    method, whole = make(SPLITS[roles], inner_weight_decay=0.01, meta_weight=0.7, **options), batch(SPLITS[roles])
    stepper(method, lr=LR)
    weights = dict(method.named_parameters())
    torch.manual_seed(7)
    phase = next(method.phases(whole))
    assert [*phase.losses] == ["triplet", "bank", "meta_triplet", "meta_bank"]
    seen = seen_by(weights, whole, options.get("released", False)) if options.get("meta_bn", True) else []
    expected = objective(weights, whole, method.bank.rows, seen, second_order=options.get("second_order", True))
    total = sum(phase.losses.values())
    assert total.item() == pytest.approx(expected.item(), rel=1e-9)
    for one, other in zip(*(torch.autograd.grad(v, list(weights.values())) for v in (total, expected)), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_the_second_order_gradient_is_that_of_finite_differences():
    method, whole = make(SPLITS["three"], inner_weight_decay=0.01, meta_weight=0.7), batch(SPLITS["three"])
    stepper(method, lr=LR)
    weights = dict(method.named_parameters())
    weight = method.encoder.reduce.weight
    torch.manual_seed(7)
    total = sum(next(method.phases(whole)).losses.values())
    (found,) = torch.autograd.grad(total, weight)
    seen = seen_by(weights, whole, False)

    def shifted(value):
        return objective(weights | {"encoder.reduce.weight": value.requires_grad_(True)}, whole, method.bank.rows, seen)

    slow = differences(lambda v: shifted(v).detach(), weight.detach(), 1e-7)
    first = torch.autograd.grad(objective(weights, whole, method.bank.rows, seen, second_order=False), weight)[0]
    assert (found - slow).norm() < 1e-4 * slow.norm()
    assert (first - slow).norm() > 0.01 * slow.norm(), "or the test would not see the second order"


def test_released_draws_by_the_variance_where_the_default_draws_by_its_root():
    """Of a feature with a deviation of 3 their draws have one of 9."""
    found = {}
    for released in (False, True):
        method = make(SPLITS["three"], released=released)
        with torch.no_grad():
            method.encoder.reduce.weight.copy_(torch.eye(4, 6))
        train = batch().select(batch().roles == META_TRAIN)
        column = train.images[:6, 0, 0, 0]
        train.images[:6, 0, 0, 0] = 3 * (column - column.mean()) / column.std(correction=0)
        (_, deviation), _ = method(train)[1]
        found[released] = deviation[0].item()
    assert found == pytest.approx({False: 3.0, True: 9.0})


def test_after_the_step_rows_of_the_new_weights_are_blended_one_after_another():
    method, whole = make(SPLITS["four"]), batch(SPLITS["four"])
    step = stepper(method, lr=LR)
    before = method.bank.rows.clone()
    running = []
    for phase in method.phases(whole):
        assert torch.equal(method.bank.rows, before), "not before the step"
        step(sum(phase.losses.values()), phase.learns)
        running.append(method.encoder.neck.running_mean.clone())
    assert torch.equal(method.encoder.neck.running_mean, running[0]), "the pass that renews the bank leaves no trace"
    expected = before.clone()
    weights = dict(method.named_parameters())
    for domain in range(4):
        part = whole.select(whole.domains == domain)
        after = neck(part.images.flatten(1) @ weights["encoder.reduce.weight"].T, weights).detach()
        for c, row in zip(part.classes.tolist(), after, strict=True):
            blended = 0.2 * expected[c] + 0.8 * row / row.norm()
            expected[c] = blended / blended.norm()
    assert torch.allclose(method.bank.rows, expected, atol=1e-6)


def test_meta_test_leaves_the_running_statistics():
    roles = SPLITS["three"]
    method, other = make(roles), make(roles)
    stepper(method)
    next(method.phases(batch(roles)))
    for part in domains_of(batch(roles), META_TRAIN):
        other.encoder(part.images)
    assert torch.equal(method.encoder.neck.running_var, other.encoder.neck.running_var)


def test_without_a_neck_metabn_is_refused():
    with pytest.raises(
        ValueError, match=r"META_BN mixes before the neck, and there is none; expected MODEL\.NECK True, or"
    ):
        M3L(Encoder("tiny", neck=False), [], 3)
    assert M3L(Encoder("tiny", neck=False), [], 3, meta_bn=False)


RUN = {"METHOD.NAME": "m3l", "SAMPLER.NAME": "meta"}


@pytest.mark.parametrize(
    "overrides",
    [
        {"LOSSES": "[triplet]"},
        {"LOSSES": "[softmax, circle]", "METHOD.RELEASED": "true", "SOLVER.AMP": "bf16", "MODEL.NORM": "[ibn_a]"},
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(tiny_world, tmp_path, monkeypatch, overrides):
    lines = assert_resumed_equals_unbroken(
        tiny_world, tmp_path, monkeypatch, {**RUN, "SOLVER.MAX_STEPS": "6", **overrides}
    )
    assert {"bank", "meta_bank"} <= json.loads(lines[-1]).keys()


def test_in_parts_it_trains(tiny_world, tmp_path):
    more = {"LOSSES": "[triplet]", "SOLVER.ACCUMULATE": "2", "SOLVER.MAX_STEPS": "2"}
    assert runs.train(build(tiny_world, tmp_path / "run", {**THREE, **RUN, **more, "DATALOADER.BATCH_SIZE": "48"}))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}]"},
            r"sampler meta: found 1 source\(s\); expected 2 or more",
        ),
        ({"SAMPLER.TEST_DOMAINS": "3"}, r"sampler meta: found 3 source\(s\); expected 4 or more"),
        ({"MEMORY.SIZE": "40"}, r"methods\.m3l takes no MEMORY: it brings its own"),
        ({"SAMPLER.NAME": "balanced"}, r"methods\.m3l: SAMPLER is balanced; expected meta"),
    ],
)
def test_what_it_cannot_do_is_refused_before_there_is_a_run(tiny_world, tmp_path, overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", {**THREE, **RUN, "LOSSES": "[triplet]", **overrides}))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
