"""DIMN as its tests make it: a tiny encoder, seven identities, batches of P identities with K pictures each."""

import torch
from torch.nn import functional as F

from reid.data.loader import Batch
from reid.losses import Term
from reid.losses.softmax import Softmax
from reid.methods.dimn import DIMN
from reid.models.encoder import Encoder

NUM_CLASSES = 7


def make(num_classes: int = NUM_CLASSES, losses=None, **options) -> DIMN:
    """With softmax among its losses unless others are given; its map is moved away from changing nothing."""
    torch.manual_seed(0)
    encoder = Encoder("tiny")
    terms = [Term("softmax", Softmax(num_classes, encoder.dim))] if losses is None else losses
    made = DIMN(encoder, terms, num_classes, **options)
    with torch.no_grad():
        made.mapping.outer += 0.05 * torch.randn_like(made.mapping.outer)
    return made


def batch(classes=(4, 0, 5), number: int = 2, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat_interleave(number)
    images = torch.randint(256, (len(labels), 3, 32, 16), generator=generator, dtype=torch.uint8)
    zeros = torch.zeros_like(labels)
    places = dict.fromkeys(("camids", "domains", "indices", "part", "roles"), zeros)
    return Batch(images=images, classes=labels, paths=["x"] * len(labels), **places)


def rows(number: int = 6, dim: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(number, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(stored=(0, 1, 4, 6), domains=None, **options) -> DIMN:
    """Rows of five dimensions in float64, some of them stored; domains of the seven identities, if they have any."""
    places = (
        {}
        if domains is None
        else {"classes": torch.arange(NUM_CLASSES).numpy(), "domains": torch.tensor(domains).numpy()}
    )
    made = make(**places, **options)
    if made.bank is not None:
        made.bank.rows = F.normalize(rows(8)[:NUM_CLASSES])
        made.bank.stored = torch.zeros(NUM_CLASSES, dtype=torch.bool)
        made.bank.stored[list(stored)] = True
        made.bank.rows[~made.bank.stored] = 0
    else:
        made.classifier.weight = torch.nn.Parameter(rows(8)[:NUM_CLASSES])
    return made


def both(method, one: Batch):
    """The losses and what is kept of a method's only phase."""
    (phase,) = method.phases(one)
    return phase.losses, phase.keep
