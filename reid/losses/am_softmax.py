"""Additive margin softmax, which is also CosFace."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from reid.losses import ClassLoss
from reid.losses._cosine import cosines, directions, on_own


class AMSoftmax(ClassLoss):
    """Cross-entropy of scaled cosines, the own class's lowered by a margin.

    Args:    margin: in units of cosine. scale: of all cosines.
             label_smoothing: share of the target spread evenly over all classes.
             pr_product: cosines of the same value, whose gradient is multiplied by the sine: what already points along a
             class's row turns no further.
             confidence_penalty: so many times the entropy of what is predicted is taken off each row's loss, down to 0.
    Source:  Wang et al. 2018, Additive Margin Softmax, with the margin and scale of the authors' released setting. The
             same formula is CosFace (Wang et al. 2018), whose usual setting is 0.35 and 64.
             pr_product: Wang et al. 2019 (PR Product), as s c + c (1 - s) with the first sine s and the second cosine c held
             constant. confidence_penalty: Pereyra et al. 2017, with 0.3, the PR product and a smoothing of 0.1 in Sovrasov and
             Sidnev 2020 (arXiv 2003.07618).
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        margin: float = 0.35,
        scale: float = 30.0,
        label_smoothing: float = 0.0,
        pr_product: bool = False,
        confidence_penalty: float = 0.0,
    ):
        super().__init__()
        self.weight = directions(num_classes, dim)
        self.margin, self.scale, self.label_smoothing = margin, scale, label_smoothing
        self.pr_product, self.confidence_penalty = pr_product, confidence_penalty

    def forward(self, embeddings: Tensor, classes: Tensor) -> Tensor:
        near = cosines(embeddings, self.weight)  # (B, C)
        if self.pr_product:
            held = near.detach()
            sine = (1 - held.square()).clamp_min(0).sqrt()
            near = sine * near + held * (1 - sine)
        logits = self.scale * on_own(near, classes, lambda own: own - self.margin)
        if not self.confidence_penalty:
            return F.cross_entropy(logits, classes, label_smoothing=self.label_smoothing)
        rows = F.cross_entropy(logits, classes, label_smoothing=self.label_smoothing, reduction="none")
        entropy = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)
        return F.relu(rows - self.confidence_penalty * entropy).mean()

    def logits(self, embeddings: Tensor) -> Tensor:
        return self.scale * cosines(embeddings, self.weight)
