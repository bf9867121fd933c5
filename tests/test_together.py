"""Two processes start equal, learn from the mean of their gradients, and hear of each other's end."""

import contextlib
import os
import socket

import pytest
import torch
from torch import distributed, multiprocessing, nn

from reid import optim, processes, runtime
from reid.errors import AnotherStopped
from reid.methods import Method
from reid.step import LossScale, Step, clip


class Net(Method):
    def __init__(self):
        super().__init__()
        self.conv, self.part, self.idle = nn.Conv2d(3, 4, 2), nn.Linear(3, 1), nn.Linear(2, 2)
        self.register_buffer("memory", torch.randn(5))
        self.to(memory_format=torch.channels_last)

    def param_groups(self):
        groups = {name: [*getattr(self, name).parameters()] for name in ("conv", "part", "idle")}
        return [{"name": name, "params": params, "local": name == "part"} for name, params in groups.items()]


def exchanges(rank):
    """What one process sees of every exchange."""
    torch.manual_seed(rank)
    net = Net()
    processes.copy_first([*net.conv.parameters(), *net.idle.parameters(), *net.buffers()])
    seen = {"start": {name: value.clone() for name, value in net.state_dict().items()}}
    seen["sum"] = processes.add_up({"a": torch.tensor(rank == 1), "b": torch.tensor(2.5)})
    seen["rows"] = processes.gather({"rows": torch.full((2,), rank)})["rows"]
    seen["first"] = processes.from_first(lambda: {"made by": torch.tensor(rank)})
    seen["agreed"] = processes.agree(7 * rank)
    seen["all"] = processes.from_all({"of": torch.tensor(rank)})
    seen["averaged"] = [torch.tensor([1.0, 2.0 * rank]), torch.tensor(4.0 * rank)]
    processes.average(seen["averaged"])

    generator = torch.Generator().manual_seed(10 + rank)
    own = [torch.randn(p.shape, generator=generator) for p in net.parameters()]
    for p, gradient in zip(net.parameters(), own, strict=True):
        p.grad = gradient.clone(memory_format=torch.preserve_format)
    net.conv.bias.grad = None if rank else net.conv.bias.grad
    net.idle.weight.grad = None
    seen["own"] = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    processes.average_gradients([*net.conv.parameters(), *net.idle.parameters()])
    seen["mean"] = [None if p.grad is None else p.grad.clone() for p in net.parameters()]
    seen["norm"] = clip(net.param_groups(), 0.5)
    seen["clipped"] = [None if p.grad is None else p.grad.clone() for p in net.parameters()]

    before = net.part.weight.detach().clone()
    step = Step(net, optim.optimizer(net.param_groups(), name="sgd", lr=0.1, weight_decay=0.0), fp16=True)
    huge = 1e36 if rank else 1.0  # overflows here alone, in a part that the other does not have
    norm = step(huge * net.part(torch.ones(3)).sum() + net.conv(torch.ones(1, 3, 2, 2)).sum())
    seen["skipped"] = (bool(norm.isfinite()), step.scale.value, torch.equal(before, net.part.weight))
    return seen


def fall(rank, how):
    """One stops; returns how this process ended."""
    try:
        with processes.together():
            if how == "mendable" and rank == 1:
                raise ValueError("a bad picture")
            if how == "bug" and rank == 1:
                raise KeyError("x")
            if how == "maker":
                processes.from_first(lambda: [][0])
            if how == "both":
                raise ValueError(f"of {rank}")
            processes.gather({"rows": torch.zeros(2)})
            processes.agree()
    except Exception as error:
        return type(error).__name__, str(error)
    return None


FALLS = ("mendable", "bug", "maker", "both")


def work(rank, folder, port):
    torch.set_num_threads(1)
    os.environ.update(RANK=f"{rank}", WORLD_SIZE="2", LOCAL_RANK=f"{rank}", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    seen = {}
    with contextlib.suppress(AnotherStopped), processes.together():
        seen = exchanges(rank)
        raise AnotherStopped("so that the group goes on")
    seen["falls"] = [fall(rank, how) for how in FALLS]
    torch.save(seen, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    multiprocessing.spawn(work, (str(folder), port), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_what_is_copied_is_that_of_the_first(both):
    one, two = (seen["start"] for seen in both)
    equal = {name for name, value in one.items() if torch.equal(value, two[name])}
    assert one.keys() - equal == {"part.weight", "part.bias"}
    torch.manual_seed(0)
    assert torch.equal(one["memory"], Net().memory)


def test_numbers_rows_and_makings_are_shared(both):
    for seen in both:
        assert seen["sum"] == {"a": 1, "b": 5}
        assert seen["rows"].tolist() == [0, 0, 1, 1]
        assert seen["first"] == {"made by": 0}
        assert seen["agreed"] == 7
        assert seen["all"] == [{"of": 0}, {"of": 1}]
        assert [value.tolist() for value in seen["averaged"]] == [[1.0, 1.0], 2.0]


def test_gradients_are_averaged_and_a_missing_one_counts_as_nothing(both):
    names = [name for name, _ in Net().named_parameters()]
    for name, one, two, *means in zip(
        names, both[0]["own"], both[1]["own"], both[0]["mean"], both[1]["mean"], strict=True
    ):
        if name == "idle.weight":
            assert means == [None, None]
        elif name.startswith("part"):
            assert torch.equal(means[0], one)
            assert torch.equal(means[1], two)
        else:
            assert torch.equal(*means)
            assert torch.allclose(means[0], (one + two) / 2 if two is not None else one / 2)


def test_clipping_knows_all_parts_of_a_local_group(both):
    local = [name.startswith("part") for name, _ in Net().named_parameters()]
    pieces = [g for g, own in zip(both[0]["mean"], local, strict=True) if g is not None and not own]
    for seen in both:
        pieces += [g for g, own in zip(seen["mean"], local, strict=True) if own]
    norm = torch.cat([piece.flatten() for piece in pieces]).norm()
    for seen in both:
        assert seen["norm"].item() == pytest.approx(norm.item(), rel=1e-6)
        for before, after in zip(seen["mean"], seen["clipped"], strict=True):
            assert before is None or torch.allclose(after, before * 0.5 / norm, rtol=1e-5)


def test_an_overflow_of_one_is_an_overflow_of_all(both):
    assert [seen["skipped"] for seen in both] == [(False, LossScale.START / 2, True)] * 2


def test_one_that_stops_tells_the_others_why(both):
    ends = dict(zip(FALLS, zip(*(seen["falls"] for seen in both), strict=True), strict=True))
    assert ends["mendable"] == (("AnotherStopped", "process 1 stopped: a bad picture"), ("ValueError", "a bad picture"))
    assert ends["bug"] == (("AnotherStopped", "process 1 stopped: KeyError: 'x'"), ("KeyError", "'x'"))
    assert ends["maker"][0][0] == "IndexError"
    assert ends["maker"][1] == ("AnotherStopped", "process 0 stopped: IndexError: list index out of range")
    assert ends["both"] == (("ValueError", "of 0"), ("ValueError", "of 1"))


def test_alone_everything_is_given_back():
    assert runtime.world() == 1
    rows = {"rows": torch.ones(2)}
    weight = nn.Parameter(torch.ones(1))
    processes.average_gradients([weight])
    assert weight.grad is None
    assert processes.gather(rows) is rows
    assert processes.add_up(rows) is rows
    processes.average([weight])
    assert weight.item() == 1
    assert processes.from_all(5) == [5]
    assert processes.agree(3) == 3
    assert processes.from_first(lambda: 4) == 4
    with pytest.raises(KeyError), processes.together():
        raise KeyError
