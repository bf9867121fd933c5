"""Margin loss against a loop over the paper's equation, and its sampling against the distribution it draws from."""

import copy
import math

import pytest
import torch
from pair_cases import KINDS, Case, gives_zero
from pytorch_metric_learning import losses
from torch.nn import functional as F

from reid.losses import Term
from reid.losses.margin import Margin
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.pairs import Pairs, Rows


def make(**options):
    loss = Margin(5, **options).double()
    with torch.no_grad():
        loss.beta += torch.tensor([0.0, 0.1, -0.1, 0.2, -0.2])
    return loss


def slow_margin(case, loss):
    """For the draws that the loss makes: what they must be is tested below."""
    beta = loss.beta[case.classes]
    drawn = zip(*(where.tolist() for where in loss.draw(case.pairs, case.pairs.distances().detach())), strict=True)
    terms = [case.d[i][j] - beta[i] + loss.margin for i in case.complete for j in case.positives[i]]
    terms += [beta[i] - case.d[i][j] + loss.margin for i, j in drawn]
    boundaries = sum(loss.nu * beta[i] for i in case.complete for _ in case.positives[i])
    return (sum(F.relu(term) for term in terms) + boundaries) / sum(term.item() > 0 for term in terms)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nu", [0.0, 0.05])
def test_value_and_gradient_equal_the_slow_loop(kind, nu):
    case, loss = Case(kind), make(nu=nu)
    slow = slow_margin(case, loss)
    case.check(loss, slow)
    (expected,) = torch.autograd.grad(slow, loss.beta, retain_graph=True)
    (actual,) = torch.autograd.grad(loss(case.pairs), loss.beta)
    assert torch.allclose(actual, expected)


def test_value_equals_pytorch_metric_learning_on_the_same_triplets():
    case = Case("batch", classes=[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    loss = Margin(4, nu=0.05, nonzero_cutoff=1.99).double()
    anchors, negatives = loss.draw(case.pairs, case.pairs.distances().detach())
    positives = case.pairs.positive.nonzero()[:, 1]
    peer = losses.MarginLoss(nu=0.05, learn_beta=True, num_classes=4)
    expected = peer(case.rows, case.classes, (anchors, positives, negatives))
    assert loss(case.pairs).item() == pytest.approx(expected.item(), rel=1e-6)


def on_a_circle(distances, dim=2, num_positives=1):
    """One anchor with `num_positives` copies of itself and negatives at these distances from it, in `dim` dimensions."""
    angles = 2 * (torch.tensor([0.0] * num_positives + list(distances), dtype=torch.float64) / 2).arcsin()
    rows = F.pad(torch.stack([angles.cos(), angles.sin()], dim=1), (0, dim - 2)).float()
    classes = torch.cat([torch.zeros(num_positives), torch.arange(len(distances)) + 1]).long()
    return Pairs.between(Rows.of(rows[:1], torch.zeros(1, dtype=torch.int64)), Rows.of(rows, classes))


def test_each_anchor_draws_a_near_negative_for_every_positive():
    case, loss = Case("joint"), make()
    rows, columns = loss.draw(case.pairs, case.pairs.distances().detach())
    near = {i: [j for j in case.negatives[i] if case.d[i][j] < 1.4] for i in range(12)}
    assert all(j in near[i] for i, j in zip(rows.tolist(), columns.tolist(), strict=True))
    expected = [len(case.positives[i]) if near[i] else 0 for i in range(12)]
    assert torch.bincount(rows, minlength=12).tolist() == expected


def test_draws_follow_the_inverse_density_of_the_distance():
    """The density at distance d is d^(D-2) (1 - d^2/4)^((D-3)/2); below the cutoff it is that of the cutoff."""
    distances = [0.2, 0.7, 1.0, 1.3, 1.5]
    density = [max(d, 0.5) ** 4 * (1 - max(d, 0.5) ** 2 / 4) ** 1.5 for d in distances]
    weights = [1 / q if d < 1.4 else 0 for d, q in zip(distances, density, strict=True)]
    pairs = on_a_circle(distances, dim=6, num_positives=20000)
    _, drawn = Margin(6).draw(pairs, pairs.distances())
    shares = torch.bincount(drawn - 20000, minlength=5) / 20000
    assert shares.tolist() == pytest.approx([w / sum(weights) for w in weights], abs=0.01)


def test_nothing_underflows_in_512_dimensions():
    """exp of the bare logarithms would be 0 or infinite in float32; the nearest negative beyond the cutoff takes all."""
    pairs = on_a_circle([1.38, 1.2, 0.9, 1.3], dim=512, num_positives=50)
    _, drawn = Margin(5).draw(pairs, pairs.distances())
    assert drawn.tolist() == [52] * 50
    weights = Margin(5).log_weights(torch.tensor([0.5, 1.4, 2.0, 2.1]), 512)
    assert weights.isfinite().all()
    assert (weights[0] - weights[1]).item() == pytest.approx(
        510 * math.log(1.4 / 0.5) + 254.5 * math.log((1 - 0.49) / (1 - 0.0625)), rel=1e-5
    )


def test_an_anchor_whose_negatives_are_all_far_draws_none_and_keeps_its_positives():
    pairs = on_a_circle([1.5, 1.9, 2.0], num_positives=3)
    rows, columns = Margin(4).draw(pairs, pairs.distances())
    assert rows.tolist() == columns.tolist() == []
    loss = Margin(4, beta=0.1)(pairs)
    assert loss.item() == pytest.approx(0.1, abs=1e-5)  # three times 0 - 0.1 + 0.2, over three terms


def test_the_same_step_draws_the_same_and_the_state_dict_says_which_step_it_is():
    pairs, loss = on_a_circle([0.9, 0.9, 0.9, 0.9], num_positives=50), Margin(5)

    def draws(of):
        return of.draw(pairs, pairs.distances())[1].tolist()

    first = draws(loss)
    assert draws(loss) == first
    loss.after_step()
    assert draws(loss) != first
    resumed = Margin(5)
    resumed.load_state_dict(copy.deepcopy(loss.state_dict()))
    assert draws(resumed) == draws(loss)


def test_the_boundaries_reach_the_optimiser_and_move():
    method = Baseline(Encoder("tiny"), [Term("margin", Margin(4), lr_factor=1000.0, weight_decay=0.0)])
    (group,) = [group for group in method.param_groups() if group["name"] == "margin"]
    assert group["lr_factor"] == 1000.0
    beta = method.losses["margin"].beta
    assert any(parameter is beta for parameter in group["params"])
    collapsed = Pairs.within(Rows.of(F.normalize(torch.ones(8, 16)), torch.arange(8) // 2))
    method.losses["margin"](collapsed).backward()
    torch.optim.SGD(group["params"], lr=0.1).step()
    assert beta.tolist() == pytest.approx([1.2 - 0.1 * 2 / 8] * 4)  # two of eight drawn negatives push each one


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2]])
def test_batch_without_both_kinds_of_pair_gives_zero_with_gradient_zero(classes):
    assert gives_zero(Margin(3), classes)


def test_cutoffs_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"CUTOFF is 1\.5, NONZERO_CUTOFF 1\.4"):
        Margin(3, cutoff=1.5)
