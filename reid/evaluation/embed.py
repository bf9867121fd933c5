"""Pictures to embeddings: one pass over a list of samples, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from reid.data import loader
from reid.data.records import Sample

UNIT = 1e-3  # how far from 1 the lengths may lie for the rows to count as normalised


def embed(
    encode: Callable[[Tensor], Tensor],
    samples: Sequence[Sample],
    *,
    transform: Callable,
    batch_size: int = 64,
    workers: int = 0,
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
    flip: bool = False,
    title: str = "embed",
) -> Tensor:
    """Embeds samples in their order: (N, D) float32 on the CPU.

    Args:
        encode: images (B, 3, H, W) uint8 on `device` -> (B, D), in evaluation mode (the caller's duty).
        transform: from a decoded picture to (3, H, W) uint8, as `loader.image_batches` takes it.
        autocast: the type products are computed in, None for float32.
        flip: average what `encode` gives for each picture and its mirror image. See `_average`.
        title: what the progress bar says.
    Raises:
        ValueError: no samples, or an embedding that is not finite; the message names the files.
    """
    if not samples:
        raise ValueError("embed: found no samples; expected one or more")
    device = torch.device(device)
    embeddings = torch.empty(0)
    done = 0
    batches = loader.image_batches(samples, transform, batch_size=batch_size, workers=workers)
    bar = tqdm(total=len(samples), desc=title, unit="img", disable=None, leave=False, mininterval=0.5)
    with torch.inference_mode(), bar:
        for images in batches:
            if device.type == "cuda":
                images = images.pin_memory()  # only from pinned memory does the copy run beside the computation
            images = images.to(device, non_blocking=True)
            with torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
                rows = encode(images)
                if flip:
                    rows = _average(rows, encode(images.flip(-1)))
            if not done:
                embeddings = torch.empty(len(samples), rows.shape[1])
            embeddings[done : done + len(rows)] = rows
            _refuse_unsound(embeddings[done : done + len(rows)], samples[done : done + len(rows)])
            done += len(rows)
            bar.update(len(rows))
    assert done == len(samples), f"{done} embeddings of {len(samples)} samples"
    return embeddings.clone()  # an ordinary tensor: one made in inference mode cannot take part in training


def _average(rows: Tensor, mirrored: Tensor) -> Tensor:
    """The mean of a picture's and its mirror image's rows; scaled back to length 1 where the encoder normalises.

    Then the score is the cosine between the two means, and no picture counts less because its two views differ.
    """
    rows, mirrored = rows.float(), mirrored.float()
    mean = (rows + mirrored) / 2
    normalised = bool(((rows.norm(dim=1) - 1).abs() < UNIT).all())
    return F.normalize(mean) if normalised else mean


def _refuse_unsound(rows: Tensor, samples: Sequence[Sample]) -> None:
    unsound = (~rows.isfinite().all(dim=1)).nonzero().flatten().tolist()
    if unsound:
        files = ", ".join(samples[i].path for i in unsound[:5])
        more = f" and {len(unsound) - 5} more" if len(unsound) > 5 else ""
        raise ValueError(
            f"embed: found NaN or infinite embeddings for {files}{more}; expected finite values. "
            "Look at the pictures, the weights and the autocast type"
        )
