"""Conversions of normalisation layers: where they go, and each against a slow restatement in float64."""

import copy
import math

import pytest
import torch
from torch import nn

from reid.models import backbones
from reid.models.encoder import Encoder
from reid.models.norms import Conversion, _halves, of_domains
from reid.models.norms.bin import Bin, Gated
from reid.models.norms.domain_bn import DomainBatchNorm, DomainBn
from reid.models.norms.dual_norm import DualNorm
from reid.models.norms.ibn_a import HalfAndHalf, IbnA
from reid.models.norms.ibn_b import IbnB
from reid.models.norms.input import Input, InputNorm
from reid.models.norms.mixstyle import Mixstyle, StyleMix, partners
from reid.models.norms.stages import Stages
from reid.models.norms.stem import Stem

EVERY = [Input(True), Stem(), IbnA(), IbnB(), DualNorm(), Stages(affine=True), Bin(), Mixstyle(prob=1.0), DomainBn(2)]
IN_THE_STEM = ("stem", "ibn_b")  # which in `tiny` is an InstanceNorm already


def names(conversions):
    return [conversion.name for conversion in conversions]


def trained(num_features: int, layer: type[nn.BatchNorm2d] = nn.BatchNorm2d, **options) -> nn.BatchNorm2d:
    """A BatchNorm in float64 that has learned something."""
    torch.manual_seed(0)
    norm = layer(num_features, **options)
    for name, tensor in norm.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if name.endswith(("weight", "var")) else tensor.normal_()
    return norm.double()


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normalised(values: list[float], mean: float, variance: float, weight=1.0, bias=0.0, eps=1e-5) -> list[float]:
    return [(value - mean) / math.sqrt(variance + eps) * weight + bias for value in values]


def moments(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, sum((value - mean) ** 2 for value in values) / len(values)


def instance(x: torch.Tensor, weight, bias, eps=1e-5) -> torch.Tensor:
    """Each channel of each row by itself, number by number."""
    out = torch.empty_like(x)
    for row in range(x.shape[0]):
        for channel in range(x.shape[1]):
            values = x[row, channel].flatten().tolist()
            done = normalised(values, *moments(values), weight[channel].item(), bias[channel].item(), eps)
            out[row, channel] = torch.tensor(done, dtype=torch.float64).view_as(x[row, channel])
    return out


def batch(x: torch.Tensor, weight, bias, eps=1e-5) -> torch.Tensor:
    """Each channel over all rows, number by number."""
    out = torch.empty_like(x)
    for channel in range(x.shape[1]):
        values = x[:, channel].flatten().tolist()
        done = normalised(values, *moments(values), weight[channel].item(), bias[channel].item(), eps)
        out[:, channel] = torch.tensor(done, dtype=torch.float64).view_as(x[:, channel])
    return out


# ---- the layers


def test_input_equals_the_slow_loop_and_learns_if_it_is_asked():
    x = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(InputNorm(False)(x), instance(x, torch.ones(3), torch.zeros(3), eps=1e-4))
    assert not list(InputNorm(False).parameters())
    layer = InputNorm(True).double()
    torch.testing.assert_close(layer(x), InputNorm(False)(x))
    layer.weight.data.copy_(torch.tensor([1.0, 2.0, 3.0])[:, None, None])
    layer.bias.data.fill_(0.5)
    torch.testing.assert_close(layer(x), instance(x, torch.tensor([1, 2, 3]), torch.full((3,), 0.5), eps=1e-4))


@pytest.mark.parametrize("channels", [4, 5])
def test_ibn_a_equals_the_slow_loop(channels):
    norm = trained(channels, eps=1e-3)
    layer, x, half = HalfAndHalf(norm).double(), maps(3, channels, 4, 2), channels // 2
    w, b = norm.weight, norm.bias
    expected = [instance(x[:, :half], w[:half], b[:half], 1e-3), batch(x[:, half:], w[half:], b[half:], 1e-3)]
    torch.testing.assert_close(layer.train()(x), torch.cat(expected, dim=1))
    assert {"IN.weight", "IN.bias", "BN.weight", "BN.running_mean"} <= layer.state_dict().keys()
    layer = HalfAndHalf(norm).double().eval()
    torch.testing.assert_close(layer(x)[:, half:], norm.eval()(x)[:, half:])


@pytest.mark.parametrize("channels", [4, 5])
def test_ibn_a_of_maps_with_channels_last_equals_the_other_layout(channels):
    """Maps, running statistics and all gradients of one step, then the maps of another."""
    norm, weight = trained(channels, eps=1e-3), maps(3, channels, 4, 2).exp()
    steps = []
    for layout in (torch.contiguous_format, torch.channels_last):
        layer = HalfAndHalf(norm).double().train()
        layer.IN.weight.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(2))
        x = (5 + maps(3, channels, 4, 2)).contiguous(memory_format=layout).requires_grad_()
        assert _halves.fits(x) == (layout == torch.channels_last)
        out = layer(x)
        assert out.is_contiguous(memory_format=layout)
        (out * weight).sum().backward()
        steps.append([out, x.grad, *(p.grad for p in layer.parameters()), *layer.buffers()])
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other, check_stride=False)


def test_ibn_a_with_channels_last_has_right_gradients_of_both_orders():
    layer = HalfAndHalf(trained(3)).double().train()
    x = maps(2, 3, 2, 2).contiguous(memory_format=torch.channels_last).requires_grad_()

    def forward(x, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    given = (x, *(p.detach().clone().requires_grad_() for p in layer.parameters()))
    assert _halves.fits(x)
    assert torch.autograd.gradcheck(forward, given)
    assert torch.autograd.gradgradcheck(forward, given)


def test_ibn_a_of_frozen_statistics_takes_them_in_both_layouts():
    layer, x = HalfAndHalf(trained(4)).double().train(), maps(3, 4, 4, 2)
    layer.BN.eval()
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), layer(x), check_stride=False)


@pytest.mark.parametrize("gate", [1.0, 0.0, 0.3, -2.0, 5.0])
def test_bin_equals_the_slow_loop(gate):
    norm, x = trained(3), maps(2, 3, 4, 2)
    layer = Gated(norm).double().train()
    layer.gate.data.fill_(gate)
    layer.IN.weight.data.uniform_(0.5, 1.5)
    share = min(1.0, max(0.0, gate))
    by_batch, by_row = batch(x, norm.weight, norm.bias), instance(x, layer.IN.weight, layer.IN.bias)
    torch.testing.assert_close(layer(x), share * by_batch + (1 - share) * by_row)


def test_a_gate_of_one_is_the_batch_norm_before_and_can_learn():
    norm, x = trained(3), maps(2, 3, 4, 2)
    layer = Gated(norm).double()
    torch.testing.assert_close(layer.eval()(x), norm.eval()(x))
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), layer.gate)
    assert gradient.all()


def test_domain_bn_equals_the_slow_loop_and_averages_what_it_ran_on():
    norm, x = trained(3), maps(6, 3, 2, 2)
    domains = torch.tensor([0, 2, 0, 2, 2, 0])
    layer = DomainBatchNorm(norm, 3).double().train()
    start = [own.running_mean.clone() for own in layer.sets]
    with of_domains(layer, domains):
        found = layer(x)
    for domain in (0, 2):
        rows = domains == domain
        torch.testing.assert_close(found[rows], batch(x[rows], norm.weight, norm.bias))
        running = 0.9 * start[domain] + 0.1 * x[rows].mean((0, 2, 3))
        torch.testing.assert_close(layer.sets[domain].running_mean, running)
    assert torch.equal(layer.sets[1].running_mean, start[1])
    means = [sum(own.running_mean[c].item() for own in layer.sets) / 3 for c in range(3)]
    variances = [sum(own.running_var[c].item() for own in layer.sets) / 3 for c in range(3)]
    scored = layer.eval()(x)
    for c in range(3):
        values = x[:, c].flatten().tolist()
        done = normalised(values, means[c], variances[c], norm.weight[c].item(), norm.bias[c].item())
        assert scored[:, c].flatten().tolist() == pytest.approx(done)


def test_domain_bn_begins_as_the_batch_norm_before():
    norm, x = trained(3), maps(2, 3, 4, 2)
    torch.testing.assert_close(DomainBatchNorm(norm, 4).double().eval()(x), norm.eval()(x))


def test_with_one_domain_it_is_batch_norm():
    norm, x = trained(3), maps(4, 3, 2, 2).requires_grad_(True)
    layer = DomainBatchNorm(copy.deepcopy(norm), 1).double().train()
    with of_domains(layer, torch.zeros(4, dtype=torch.int64)):
        found = layer(x)
    expected = norm.train()(x)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad((value**3).sum(), x)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(layer.sets[0].running_var, norm.running_var)


def mixed_slowly(x: torch.Tensor, others: list[int], shares: list[float]) -> torch.Tensor:
    out = torch.empty_like(x)
    for row, (other, share) in enumerate(zip(others, shares, strict=True)):
        for channel in range(x.shape[1]):
            (mean, deviation), (their_mean, their_deviation) = (
                (values.mean().item(), math.sqrt(values.var(correction=1).item() + 1e-6))
                for values in (x[row, channel], x[other, channel])
            )
            scale = share * deviation + (1 - share) * their_deviation
            shift = share * mean + (1 - share) * their_mean
            out[row, channel] = (x[row, channel] - mean) / deviation * scale + shift
    return out


@pytest.mark.parametrize("across", [False, True])
def test_mixstyle_equals_the_slow_loop(across):
    x, domains = maps(6, 3, 4, 2).requires_grad_(True), torch.tensor([0, 0, 0, 1, 1, 1])
    layer = StyleMix(across, prob=1.0, alpha=0.1).train()
    torch.manual_seed(5)
    with of_domains(layer, domains):
        found = layer(x)
    torch.manual_seed(5)
    torch.rand(())
    others = (partners(domains) if across else torch.randperm(6)).tolist()
    shares = torch.distributions.Beta(0.1, 0.1).sample((6, 1, 1, 1)).flatten().tolist()
    expected = mixed_slowly(x.detach(), others, shares)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    # Style is given, not learned: the gradient is that of a scale and a shift that are constant.
    (gradient,) = torch.autograd.grad(found.sum(), x)
    slope = (found[:, :, 1, 1] - found[:, :, 0, 0]) / (x[:, :, 1, 1] - x[:, :, 0, 0])
    torch.testing.assert_close(gradient, slope[:, :, None, None].expand_as(x).detach(), rtol=1e-5, atol=1e-5)


def test_mixstyle_happens_while_training_and_as_often_as_it_is_asked():
    x, layer = maps(4, 2, 3, 3), StyleMix(False, prob=0.3, alpha=0.1)
    assert layer.eval()(x) is x
    layer.train()
    torch.manual_seed(0)
    assert sum(layer(x) is not x for _ in range(1000)) == pytest.approx(300, abs=50)


def test_of_two_halves_each_takes_the_other_and_every_row_is_taken_once():
    torch.manual_seed(0)
    seen = set()
    for _ in range(200):
        found = partners(torch.tensor([7, 7, 7, 2, 2, 2])).tolist()
        assert sorted(found) == [0, 1, 2, 3, 4, 5]
        assert all(i // 3 != j // 3 for i, j in enumerate(found))
        seen.add(tuple(found))
    assert len(seen) == 36  # 3! orders of either half


@pytest.mark.parametrize("domains", [[0, 1, 0, 2, 1, 2, 0], [3, 3, 1, 1, 0], [5, 5, 5, 5, 1], [4, 4, 4]])
def test_partners_are_of_other_domains_as_far_as_there_are_enough(domains):
    torch.manual_seed(0)
    largest = max(domains.count(d) for d in domains)
    for _ in range(50):
        found = partners(torch.tensor(domains)).tolist()
        assert sorted(found) == list(range(len(domains)))
        same = sum(domains[i] == domains[j] for i, j in enumerate(found))
        assert same == max(0, 2 * largest - len(domains))


# ---- where they go

PLACES = {
    ("stem", "resnet18"): ["bn1"],
    ("stem", "mobilenetv2_050"): ["bn1"],
    ("ibn_a", "resnet50"): [f"layer{s}.{b}.bn1" for s, n in ((1, 3), (2, 4), (3, 6)) for b in range(n)],
    ("ibn_a", "tiny"): ["conv.1", "block1.conv1.1"],
    ("ibn_b", "resnet18"): ["bn1", "layer1.0", "layer1.1", "layer2.0", "layer2.1"],
    ("dual_norm", "resnet50"): ["layer1.2", "layer2.3", "layer3.5"],
    ("dual_norm", "mobilenetv2_100"): [
        "bn1",
        *(f"blocks.{stage}.{block}" for stage, count in enumerate((1, 2, 3, 4, 3)) for block in range(count)),
    ],
    ("stages", "resnet18"): ["layer1", "layer2", "layer3"],
    ("stages", "tiny"): ["conv", "block1"],
    ("mixstyle", "resnet18"): ["layer1", "layer2"],
    ("mixstyle", "mobilenetv2_050"): ["blocks.0", "blocks.1"],
}


@pytest.mark.parametrize(("name", "network"), PLACES)
def test_places(name, network):
    (conversion,) = [conversion for conversion in EVERY if conversion.name == name]
    assert conversion.convert(backbones.build(network)) == PLACES[name, network]


def test_bin_and_domain_bn_take_every_batch_norm():
    for conversion, layer in ((Bin(), Gated), (DomainBn(3), DomainBatchNorm)):
        network = backbones.build("resnet18")
        assert len(conversion.convert(network)) == 20 == sum(isinstance(m, layer) for m in network.modules())


@torch.no_grad()
def test_instance_norm_stands_between_the_sum_and_its_activation():
    network = backbones.build("resnet18").eval()
    IbnB().convert(network)
    block, x = network.layer1[0], torch.randn(2, 64, 8, 4)
    block.act2.IN.weight.uniform_(0.5, 1.5), block.act2.IN.bias.normal_()
    inside = block.bn2(block.conv2(block.act1(block.bn1(block.conv1(x)))))
    torch.testing.assert_close(block(x), block.act2.IN(inside + x).relu())


@torch.no_grad()
def test_instance_norm_stands_behind_a_sum_without_activation():
    network = backbones.build("mobilenetv2_050").eval()
    plain = copy.deepcopy(network.blocks[1][1])
    DualNorm().convert(network)
    block, x = network.blocks[1][1], torch.randn(2, 16, 8, 4)
    torch.testing.assert_close(block(x), block.IN(plain(x)))
    assert isinstance(network.bn1[0], nn.InstanceNorm2d)
    assert isinstance(network.bn1[1][1], nn.ReLU6)


@torch.no_grad()
def test_what_is_learned_goes_on():
    network = backbones.build("mobilenetv2_050")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.uniform_(0.5, 1.5), layer.bias.normal_(), layer.running_mean.normal_()
    bn1, first = copy.deepcopy(network.bn1), copy.deepcopy(network.blocks[1][0].bn1)
    IbnA().convert(network), Stem().convert(network)
    assert torch.equal(network.bn1[0].weight, bn1.weight)
    half = network.blocks[1][0].bn1
    assert torch.equal(torch.cat([half.IN.weight, half.BN.weight]), first.weight)
    assert torch.equal(torch.cat([half.IN.bias, half.BN.bias]), first.bias)
    assert torch.equal(half.BN.running_mean, first.running_mean[24:])
    x = torch.randn(2, 48, 4, 4)
    assert half.train()(x).max() <= 6  # timm's layer holds the activation, which still follows
    torch.testing.assert_close(half(x)[:, 24:], first.train()(x)[:, 24:])


@torch.no_grad()
@pytest.mark.parametrize(("network", "place"), [("resnet18", "layer1"), ("tiny", "block1")])
def test_what_stands_after_a_place_is_passed_once(network, place):
    plain = backbones.build(network).eval()
    made = copy.deepcopy(plain)
    Stages([place], affine=True).convert(made)
    layer, calls = made.get_submodule(place).IN, []
    layer.weight.uniform_(0.5, 1.5), layer.bias.normal_()
    layer.register_forward_hook(lambda module, inputs, output: calls.append((inputs[0], output)))
    given = []
    plain.get_submodule(place).register_forward_hook(lambda module, inputs, output: given.append(output))
    images = torch.randn(2, 3, 64, 32)
    made(images), plain(images)
    ((before, after),) = calls
    torch.testing.assert_close(before, given[0])
    expected = instance(before.double(), layer.weight, layer.bias)
    torch.testing.assert_close(after.double(), expected, rtol=1e-4, atol=1e-5)


def test_places_are_found_whatever_was_converted_before():
    network = backbones.build("resnet18")
    Stages().convert(network), Mixstyle().convert(network)
    assert IbnA().convert(network) == [f"layer{stage}.{block}.bn1" for stage in (1, 2, 3) for block in (0, 1)]
    assert DualNorm().convert(network) == ["layer1.1", "layer2.1", "layer3.1"]


# ---- in an encoder


def pairs():
    """Every conversion with every network; one each is fast."""
    for conversion in EVERY:
        fast = "resnet18" if conversion.name in IN_THE_STEM else "tiny"
        yield pytest.param(fast, conversion, id=f"{conversion.name}-{fast}")
        for network in ("resnet18", "mobilenetv2_050")[fast == "resnet18" :]:
            yield pytest.param(network, conversion, id=f"{conversion.name}-{network}", marks=pytest.mark.slow)


@pytest.mark.parametrize(("network", "conversion"), list(pairs()))
def test_it_trains_scores_exports_and_comes_back(network, conversion):
    torch.manual_seed(0)
    made = Encoder(network, norms=[conversion])
    for name, parameter in made.backbone.named_parameters():
        if parameter.ndim == 1 and not name.endswith("bias"):  # timm starts some scales at 0; gates start at 1
            parameter.data.uniform_(0.3, 0.7)
    images, domains = torch.randint(256, (4, 3, 64, 32), dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
    made.train()(images, domains)["after"].mul(torch.randn(4, made.dim)).sum().backward()
    without = [name for name, p in made.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not [name for name in without if "IN." in name or "gate" in name or "input_norm" in name]
    other = copy.deepcopy(made)
    made.eval(), other.eval()
    with torch.no_grad():
        expected = made(images)["after"]
        other.neck.running_mean.fill_(9.0)
        assert not torch.equal(other(images)["after"], expected), "a copy is another one"
        fresh = Encoder(network, norms=[conversion]).eval()
        fresh.load_state_dict(made.state_dict())
        assert torch.equal(fresh(images)["after"], expected)
    program = torch.export.export(made, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    torch.testing.assert_close(program.module()(images[:3])["after"], expected[:3], atol=1e-4, rtol=1e-4)
    assert conversion.name in repr(made)


def test_conversions_work_one_after_the_other():
    made = Encoder("resnet18", norms=[Input(), IbnA(), Stages(), Mixstyle(), Bin()])
    assert isinstance(made.backbone.layer1[0].bn1.BN, Gated)  # what IBN-a left of it
    assert [type(m).__name__ for m in made.backbone.layer1.children()][-2:] == ["InstanceNorm2d", "StyleMix"]
    assert made(torch.rand(2, 3, 64, 32))["after"].isfinite().all()


@pytest.mark.parametrize("conversions", [[IbnA()], [Bin(), Stages(affine=True)], [DomainBn(2)]], ids=names)
def test_weights_of_a_network_before_or_after_its_conversion(tmp_path, conversions):
    torch.manual_seed(0)
    plain, converted = Encoder("resnet18"), Encoder("resnet18", norms=conversions)
    for number, encoder in enumerate((plain, converted)):
        torch.save({"model": encoder.state_dict()}, tmp_path / f"{number}.pth")
    after = Encoder("resnet18", norms=conversions, weights=tmp_path / "1.pth")
    assert all(torch.equal(v, after.state_dict()[k]) for k, v in converted.state_dict().items())
    before = Encoder("resnet18", norms=conversions, weights=tmp_path / "0.pth")
    assert torch.equal(before.backbone.layer4[1].conv2.weight, plain.backbone.layer4[1].conv2.weight)
    with pytest.raises(ValueError, match=r"do not fit backbone resnet18: .*unexpected"):
        Encoder("resnet18", weights=tmp_path / "1.pth")
    with pytest.raises(ValueError, match="do not fit backbone resnet50 with "):
        Encoder("resnet50", norms=conversions, weights=tmp_path / "1.pth")


def test_a_layer_that_goes_by_domains_says_so_where_it_is_given_none():
    for conversion in (DomainBn(2), Mixstyle(mix="crossdomain", prob=1.0)):
        made = Encoder("tiny", norms=[conversion])
        with pytest.raises(ValueError, match="needs the domains of a batch, and this METHOD gives its encoder none"):
            made.train()(torch.rand(2, 3, 64, 32))
        made.eval()(torch.rand(2, 3, 64, 32))  # while scoring there is nothing to know


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norms": [Stem()]}, "norms.stem: found stem.1, a InstanceNorm2d, as the first .*, expected a BatchNorm"),
        ({"norms": [Mixstyle(["block3"])]}, "norms.mixstyle: found no place block3 .*stages are conv, block1, block2"),
        ({"norms": [Stages(["block1", "pool"])]}, "norms.stages: found no place pool in the backbone"),
        ({"norms": [IbnA(["stem"])]}, "norms.ibn_a: found no BatchNorm .* there are 6 BatchNorm2d, 1 InstanceNorm2d"),
        ({"norms": [Input(), Input()]}, "norms.input: found it twice"),
        ({"norms": [Stages(), Stages()]}, "norms.stages: found IN there already"),
        ({"norms": [IbnA()], "freeze_bn": True}, "norms.ibn_a replaces BatchNorms, which freeze_bn keeps"),
        ({"backbone": "convnext_atto", "norms": [Bin()]}, "norms.bin: found no BatchNorm; there are .*LayerNorm2d"),
        (
            {"backbone": "convnext_atto", "norms": [IbnA()]},
            "norms.ibn_a: found too few stages to choose from in the backbone; its stages are stages, and any module",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused(options, message):
    with pytest.raises(ValueError, match=message) as error:
        Encoder(**{"backbone": "tiny", **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixstyle(mix="cross"), "MIX: no cross; there are random, crossdomain"),
        (lambda: Mixstyle(prob=1.5), "found PROB 1.5"),
        (lambda: Mixstyle(alpha=0.0), "ALPHA 0.0"),
        (lambda: DualNorm("vgg"), "FORM: found 'vgg', expected mobilenet, resnet or nothing"),
    ],
)
def test_options_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_frozen_network_can_have_what_leaves_its_batch_norms_alone():
    made = Encoder("resnet18", freeze_bn=True, norms=[Input(), Stages(), Mixstyle()]).train()
    assert not made.backbone.bn1.training
    assert made.backbone.layer1.IN.training


def test_every_file_makes_one_conversion():
    assert len({type(conversion) for conversion in EVERY}) == len(EVERY) == len(Conversion.__subclasses__())
