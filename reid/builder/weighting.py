"""General pair weighting: any pair loss seen as a weight for each pair, and the picture of these weights.

Source: Wang et al. 2019, Multi-Similarity Loss with General Pair Weighting. A loss L of the similarities S has the
gradient of sum(W * S) with constant weights W = dL/dS.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import torch
from torch import Tensor

from reid.builder import registry
from reid.losses import PairLoss
from reid.pairs import Pairs

POSITIVE, NEGATIVE = (0.6, 0.8), (0.55, 0.4, 0.1)  # of the anchor in the picture; the first of each moves
DIM = 512


@dataclasses.dataclass(frozen=True)
class _Given(Pairs):
    """Pairs with similarities given instead of computed; distances follow from them and from the lengths of the rows."""

    given: Tensor

    def similarity(self) -> Tensor:
        return self.given

    def similarity_of(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.given[rows][:, columns]

    def distances(self) -> Tensor:
        lengths = self.anchors.square().sum(dim=1)[:, None] + self.refs.square().sum(dim=1)
        return (lengths - 2 * self.given).clamp_min(1e-12).sqrt()

    def columns(self, kept: Tensor) -> Pairs:
        return dataclasses.replace(super().columns(kept), given=self.given[:, kept])  # type: ignore[call-arg]

    def near(self, distance: float | Tensor) -> Pairs:
        """All of them: what is left out for speed has weight 0."""
        return self


def weights(loss: PairLoss, pairs: Pairs) -> Tensor:
    """(B, N) dL/dS: how strongly each pair is pushed apart (above 0) or pulled together (below 0)."""
    similarity = pairs.similarity().detach().requires_grad_(True)
    fields = {field.name: getattr(pairs, field.name) for field in dataclasses.fields(pairs)}
    (gradient,) = torch.autograd.grad(loss(_Given(**fields, given=similarity)), similarity)
    return gradient


def curve(loss: PairLoss, similarities: Tensor, *, positive: bool) -> Tensor:
    """(T,) weight of one positive, or negative, of an anchor at each of these similarities, its other pairs as they are.

    The anchor has two positives, at 0.6 and 0.8, and three negatives, each of a class of its own, at 0.55, 0.4 and 0.1.
    The first of the kind moves. All vectors have length 1.
    """
    moving = 0 if positive else len(POSITIVE)
    fixed = torch.tensor(POSITIVE + NEGATIVE, dtype=torch.float64)
    classes = torch.tensor([0] * len(POSITIVE) + [1, 2, 3])
    found = []
    for similarity in similarities:
        row = fixed.index_fill(0, torch.tensor(moving), float(similarity))
        refs = torch.zeros(len(row), DIM, dtype=torch.float64)
        refs[:, 0], refs[:, 1] = row, (1 - row.square()).sqrt()
        pairs = Pairs.between(torch.eye(1, DIM, dtype=torch.float64), classes[:1], refs, classes)
        found.append(weights(loss, pairs)[0, moving])
    return torch.stack(found)


def draw(path: str | Path, names: list[str] | None = None, *, points: int = 121) -> list[str]:
    """Writes the weights of `names` (every pair loss) with their default options, a panel each, and returns the names.

    The format is that of the path's ending. Raises ValueError for an unknown name, a loss that takes no pairs, a format
    that matplotlib does not write, or without matplotlib.
    """
    losses = {name: _loss(name) for name in names or _pair_losses()}
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("plots need matplotlib, which is not installed: pip install 'reid[plot]'") from None
    similarities = torch.linspace(-1, 1, points, dtype=torch.float64)
    columns = min(4, len(losses))
    rows = math.ceil(len(losses) / columns)
    figure = Figure(figsize=(2.9 * columns, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(losses) :]:
        panel.set_axis_off()
    for panel, (name, loss) in zip(panels, losses.items(), strict=False):
        panel.axhline(0, color="lightgray", linewidth=0.8)
        panel.plot(similarities, -curve(loss, similarities, positive=True), color="tab:blue", label="positive: -dL/dS")
        panel.plot(similarities, curve(loss, similarities, positive=False), color="tab:red", label="negative: dL/dS")
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelsize=7)
    panels[0].legend(fontsize=7)
    figure.supxlabel("cosine similarity of the pair", fontsize=9)
    figure.supylabel("weight of the pair", fontsize=9)
    figure.savefig(path, dpi=90)
    return list(losses)


def _pair_losses() -> list[str]:
    made = {name: registry.find("losses", name) for name in registry.names("losses")}
    return [name for name, maker in made.items() if isinstance(maker, type) and issubclass(maker, PairLoss)]


def _loss(name: str) -> PairLoss:
    loss = registry.make("losses", {"NAME": name}, num_classes=4, dim=DIM)
    if not isinstance(loss, PairLoss):
        raise ValueError(f"losses.{name} takes no pairs; pair losses are {', '.join(_pair_losses())}")
    return loss.double()
