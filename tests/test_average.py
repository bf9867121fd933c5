"""The running average of weights against a slow loop in float64; what it leaves out; weights that are held."""

import contextlib
import copy
import itertools

import pytest
import torch
from torch import nn

from reid import optim
from reid.average import Average
from reid.freeze import Freeze
from reid.methods import Method
from reid.step import Step


class Net(Method):
    only_training = ("queue",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)
        self.queue = nn.BatchNorm1d(4)
        self.fixed = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("bank", torch.zeros(2))

    def forward(self, rows):
        return self.last(self.norm(self.first(rows)))

    def param_groups(self):
        return [{"name": "all", "params": [p for p in self.parameters() if p.requires_grad]}]


def walk(net, average, steps):
    """Moves the weights at random after each forward, which moves the statistics; gives the states that were averaged."""
    torch.manual_seed(1)
    states = [copy.deepcopy(net.state_dict())]
    for step in range(steps):
        net(torch.randn(6, 3))
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        average.update(step)
        states.append(copy.deepcopy(net.state_dict()))
    return states


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_average_equals_a_slow_loop_and_takes_what_learns_and_batch_norms_statistics(decay):
    net = Net()
    average = Average(net, decay)
    states = walk(net, average, 30)
    learned = {f"{layer}.{name}" for layer in ("first", "norm", "last") for name in ("weight", "bias")}
    assert average.values.keys() == learned | {"norm.running_mean", "norm.running_var"}
    for name, value in average.values.items():
        slow = states[0][name].double()
        for step, state in enumerate(states[1:]):
            share = min(decay, (1 + step) / (10 + step))
            slow = share * slow + (1 - share) * state[name].double()
        torch.testing.assert_close(value.double(), slow, rtol=1e-5, atol=1e-6)


def test_hand_checked_first_step():
    """(1 + 0) / (10 + 0) of the start, 0.9 of what came: 0.1 * 2 + 0.9 * 4 = 3.8."""
    net = Net()
    net.last.bias.data.fill_(2.0)
    average = Average(net, 0.999)
    net.last.bias.data.fill_(4.0)
    average.update(0)
    assert average.values["last.bias"].tolist() == pytest.approx([3.8, 3.8])


def test_it_stands_in_place_of_the_weights_only_within():
    net = Net()
    average = Average(net, 0.9)
    last = walk(net, average, 5)[-1]
    with contextlib.suppress(KeyboardInterrupt), average.in_place():
        assert all(torch.equal(net.state_dict()[name], value) for name, value in average.values.items())
        assert torch.equal(net.fixed, last["fixed"])
        raise KeyboardInterrupt
    assert all(torch.equal(value, last[name]) for name, value in net.state_dict().items())


def test_it_goes_on_from_its_values():
    net, other = Net(), Net()
    whole, part = Average(net, 0.9), Average(other, 0.9)
    walk(net, whole, 5)
    part.load(whole.values)
    other.load_state_dict(net.state_dict())
    for average, moved in ((whole, net), (part, other)):
        moved.last.bias.data.add_(1)
        average.update(5)
    assert all(torch.equal(value, part.values[name]) for name, value in whole.values.items())
    with pytest.raises(KeyError):
        part.load({})


# ---- freeze


def train(net, freeze, steps, name="adam"):
    """As the trainer does; the states before each step and after the last."""
    step = Step(net, optim.optimizer(net.param_groups(), name=name, lr=0.1, weight_decay=0.1))
    torch.manual_seed(2)
    states = []
    net.train()
    for number in range(steps):
        freeze(number)
        states.append(copy.deepcopy(net.state_dict()))
        step(net(torch.randn(6, 3)).square().mean())
    return [*states, net.state_dict()]


@pytest.mark.parametrize("name", optim.NAMES)
def test_held_weights_do_not_move_nor_do_their_statistics(name):
    net = Net()
    states = train(net, Freeze(net, [("first.*", 2), ("norm.*", 3)]), 5, name)

    def moved(key):
        return [not torch.equal(a[key], b[key]) for a, b in itertools.pairwise(states)]

    assert moved("last.weight") == [True] * 5
    assert moved("first.weight") == [False] * 2 + [True] * 3
    assert moved("norm.weight") == moved("norm.running_mean") == [False] * 3 + [True] * 2
    assert moved("fixed") == [False] * 5


def test_a_norm_with_anything_that_learns_goes_by_the_batch():
    net = Net()
    states = train(net, Freeze(net, [("norm.bias", 3)]), 3)
    assert torch.equal(states[0]["norm.bias"], states[3]["norm.bias"])
    assert not torch.equal(states[0]["norm.running_mean"], states[1]["norm.running_mean"])


def test_of_two_patterns_the_longer_holds_and_what_never_learned_stays_so():
    net = Net()
    freeze = Freeze(net, [("*", 1), ("first.*", 4), ("first.bias", 2)])
    assert [freeze.holds(p, 3) for p in net.first.parameters()] == [True, True]
    assert [freeze.holds(net.last.bias, step) for step in (0, 1)] == [True, False]
    freeze(9)
    assert not net.fixed.requires_grad


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            ("backbone.*", 5),
            r"'backbone\.\*' for 5 steps, which matches 0 .* first\.weight, first\.bias, \.\.\., queue\.bias",
        ),
        (("first.*", 0), r"for 0 steps, which matches 2 parameters; expected some, for 1 step or more"),
    ],
)
def test_a_pattern_without_parameters_and_no_steps_are_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        Freeze(Net(), [entry])


def test_a_phase_with_nothing_left_to_move_is_refused():
    net = Net()
    with pytest.raises(ValueError, match=r"found a phase that learns all, all of which SOLVER\.FREEZE holds"):
        train(net, Freeze(net, [("*", 1)]), 1)
