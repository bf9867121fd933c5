"""What methods with a row for each identity share: which domain an identity is of, and what the rows begin with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reid.memory import IdentityBank


def domains_of(num_classes: int, classes: np.ndarray | None, domains: np.ndarray | None) -> Tensor:
    """(C,) int64 the domain of each class, by those of the training samples (N,); 0 for all where they are not known."""
    found = torch.zeros(num_classes, dtype=torch.int64)
    if classes is not None and domains is not None:
        found[torch.from_numpy(classes)] = torch.from_numpy(domains)
    return found


def fill_by_means(bank: IdentityBank, rows: Tensor, classes: np.ndarray | None) -> None:
    """Every row of the bank becomes the mean of its class's `rows` (N, D), brought to length 1.

    Raises ValueError where the classes (N,) are not known.
    """
    if classes is None:
        raise ValueError("found no classes of the training samples; expected the argument `classes`")
    bank.fill(torch.zeros(bank.rows.shape).index_add_(0, torch.from_numpy(classes), rows.float().cpu()))
