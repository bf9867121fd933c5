"""A set of BatchNorm statistics for each domain; their average where the domain is not known."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.models.norms import Conversion, OfDomains, _places


class DomainBn(Conversion):
    """Every BatchNorm keeps statistics of each source; scale and shift are common to all.

    While training a row is normalised by the rows of its own domain in the batch. While scoring, where the domain is new,
    by the plain averages of all domains' running means and running variances.
    Source:  statistics of each domain as in META (Xu et al. 2022) and ReNorm (ECCV 2024), averages while scoring as in the
             latter. Ours: nothing but statistics differs between domains, so that scoring is one BatchNorm.
    """

    changes_batch_norm = True

    def __init__(self, num_domains: int) -> None:
        self.num_domains = num_domains

    def convert(self, network: nn.Module) -> list[str]:
        found = _places.batch_norms(network)
        if not found:
            raise ValueError(f"found no BatchNorm; there are {_places.layers(network)}")
        for path, layer in found.items():
            _places.replace(network, path, DomainBatchNorm(layer, self.num_domains))
        return list(found)


class DomainBatchNorm(OfDomains):
    """(B, C, h, w) -> (B, C, h, w). Every domain begins with the statistics of the BatchNorm before."""

    def __init__(self, layer: nn.Module, num_domains: int) -> None:
        super().__init__()
        norm, self.then = _places.plain(layer)
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.sets = nn.ModuleList()
        kept = {key: value for key, value in norm.state_dict().items() if key not in ("weight", "bias")}
        for _ in range(num_domains):
            own = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, affine=False)
            own.load_state_dict(kept)
            self.sets.append(own)

    def forward(self, maps: Tensor) -> Tensor:
        return self.then(self._by_batch(maps) if self.training else self._by_averages(maps))

    def _by_batch(self, maps: Tensor) -> Tensor:
        if self.domains is None:
            raise ValueError("domain_bn needs the domains of a batch, and this METHOD gives its encoder none")
        normalised = torch.zeros_like(maps)
        for domain, own in enumerate(self.sets):
            rows = (self.domains == domain).nonzero().flatten()
            if len(rows):
                normalised = normalised.index_copy(0, rows, own(maps[rows]))
        return normalised * self.weight[:, None, None] + self.bias[:, None, None]

    def _by_averages(self, maps: Tensor) -> Tensor:
        means, variances = ([getattr(own, name) for own in self.sets] for name in ("running_mean", "running_var"))
        mean, variance = torch.stack(means).mean(0), torch.stack(variances).mean(0)
        return F.batch_norm(maps, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
