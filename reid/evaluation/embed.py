"""Pictures to embeddings: one pass over a list of samples, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, distributed
from tqdm import tqdm

from reid import escape, processes, runtime
from reid.data import loader
from reid.data.records import Sample


def embed(
    encode: Callable[[Tensor], Tensor],
    samples: Sequence[Sample],
    *,
    transform: Callable,
    batch_size: int = 64,
    workers: int = 0,
    device: torch.device | str = "cpu",
    autocast: torch.dtype | None = None,
    title: str = "embed",
) -> Tensor:
    """Embeds samples in their order: (N, D) float32 on the CPU; (N, *shape) where `encode` gives rows of another shape.

    Args:
        encode: images (B, 3, H, W) uint8 on `device` -> (B, D) or (B, *shape), in evaluation mode (the caller's duty).
        transform: from a decoded picture to (3, H, W) uint8, as `loader.image_batches` takes it.
        autocast: the type products are computed in, None for float32.
        title: what the progress bar says.
    Raises:
        ValueError: no samples, or an embedding that is not finite; the message names the files.
    With several processes each embeds its share and all of them get the whole; every process must call this.
    """
    if not samples:
        raise ValueError("embed: found no samples; expected one or more")
    device = torch.device(device)

    def compute(some: Sequence[Sample]) -> Tensor:
        batches = loader.image_batches(some, transform, batch_size=batch_size, workers=workers)
        return _embed(encode, batches, some, device, autocast, title)

    return compute(samples) if runtime.world() == 1 else _shared(compute, samples)


def _embed(
    encode: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    samples: Sequence[Sample],
    device: torch.device,
    autocast: torch.dtype | None,
    title: str,
) -> Tensor:
    """(N, *shape) float32 on the CPU."""
    embeddings = torch.empty(0, dtype=torch.float32)
    done = 0
    bar = tqdm(total=len(samples), desc=escape.line(title), unit="img", disable=None, leave=False, mininterval=0.5)
    with bar, torch.no_grad(), torch.autocast(device.type, dtype=autocast, enabled=autocast is not None):
        for images in batches:
            if device.type == "cuda":
                images = images.pin_memory()  # only from pinned memory does the copy run beside the computation
            rows = encode(images.to(device, non_blocking=True)).float()
            if not done:
                embeddings = torch.empty(len(samples), *rows.shape[1:], dtype=torch.float32)
            some = slice(done, done + len(rows))
            embeddings[some] = rows
            _refuse_unsound(embeddings[some], samples[some])
            done = some.stop
            bar.update(len(rows))
    assert done == len(samples), f"{done} embeddings of {len(samples)} samples"
    return embeddings


def _shared(compute: Callable[[Sequence[Sample]], Tensor], samples: Sequence[Sample]) -> Tensor:
    """Each process computes one run of the samples; all get all of them. A fault on one is raised on every one."""
    size = -(-len(samples) // runtime.world())
    mine = samples[runtime.rank() * size : (runtime.rank() + 1) * size]
    rows, fault = torch.empty(0, dtype=torch.float32), ""
    try:
        rows = compute(mine) if mine else rows
    except ValueError as error:
        fault = str(error)
    found: list[tuple[torch.Size, str]] = [(rows.shape, "")] * runtime.world()
    processes.agree()
    distributed.all_gather_object(found, (rows.shape[1:], fault))
    for _, told in found:
        if told:
            raise ValueError(told)
    padded = torch.zeros(size, *found[0][0], dtype=torch.float32)  # the first process has a share whenever there is one
    padded[: len(rows)] = rows if mine else padded[:0]
    return processes.gather({"rows": padded})["rows"][: len(samples)]


def _refuse_unsound(rows: Tensor, samples: Sequence[Sample]) -> None:
    unsound = (~rows.isfinite().flatten(1).all(dim=1)).nonzero().flatten().tolist()
    if unsound:
        files = ", ".join(samples[i].path for i in unsound[:5])
        more = f" and {len(unsound) - 5} more" if len(unsound) > 5 else ""
        raise ValueError(
            f"embed: found NaN or infinite embeddings for {files}{more}; expected finite values. "
            "Look at the pictures, the weights and the autocast type"
        )
