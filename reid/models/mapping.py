"""The mapping subnet: from a gallery picture's embedding to the classifier weights of its identity."""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FORMS = ("linear", "residual", "low_rank<r>", "mlp")


class Mapping(nn.Module):
    """h: (B, D) -> (B, D). It starts as the map that changes nothing; the length of what comes out is the caller's to decide.

    Args:
        dim: D.
        form: `linear`: h(x) = W x, the paper's. `residual`: x + A x. `low_rank32`: x + U V x with V (32, D). `mlp`:
            x + B relu(A x). In all but `linear` weight decay draws h towards the map that changes nothing.
    Raises ValueError for an unknown form, or a rank that is not 1 to D.
    Source: Song et al. 2019 (DIMN), section 3 as others relate it: one fully connected layer. Its bias, activation and
    start are not known to us: it has neither of the first two. The other forms are ours.
    """

    def __init__(self, dim: int, form: str = "linear") -> None:
        super().__init__()
        kind, _, digits = form.partition("low_rank")
        self.form = "low_rank" if digits else form
        if not (kind in ("linear", "residual", "mlp") or re.fullmatch(r"low_rank\d+", form)):
            raise ValueError(f"MAPPING: no {form}; there are {', '.join(FORMS)}")
        inner = int(digits) if digits else dim
        if not 1 <= inner <= dim:
            raise ValueError(f"MAPPING is {form}; expected a rank of 1 to {dim}, the embedding's size")
        # `outer` alone in the forms of one matrix; `outer` after `inner` in those of two.
        self.outer = nn.Parameter(torch.zeros(dim, inner))
        self.inner = nn.Parameter(torch.empty(inner, dim)) if self.form in ("low_rank", "mlp") else None
        if self.form == "linear":
            nn.init.eye_(self.outer)
        if self.inner is not None:
            nn.init.normal_(self.inner, std=dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "linear":
            return F.linear(x, self.outer)
        hidden = x if self.inner is None else F.linear(x, self.inner)
        return x + F.linear(F.relu(hidden) if self.form == "mlp" else hidden, self.outer)

    @torch.no_grad()
    def size(self) -> float:
        """How far h is from changing nothing: ||h - 1|| / ||1||, Frobenius norms; of `mlp` as if every unit were on."""
        if self.inner is None:
            change = (
                self.outer.norm().square() if self.form == "residual" else (self.outer - self._one()).norm().square()
            )
        else:
            # ||U V||^2 = tr(U'U V V'): nothing larger than the two matrices is made.
            change = ((self.outer.T @ self.outer) * (self.inner @ self.inner.T)).sum().clamp_min(0)
        return math.sqrt(change.item() / len(self.outer))

    @torch.no_grad()
    def limit(self, bound: float) -> None:
        """Brings h so near to changing nothing that `size` is at most `bound`."""
        size = self.size()
        if size > bound:
            rest = self._one() if self.form == "linear" else torch.zeros_like(self.outer)
            self.outer.copy_(rest + (self.outer - rest) * (bound / size))

    def _one(self) -> Tensor:
        return torch.eye(len(self.outer), dtype=self.outer.dtype, device=self.outer.device)
