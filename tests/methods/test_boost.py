"""Boosted weights of pairs against a slow loop over both rules, in float64, and gradients by finite differences."""

import math

import pytest
import torch

from reid.losses.binomial import BinomialDeviance
from reid.losses.contrastive import Contrastive
from reid.methods._boost import boosted_losses, pair_weights, slices_of
from reid.pairs import Pairs, Rows

SIZES = (2, 3, 4)
ALPHA, BETA, COST = 2.0, 0.5, 25.0
KINDS = ("batch", "memory", "joint")


class World:
    """Rows x (6, 9) of three classes against themselves, against a memory, or both."""

    def __init__(self, kind):
        generator = torch.Generator().manual_seed(0)
        self.x, self.memory = (torch.randn(n, 9, generator=generator, dtype=torch.float64) for n in (6, 5))
        self.x.requires_grad_(True)
        self.kind = kind
        classes, ref_classes = torch.arange(6) // 2, torch.arange(5) % 4
        own, remembered = Rows.of(self.x, classes), Rows.of(self.memory, ref_classes)
        self.pairs = {
            "batch": lambda: Pairs.within(own),
            "joint": lambda: Pairs.within(own, remembered),
            "memory": lambda: Pairs.between(own, remembered),
        }[kind]()
        labels = {"batch": classes, "memory": ref_classes, "joint": torch.cat([classes, ref_classes])}[kind].tolist()
        every = [(i, j) for i in range(6) for j in range(len(labels)) if i != j or kind == "memory"]
        self.positives = [(i, j) for i, j in every if labels[j] == classes[i]]
        self.negatives = [(i, j) for i, j in every if labels[j] != classes[i]]

    def refs(self, x):
        return {"batch": x, "memory": self.memory, "joint": torch.cat([x, self.memory])}[self.kind]

    def activations(self, x):
        """{(i, j): a list, one a learner} of alpha (s - beta) m by the paper, m 1 for a positive and -25 for a negative."""
        found = {}
        for i, j in self.positives + self.negatives:
            sides = zip(x[i].split(SIZES), self.refs(x)[j].split(SIZES), strict=True)
            cosines = [one @ other / (one.norm() * other.norm()) for one, other in sides]
            found[i, j] = [ALPHA * (c - BETA) * (1 if (i, j) in self.positives else -COST) for c in cosines]
        return found

    def weights(self, boosting):
        """{(i, j): a list of numbers}."""
        found = {}
        for pair, acts in self.activations(self.x.detach()).items():
            total, weights = (0.5 if boosting == "released" else 0.0), [1.0]
            for m, a in enumerate(acts[:-1], start=1):
                if boosting == "released":
                    total += 0.06 * a.item()
                    weights.append((1 if pair in self.positives else 2) / (1 + math.exp(total)))
                else:
                    share = 2 / (m + 1)
                    total = (1 - share) * total + share * a.item()
                    weights.append(1 / (1 + math.exp(total)))
            found[pair] = [1.0] * 3 if boosting == "none" else weights
        return found

    def loss(self, x, weights):
        """Of each learner: the weighted means over positives and over negatives."""
        acts, totals = self.activations(x), [0.0, 0.0, 0.0]
        for some in (self.positives, self.negatives):
            for pair in some:
                for m in range(3):
                    value = torch.nn.functional.softplus(-acts[pair][m])
                    totals[m] = totals[m] + weights[pair][m] * value / len(some)
        return totals


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("boosting", ["released", "paper", "none"])
def test_bier_weights_after_each_learner_equal_the_slow_loop(kind, boosting):
    world = World(kind)
    scores = [pairs.similarity() for pairs in slices_of(world.pairs, SIZES)]
    found = pair_weights(BinomialDeviance(), world.pairs, scores, boosting)
    for pair, expected in world.weights(boosting).items():
        assert [weight[pair].item() for weight in found] == pytest.approx(expected, rel=1e-9)
    if kind != "memory":
        assert all(not weight[0, 0] for weight in found[1:]) or boosting == "none", "an anchor and itself are no pair"


def test_bier_released_weights_of_one_pair_by_hand():
    """A positive at 0.8 and a negative at 0.55, after the first learner."""
    anchor, refs = Rows.of(torch.eye(2)[:1], torch.tensor([0])), Rows.of(torch.eye(2), torch.tensor([0, 1]))
    scores = torch.tensor([[0.8, 0.55]], dtype=torch.float64)
    weights = pair_weights(BinomialDeviance(), Pairs.between(anchor, refs), [scores] * 2, "released")
    assert weights[1][0].tolist() == pytest.approx([0.369119, 0.826765], abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("boosting", ["released", "paper", "none"])
def test_bier_losses_have_their_own_value_and_the_boosted_gradient(kind, boosting):
    world = World(kind)
    learners = slices_of(world.pairs, SIZES)
    found = boosted_losses(BinomialDeviance(), learners, boosting)
    own = [BinomialDeviance()(pairs).item() for pairs in learners]
    assert [value.item() for value in found] == pytest.approx(own, rel=1e-12)
    weights = world.weights(boosting)
    for value, slow in zip(found, world.loss(world.x, weights), strict=True):
        gradients = [torch.autograd.grad(loss, world.x, retain_graph=True)[0] for loss in (value, slow)]
        assert gradients[1].abs().max() > 1e-6
        assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("boosting", ["released", "paper"])
def test_bier_gradients_equal_finite_differences_of_the_boosted_loss(boosting):
    world = World("joint")
    (gradient,) = torch.autograd.grad(
        sum(boosted_losses(BinomialDeviance(), slices_of(world.pairs, SIZES), boosting)), world.x
    )
    weights, step = world.weights(boosting), 1e-6
    for row, column in [(0, 0), (1, 3), (2, 8), (5, 4)]:
        ends = []
        for sign in (1, -1):
            moved = world.x.detach().clone()
            moved[row, column] += sign * step
            ends.append(float(sum(world.loss(moved, weights))))
        assert gradient[row, column].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_bier_weights_of_another_loss_are_shares_of_its_steepest_slope():
    """Contrastive, which is straight: a negative below the margin is learned, one above it is not yet, nor is any positive."""
    anchor, refs = Rows.of(torch.eye(3)[:1], torch.tensor([0])), Rows.of(torch.eye(3), torch.tensor([0, 1, 2]))
    scores = torch.tensor([[0.9, 0.6, 0.2]], dtype=torch.float64)
    weights = pair_weights(Contrastive(margin=0.5), Pairs.between(anchor, refs), [scores] * 2, "paper")
    assert weights[1][0].tolist() == [1, 1, 0]
