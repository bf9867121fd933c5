"""Each augmentation on 1,000 pictures of 256x128, on one thread, beside torchvision's where it has the operation.

Seconds for 1,000 pictures: 0.0300 is 30 microseconds a picture. Every picture is changed (PROB 1) and its draws are part of
the time; the pictures are smooth shapes with some grain. The peer is torchvision.transforms.v2, on PIL pictures or on uint8
tensors, whichever is faster there; the conversion from and to either is not timed. No answers to compare, as draws differ.
"""

from __future__ import annotations

import warnings
from functools import partial

import _bench
import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from reid.builder import registry
from reid.data.transforms import Train

SIZE, NUM_PICTURES = (256, 128), 1000
PIL, TENSOR = "torchvision, PIL", "torchvision, uint8 tensor"
# name -> what torchvision has for it, and on what; None: nothing.
PEERS = {
    "augmix": (TENSOR, lambda: v2.AugMix()),
    "blur": (TENSOR, lambda: v2.GaussianBlur(13, (0.1, 2.0))),
    "crop": (PIL, lambda: v2.RandomCrop(SIZE, padding=10)),
    "erasing": (TENSOR, lambda: v2.RandomErasing(p=1.0)),
    "figures": None,
    "flip": (TENSOR, lambda: v2.RandomHorizontalFlip(p=1.0)),
    "grey_patch": None,
    "greyscale": (TENSOR, lambda: v2.Grayscale(3)),
    "grid": None,
    "jitter": (PIL, lambda: v2.ColorJitter(0.3, 0.3, 0.3, 0.1)),
    "jpeg": (TENSOR, lambda: v2.JPEG((30, 95))),
    "padding": None,
    "rand_augment": (PIL, lambda: v2.RandAugment(2, 10, num_magnitude_bins=31)),
    "resized_crop": (TENSOR, lambda: v2.RandomResizedCrop(SIZE)),
    "resolution": None,
    "rotation": (PIL, lambda: v2.RandomRotation(5, interpolation=InterpolationMode.BILINEAR)),
}


def prepare(name: str):
    """(ours, peer): each changes all pictures once."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    warnings.filterwarnings("ignore", category=UserWarning)
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(50):
        coarse = rng.integers(0, 256, (8, 4, 3)).astype(np.uint8)
        image = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC) + rng.normal(0, 4, (*SIZE, 3))
        pictures.append(np.clip(image, 0, 255).astype(np.uint8))
    always = {"PROB": 1.0} if "PROB" in registry.options("data/augment", name) else {}
    step = registry.make("data/augment", {"NAME": name, **always}, size=SIZE)
    transform, draws = Train(SIZE, augment=[step]), np.random.default_rng(0)

    def ours() -> None:
        for number in range(NUM_PICTURES):
            transform(pictures[number % len(pictures)], draws)

    if PEERS[name] is None:
        return ours, None
    kind, make = PEERS[name]
    theirs = [
        Image.fromarray(p) if kind == PIL else torch.from_numpy(p).permute(2, 0, 1).contiguous() for p in pictures
    ]
    operation = make()

    def peer() -> None:
        for number in range(NUM_PICTURES):
            operation(theirs[number % len(theirs)])

    return ours, peer


CASES = [
    _bench.Case(name, peer and peer[0], partial(prepare, name), repeats=3, memory=False) for name, peer in PEERS.items()
]

if __name__ == "__main__":
    _bench.main(CASES, __doc__ or "")
