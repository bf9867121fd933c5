"""The picture of the weights that pair losses give to pairs (`PairLoss.weights`)."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from reid import escape
from reid.builder import registry
from reid.losses import PairLoss
from reid.pairs import Pairs, Rows

POSITIVE, NEGATIVE = (0.6, 0.8), (0.55, 0.4, 0.1)  # of the anchor in the picture; the first of each moves
DIM = 512


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
        anchor = Rows.of(torch.eye(1, DIM, dtype=torch.float64), classes[:1])
        found.append(loss.weights(Pairs.between(anchor, Rows.of(refs, classes)))[0, moving])
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
        raise ValueError("plots need matplotlib, which is not installed: pip install matplotlib") from None
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
        panel.set_title(escape.plot(name), fontsize=9)
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
