"""MixStyle: while training, a picture takes on part of another one's style at places inside the network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid.models.norms import Conversion, OfDomains, _places

PARTNERS = ("random", "crossdomain")


class Mixstyle(Conversion):
    """Mean and deviation of each channel of a map are mixed with those of another row. While scoring nothing happens.

    Args:    after: paths in the backbone; empty: the first two stages.
             mix: `random`: the other row is any of the batch. `crossdomain`: it is of another domain, see `partners`.
             prob: how often a batch is mixed, at each place by itself. alpha: of the Beta distribution that shares come from.
    Source:  Zhou et al. 2021 (MixStyle). crossdomain there takes a batch of two halves, one domain each, and is the
             same on such; ours takes any batch.
    """

    def __init__(self, after: Sequence[str] = (), mix: str = "random", prob: float = 0.5, alpha: float = 0.1) -> None:
        if mix not in PARTNERS:
            raise ValueError(f"MIX: no {mix}; there are {', '.join(PARTNERS)}")
        if not 0 <= prob <= 1 or alpha <= 0:
            raise ValueError(f"found PROB {prob} and ALPHA {alpha}, expected 0 to 1, and more than 0")
        self.places, self.options = tuple(after), (mix == "crossdomain", prob, alpha)

    def convert(self, network: nn.Module) -> list[str]:
        modules = _places.named(network, self.places, lambda known: known[:2])
        for path in _places.channels(network, modules):
            _places.after(modules[path], "mixstyle", StyleMix(*self.options))
        return list(modules)


class StyleMix(OfDomains):
    """(B, C, h, w) -> (B, C, h, w). All draws come from torch's generator of the CPU, whatever the device."""

    def __init__(self, across: bool, prob: float, alpha: float) -> None:
        super().__init__()
        self.across, self.prob, self.alpha = across, prob, alpha

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training or torch.rand(()) >= self.prob:
            return maps
        others = self._others(len(maps)).to(maps.device)
        share = torch.distributions.Beta(self.alpha, self.alpha).sample((len(maps), 1, 1, 1))
        wide = maps.detach().to(torch.promote_types(maps.dtype, torch.float32))
        variance, mean = torch.var_mean(wide, dim=(2, 3), keepdim=True)  # unbiased, (B, C, 1, 1)
        own, deviation = share.to(mean), (variance + 1e-6).sqrt()
        mixed_deviation = own * deviation + (1 - own) * deviation[others]
        mixed_mean = own * mean + (1 - own) * mean[others]
        return ((maps - mean) / deviation * mixed_deviation + mixed_mean).to(maps.dtype)

    def _others(self, count: int) -> Tensor:
        if not self.across:
            return torch.randperm(count)
        if self.domains is None:
            raise ValueError(
                "mixstyle: MIX crossdomain needs the domains of a batch, and this METHOD gives its encoder none"
            )
        return partners(self.domains.cpu())


def partners(domains: Tensor) -> Tensor:
    """(B,) int64: for each row another one, each row once; of another domain as far as no domain has more than half the rows.

    Rows that take and rows that give are each put in a random order within their domains, and each takes from as many
    places further as the largest domain has rows: of two halves any row of one takes any of the other.
    """
    takers, givers = (order[domains[order].argsort(stable=True)] for order in map(torch.randperm, [len(domains)] * 2))
    found = torch.empty_like(takers)
    found[takers] = givers.roll(-int(domains.bincount().max()))
    return found
