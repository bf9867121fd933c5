"""Pictures a second: this project's loader against PIL with torchvision's v1 transforms in a DataLoader of the same size.

Both decode a 128x64 JPEG, resize to 256x128, flip, pad by 10 and crop, in batches of 64. The peer goes on to normalised
float tensors. Ours hands on uint8, because the encoder normalises on its device, four times less to send; the case
`one-thread-float` adds that step to ours, so that both sides end at the same kind of tensor.
The pictures are drawn into a temporary folder. Workers are started before the clock; an epoch is 2,048 pictures.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import _bench
import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as tv

from reid.data.augment.crop import Crop
from reid.data.augment.flip import Flip
from reid.data.loader import Loader
from reid.data.records import Sample
from reid.data.samplers.shuffle import Shuffle
from reid.data.sources import TrainSet
from reid.data.transforms import Train

NUM_PICTURES, BATCH = 2048, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PilPictures(Dataset):
    """The usual re-id pipeline: PIL decodes, torchvision v1 transforms."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.transform = tv.Compose(
            [
                tv.Resize((256, 128)),
                tv.RandomHorizontalFlip(),
                tv.Pad(10),
                tv.RandomCrop((256, 128)),
                tv.ToTensor(),
                tv.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def draw_pictures() -> list[str]:
    """JPEGs of 128x64 about as large as Market-1501's (2 to 3 kB): smooth shapes and some grain."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{number:05d}.jpg") for number in range(NUM_PICTURES)]
    for path in paths:
        coarse = rng.integers(0, 256, (8, 4, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (64, 128), interpolation=cv2.INTER_CUBIC).astype(float)
        grain = rng.normal(0, 4, image.shape)
        cv2.imwrite(path, np.clip(image + grain, 0, 255).astype(np.uint8))
    return paths


def normalised(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) uint8 in channels_last -> float32; row by row, as three channels alone are too short to vectorise."""
    batch, _, height, width = images.shape
    mean, std = (torch.tensor(values).repeat(width) * 255 for values in (MEAN, STD))
    rows = images.permute(0, 2, 3, 1).reshape(batch, height, width * 3)
    return rows.float().sub_(mean).mul_(1 / std).view(batch, height, width, 3).permute(0, 3, 1, 2)


def prepare(workers: int, normalise: bool):
    """(ours, peer): each runs one epoch; no answer to compare, as OpenCV and PIL resize differently."""
    torch.set_num_threads(1)
    paths = draw_pictures()
    labels = np.arange(len(paths))
    zeros = np.zeros_like(labels)
    train_set = TrainSet(tuple(Sample(path, 0, None) for path in paths), labels, zeros, zeros, ("drawn",))
    transform = Train(augment=[Flip(), Crop()])
    loader = Loader(train_set, transform, Shuffle(labels, zeros, zeros, BATCH, 0), seed=0, workers=workers)
    theirs = DataLoader(
        PilPictures(paths), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True
    )

    def ours() -> int:
        pictures = 0
        for batch in loader.epoch(0):
            images = normalised(batch.images) if normalise else batch.images
            pictures += len(images)
        return pictures

    def peer() -> int:
        return sum(len(images) for images in theirs)

    return ours, peer


if __name__ == "__main__":
    PEER = "PIL + torchvision v1"
    CASES = [
        _bench.Case("two-workers-uint8", PEER, lambda: prepare(2, False)),
        _bench.Case("one-thread-uint8", PEER, lambda: prepare(0, False)),
        _bench.Case("one-thread-float", PEER, lambda: prepare(0, True)),
    ]
    _bench.main(CASES, __doc__)
