"""BIER: what it minimises, who learns what of diversity, what is scored, what is refused."""

import pytest
import torch
from tiny_run import build
from torch.nn import functional as F

from reid.builder import runs
from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.binomial import BinomialDeviance
from reid.losses.contrastive import Contrastive
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.memory import CrossBatch
from reid.methods._boost import boosted_losses, slices_of
from reid.methods.bier import BIER, reverse
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows

SLICES = (2, 3, 5)


def make(memory=None, losses=(), dim=10, **options) -> BIER:
    torch.manual_seed(0)
    encoder = Encoder("tiny", dim=dim, neck=False, features=("parts",))
    return BIER(encoder, losses, memory, **{"slices": SLICES, "hidden": 7, **options})


def batch(step=0, seed=0) -> Batch:
    images = torch.randint(256, (8, 3, 32, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    zeros = torch.zeros(8, dtype=torch.int64)
    return Batch(images, torch.arange(8) // 2, zeros, zeros, torch.arange(8), zeros, zeros, ["x"] * 8, step=step)


def phase_of(method, given):
    (phase,) = method.phases(given)
    return phase


def doubled(**options):
    """A method in float64, pooled features (4, C) and its weights by slice."""
    method = make(**options).double()
    pooled = torch.randn(4, method.encoder.reduce.in_features, dtype=torch.float64)
    return method, pooled, method.encoder.reduce.weight.split(SLICES)


@pytest.mark.parametrize("mode", ["separate", "joint"])
def test_bier_is_the_mean_over_learners_with_a_memory_and_without(mode):
    method = make(CrossBatch(size=12, mode=mode, weight=0.5), [Term("binomial", BinomialDeviance(), weight=3.0)])
    first = phase_of(method, batch())
    assert list(first.losses) == ["binomial_1", "binomial_2", "binomial_3", "diversity", "norms"]
    method.remember(first.keep)
    given = batch(step=1, seed=1)
    rows = Rows.of(method.encoder(given.images)["before"], given.classes)
    queue = method.queues["before"].rows(normalize=False)
    memory = Rows.of(queue.embeddings, queue.classes)
    found = phase_of(method, given).losses
    within = Pairs.within(rows, memory if mode == "joint" else None)
    expected = boosted_losses(BinomialDeviance(), slices_of(within, SLICES), "paper")
    for m in range(3):
        assert found[f"binomial_{m + 1}"].item() == pytest.approx(3 / 3 * expected[m].item(), rel=1e-5)
    if mode == "separate":
        against = boosted_losses(BinomialDeviance(), slices_of(Pairs.between(rows, memory), SLICES), "paper")
        assert found["binomial_memory_2"].item() == pytest.approx(3 * 0.5 / 3 * against[1].item(), rel=1e-5)


def test_bier_without_boosting_or_diversity_is_the_loss_of_each_slice():
    method = make(boosting="none", diversity="none", losses=[Term("contrastive", Contrastive())])
    given = batch()
    rows = method.encoder(given.images)["before"]
    found = phase_of(method, given).losses
    slow = [Contrastive()(part, given.classes) / 3 for part in rows.split(SLICES, dim=1)]
    assert list(found) == ["contrastive_1", "contrastive_2", "contrastive_3"]
    gradients = []
    for losses in (found.values(), slow):
        assert [value.item() for value in losses] == pytest.approx([value.item() for value in slow], rel=1e-5)
        gradients.append(torch.autograd.grad(sum(losses), method.encoder.reduce.weight, retain_graph=True)[0])
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-7)


# ---- diversity


def test_bier_reversal_turns_the_gradient_round():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    value = (reverse(x) ** 2).sum()
    assert value.item() == 5
    assert torch.autograd.grad(value, x)[0].tolist() == [-2, 4]


def norms_of(weights):
    """The loop over rows of the heads."""
    return sum(((row @ row - 1) ** 2) / len(rows) for rows in weights for row in rows)


def test_bier_activation_diversity_equals_the_slow_loop():
    method, pooled, weights = doubled(diversity="activation")
    acts = [[[(w @ h).item() for w in rows] for h in pooled] for rows in weights]
    slow = 0.0
    for i in range(3):
        for j in range(i + 1, 3):
            products = [(a * b) ** 2 for n in range(4) for a in acts[i][n] for b in acts[j][n]]
            slow += sum(products) / len(products)
    found = method._diversity(pooled)
    assert found["diversity"].item() == pytest.approx(5e-5 * slow, rel=1e-9)
    assert found["norms"].item() == pytest.approx(5 * norms_of(weights).item(), rel=1e-9)


def test_bier_adversarial_diversity_equals_the_slow_loop():
    method, pooled, weights = doubled()
    with torch.no_grad():
        for net in method.regressors:
            net.first.bias.fill_(0.5)  # of squared length 7 / 4: beyond 1
            net.last.bias.fill_(0.1)  # within
    assert [(net.first.in_features, net.last.out_features) for net in method.regressors] == [(3, 2), (5, 2), (5, 3)]
    slow, norms = 0.0, norms_of(weights)
    for net, (i, j) in zip(method.regressors, [(0, 1), (0, 2), (1, 2)], strict=True):
        products = []
        for h in pooled:
            foretold = (
                net.last.weight @ (net.first.weight @ (weights[j] @ h) + net.first.bias).clamp_min(0) + net.last.bias
            )
            products += [(a * b).item() ** 2 for a, b in zip(weights[i] @ h, foretold, strict=True)]
        slow -= sum(products) / len(products)
        norms = norms + norms_of([net.first.weight, net.last.weight]) + 7 * 0.25 - 1
    found = method._diversity(pooled)
    assert found["diversity"].item() == pytest.approx(5e-5 * slow, rel=1e-9)
    assert found["norms"].item() == pytest.approx(5 * norms.item(), rel=1e-9)


def test_bier_nets_follow_the_gradient_and_the_heads_go_against_it():
    """By finite differences: the nets make the products larger, the heads make them smaller; the backbone hears nothing."""
    method, pooled, _ = doubled(diversity_weight=1.0, norm_weight=0.0)
    pooled.requires_grad_(True)
    head, net = method.encoder.reduce.weight, method.regressors[1].first.weight
    (of_head, of_net) = torch.autograd.grad(method._diversity(pooled.detach())["diversity"], [head, net])
    with torch.no_grad():
        for weight, gradient, sign in ((head, of_head, -1), (net, of_net, 1)):
            for place in [(0, 0), (1, 2), (4, 1)]:
                ends, step = [], 1e-5
                for move in (step, -2 * step):
                    weight[place] += move
                    ends.append(method._diversity(pooled)["diversity"].item())
                weight[place] += step
                numeric = (ends[0] - ends[1]) / (2 * step)
                assert abs(numeric) > 1e-6
                assert gradient[place].item() == pytest.approx(sign * numeric, rel=1e-4)


def test_bier_diversity_moves_heads_and_nets_alone():
    method = make()
    phase = phase_of(method, batch())
    (phase.losses["diversity"] + phase.losses["norms"]).backward()
    moved = {name for name, p in method.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"encoder.reduce.weight"} | {name for name, _ in method.named_parameters() if "regressors" in name}


def test_bier_groups_hold_every_parameter_once_at_rates_of_their_own():
    method = make(head_lr_factor=7.0, regressor_lr_factor=2.0)
    groups = {group["name"]: group for group in method.param_groups()}
    assert {name: group.get("lr_factor", 1.0) for name, group in groups.items()} == {
        "encoder": 1.0,
        "embedding": 7.0,
        "regressors": 2.0,
    }
    grouped = [p for group in groups.values() for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped})
    assert {id(p) for p in grouped} == {id(p) for p in method.parameters() if p.requires_grad}
    assert [group["name"] for group in make(diversity="activation").param_groups()] == ["encoder", "embedding"]


# ---- scores


def test_bier_weights_of_slices_enter_the_score_squared():
    method = make().eval()
    with torch.no_grad():
        before, rows = method.encoder(batch().images)["before"], method.encode_query(batch().images)
    cosines = [F.cosine_similarity(part[0], part[1], dim=0).item() for part in before.split(SLICES, dim=1)]
    expected = sum((size / 10) ** 2 * cosine for size, cosine in zip(SLICES, cosines, strict=True))
    assert (rows[0] @ rows[1]).item() == pytest.approx(expected, abs=1e-6)


def test_bier_scores_slices_and_the_pooled_feature_on_request():
    with torch.no_grad():
        for m, size in enumerate(SLICES):
            method = make(scored=f"slice{m + 1}").eval()
            rows = method.encode_query(batch().images)
            part = method.encoder(batch().images)["before"].split(SLICES, dim=1)[m]
            assert rows.shape == (8, size)
            assert torch.allclose(rows, F.normalize(part))
        method = make(scored="pooled").eval()
        pooled = method.encoder(batch().images)["parts"][:, 0]
        assert torch.allclose(method.encode_query(batch().images), F.normalize(pooled))


# ---- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slices": (2, 3)}, r"SLICES are \[2, 3\], and there are embeddings of 10 numbers; expected sizes whose sum"),
        ({"slices": (-2, 12)}, r"SLICES are \[-2, 12\]"),
        ({"slices": ()}, r"SLICES are \[\]"),
        ({"dim": 0, "slices": (192,)}, "numbers, as pooled; expected sizes whose sum is MODEL.DIM"),
        ({"boosting": "eta"}, "BOOSTING: no eta; there are released, paper, none"),
        ({"diversity": "adverse"}, "DIVERSITY: no adverse"),
        ({"scored": "slice4"}, "SCORED: no slice4; there are all, slice1, slice2, slice3, pooled"),
        ({"losses": [Term("triplet", Triplet())]}, "found triplet, which is no sum over pairs.*expected binomial, or"),
        ({"losses": [Term("softmax", Softmax(4, 10))]}, "found softmax, which is no sum over pairs"),
        ({"losses": [Term("contrastive", Contrastive("mean"))]}, "found contrastive, which is no sum over pairs"),
        (
            {"losses": [Term("contrastive", Contrastive())], "boosting": "released"},
            "BOOSTING is released.*LOSSES has contrastive; expected BOOSTING paper, or binomial alone",
        ),
    ],
)
def test_bier_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


# ---- whole runs


def test_bier_is_trained_resumed_and_scored_by_slice(tiny_world, tmp_path):
    overrides = {
        "METHOD": "{NAME: bier, SLICES: [4, 12], HIDDEN: 8, BOOSTING: released}",
        "LOSSES": "[binomial]",
        "MODEL.DIM": "16",
        "SOLVER.EPOCHS": "1",
        "SAMPLER": "{NAME: identity, NUM_INSTANCES: 4}",
    }
    runs.train(build(tiny_world, tmp_path / "run", overrides))
    weights = tmp_path / "run" / "model_final.pth"
    state = torch.load(weights, weights_only=True)["model"]
    assert not [key for key in state if "regressors" in key]
    shown = {
        word: runs.score(None, weights, ["METHOD.SCORED", word], tmp_path / word)[-1] for word in ("all", "slice2")
    }
    assert shown["all"]["mAP"] != shown["slice2"]["mAP"]
