"""How every loss is called: with pairs, or with embeddings and labels; and which take a score that is no inner product."""

import re

import pytest
import torch
from torch.nn import functional as F

from reid.builder import registry
from reid.losses import PairLoss
from reid.losses.triplet import Triplet
from reid.pairs import LOSSES_OF_ANY_SCORE, Pairs, Rows

NAMES = registry.names("losses")
PAIR_LOSSES = [name for name in NAMES if issubclass(registry.find("losses", name), PairLoss)]
OF_DISTANCES = {"alignment", "domain_triplet", "lifted", "margin", "triplet"}  # at their default options


def make(name):
    torch.manual_seed(0)
    return registry.make("losses", {"NAME": name}, num_classes=5, dim=6)


def problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 6, generator=generator) * torch.arange(1, 13)[:, None]  # lengths of all kinds
    return x.requires_grad_(True), torch.arange(12) % 5


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_and_labels_give_value_and_gradient(name):
    x, labels = problem()
    loss = make(name)
    value = loss(x, labels)
    (gradient,) = torch.autograd.grad(value, x)
    assert value.shape == ()
    assert gradient.isfinite().all()
    assert bool(gradient.abs().sum() > 0) != loss.needs_domains, "labels alone are of one domain"
    if isinstance(loss, PairLoss):
        same = loss(Pairs.within(Rows.of(F.normalize(x) if loss.normalize else x, labels)))
        assert value.item() == same.item()
        assert torch.equal(gradient, torch.autograd.grad(same, x)[0])


@pytest.mark.parametrize("name", PAIR_LOSSES)
@pytest.mark.parametrize("raw", ["anchors", "memory"])
def test_rows_of_another_length_are_refused_where_unit_vectors_are_wanted(name, raw):
    x, labels = problem()
    loss, rows = make(name), Rows.of(x, labels)
    sides = (rows, rows.normalized()) if raw == "anchors" else (rows.normalized(), rows)
    if loss.normalize:
        with pytest.raises(ValueError, match=r"found one of length .*; expected length 1"):
            loss(Pairs.between(*sides))
    else:
        assert loss(Pairs.between(*sides)).isfinite()


def test_pairs_bring_their_labels_and_embeddings_need_them():
    x, labels = problem()
    for arguments in ((x,), (Pairs.within(Rows.of(x, labels)), labels)):
        with pytest.raises(ValueError, match=r"expected loss\(pairs\) or loss\(embeddings, labels\)"):
            Triplet()(*arguments)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_losses_of_similarities_take_any_score_and_those_of_distances_refuse(name):
    x, labels = problem()
    loss, rows = make(name), Rows.of(F.normalize(x), labels)
    own, other, given = (
        Pairs.within(rows, score=score) if score is not None else Pairs.within(rows)
        for score in (None, lambda anchors, refs: anchors @ refs.T, rows.embeddings @ rows.embeddings.T)
    )
    for pairs in (other, given):
        if name in OF_DISTANCES:
            with pytest.raises(ValueError, match="follow from inner products, and the score is"):
                loss(pairs)
        else:
            gradients = [torch.autograd.grad(loss(p), x, retain_graph=True)[0] for p in (pairs, own)]
            assert loss(pairs).item() == pytest.approx(loss(own).item(), rel=1e-6)
            assert torch.allclose(*gradients, atol=1e-6)


def test_the_losses_that_the_refusal_names_take_any_score():
    named = set(re.findall(r"[a-z_]+(?=,)", LOSSES_OF_ANY_SCORE))
    assert {"binomial", "circle"} <= named <= set(PAIR_LOSSES) - OF_DISTANCES
    x, labels = problem()
    assert Triplet(distance="score")(Pairs.within(Rows.of(x, labels), score=torch.rand(12, 12))).item() > 0


@pytest.mark.parametrize("options", [{"FORM": "mean"}, {"FORM": "hadsell"}])
def test_contrastive_by_distance_refuses_another_score(options):
    x, labels = problem()
    loss = registry.make("losses", {"NAME": "contrastive", **options})
    with pytest.raises(ValueError, match="follow from inner products"):
        loss(Pairs.within(Rows.of(x, labels), score=torch.rand(12, 12)))
