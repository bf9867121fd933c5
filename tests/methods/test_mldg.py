"""MLDG against a slow restatement in float64, its second order by finite differences; runs, and what is refused."""

import json

import pytest
import torch
from meta_cases import THREE, Linear, assert_resumed_equals_unbroken, batch, differences, stepper, triplet
from tiny_run import build

from reid.builder import runs
from reid.data.samplers.meta import META_TEST
from reid.losses import Term
from reid.losses.infonce import InfoNCE
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.methods.mldg import MLDG


def make(*terms, **options):
    return MLDG(Linear(), terms or [Term("triplet", Triplet())], **options).train()


def objective(weight, second_order, lr=0.5, meta_weight=0.7):
    """F(w) + meta_weight G(w - lr dF/dw), of batch-hard triplets in a loop."""
    whole = batch()
    tested = whole.roles == META_TEST
    parts = [(whole.images.flatten(1)[rows], whole.classes[rows]) for rows in (~tested, tested)]
    losses = [lambda w, x=x, y=y: triplet(x @ w.T, y) for x, y in parts]
    weight = weight if weight.requires_grad else weight.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(losses[0](weight), weight, create_graph=True)
    moved = weight - lr * (gradient if second_order else gradient.detach())
    return losses[0](weight) + meta_weight * losses[1](moved)


@pytest.mark.parametrize("second_order", [False, True])
def test_value_and_gradient_equal_the_slow_restatement(second_order):
    method = make(inner_lr=0.5, meta_weight=0.7, second_order=second_order)
    weight = method.encoder.reduce.weight
    (phase,) = method.phases(batch())
    assert [*phase.losses] == ["triplet", "meta_triplet"]
    total = sum(phase.losses.values())
    expected = objective(weight, second_order)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(value, weight)[0] for value in (total, expected)]
    assert torch.allclose(*gradients, rtol=1e-9)
    if second_order:
        slow = differences(lambda w: objective(w, True), weight.detach())
        assert torch.allclose(gradients[0], slow, atol=1e-7)
        first = torch.autograd.grad(objective(weight, False), weight)[0]
        assert (first - slow).norm() > 0.01 * slow.norm(), "or the test would not see the second order"


def test_without_an_inner_rate_of_its_own_it_takes_that_of_each_group():
    """The classifier moves ten times as far as the encoder: by hand, in first order."""
    softmax = Softmax(9, 4).double()
    method = make(Term("softmax", softmax, lr_factor=10.0), Term("infonce", InfoNCE(), feature="after"))
    stepper(method, lr=0.02)
    train, test = (batch().select((batch().roles == META_TEST) == tested) for tested in (False, True))
    weights = dict(method.named_parameters())

    def losses(values, part):
        before = part.images.flatten(1) @ values["encoder.reduce.weight"].T
        apart = before - before.mean(0)
        after = apart / (apart.square().mean(0) + 1e-5).sqrt()
        after = after * values["encoder.neck.weight"] + values["encoder.neck.bias"]
        scores = after @ values["losses.softmax.weight"].T
        units = after / after.norm(dim=1, keepdim=True)
        return torch.nn.functional.cross_entropy(scores, part.classes) + InfoNCE()(units, part.classes)

    gradients = torch.autograd.grad(losses(weights, train), list(weights.values()))
    rates = {"losses.softmax.weight": 0.2}
    moved = {n: p - rates.get(n, 0.02) * g for (n, p), g in zip(weights.items(), gradients, strict=True)}
    (phase,) = method.phases(batch())
    found = phase.losses["meta_softmax"] + phase.losses["meta_infonce"]
    assert found.item() == pytest.approx(losses(moved, test).item(), rel=1e-5)
    assert found.item() != pytest.approx(losses(weights, test).item(), rel=1e-3), "or the step is worth nothing"


def test_meta_test_leaves_the_running_statistics():
    method, other = make(inner_lr=0.5), make()
    next(method.phases(batch()))
    other.encoder(batch().select(batch().roles != META_TEST).images)
    assert torch.equal(method.encoder.neck.running_mean, other.encoder.neck.running_mean)


def test_a_loss_that_does_not_use_every_weight_learns_all_the_same():
    method = make(Term("triplet", Triplet()), inner_lr=0.1)  # before the neck, whose weights it never sees
    (phase,) = method.phases(batch())
    sum(phase.losses.values()).backward()
    assert method.encoder.reduce.weight.grad.any()


@pytest.mark.parametrize(
    "overrides",
    [
        {"LOSSES": "[softmax, triplet]", "MEMORY.SIZE": "40"},
        {"LOSSES": "[am_softmax, {NAME: circle, FEATURE: after}]", "METHOD.SECOND_ORDER": "true", "SOLVER.AMP": "bf16"},
    ],
)
def test_a_resumed_run_equals_an_unbroken_one(tiny_world, tmp_path, monkeypatch, overrides):
    fixed = {"METHOD.NAME": "mldg", "SAMPLER.NAME": "meta", "SOLVER.MAX_STEPS": "6"}
    lines = assert_resumed_equals_unbroken(tiny_world, tmp_path, monkeypatch, {**fixed, **overrides})
    names = [name for name in json.loads(lines[-1]) if name.startswith("meta_")]
    assert (
        names == ["meta_softmax", "meta_triplet"] * ("MEMORY.SIZE" in overrides) + names[2:] or "meta_circle" in names
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"DATASETS.SOURCES": "[{NAME: folder, PATH: source_a}]"},
            r"sampler meta: found 1 source\(s\); expected 2 or more",
        ),
        (
            {"SAMPLER.TRAIN_DOMAINS": "3"},
            r"sampler meta: found 3 source\(s\); expected 4 or more, as TRAIN_DOMAINS 3 and",
        ),
        ({"SAMPLER.NAME": "identity"}, r"methods\.mldg: SAMPLER is identity; expected meta"),
        ({"LOSSES": "[]"}, "LOSSES is empty; name at least one"),
    ],
)
def test_what_it_cannot_do_is_refused_before_there_is_a_run(tiny_world, tmp_path, overrides, message):
    cfg = {**THREE, "METHOD.NAME": "mldg", "SAMPLER.NAME": "meta", "LOSSES": "[softmax]", **overrides}
    with pytest.raises(ValueError, match=message) as error:
        runs.train(build(tiny_world, tmp_path / "run", cfg))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_in_parts_it_trains(tiny_world, tmp_path):
    cfg = {**THREE, "METHOD.NAME": "mldg", "SAMPLER.NAME": "meta", "LOSSES": "[softmax]", "SOLVER.ACCUMULATE": "2"}
    assert runs.train(build(tiny_world, tmp_path / "run", {**cfg, "SOLVER.MAX_STEPS": "2"}))
