"""What timm's networks are asked to do here, one after another: from scratch at each size a training step, one in bf16, vectors that are
searched, and an export in each format that is compared with torch. A row says what came of each; no time is taken.

    python benchmarks/backbones.py                                  # all of NAMES at 256x128 and 128x64, twenty minutes or so
    python benchmarks/backbones.py --name vit_tiny_patch16_224 --formats onnx pt2 openvino
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from reid import optim
from reid.data.loader import Batch
from reid.export import folder
from reid.losses import Term
from reid.losses.softmax import Softmax
from reid.losses.triplet import Triplet
from reid.methods.baseline import Baseline
from reid.models.encoder import Encoder
from reid.step import Step, phases

NAMES = (
    *("vit_tiny_patch16_224", "vit_small_patch16_224"),
    *("deit_tiny_patch16_224", "deit3_small_patch16_224"),
    *("eva02_tiny_patch14_224", "eva02_small_patch14_224"),
    *("vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"),
    *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256"),
    *("vit_xsmall_patch16_clip_224", "vit_base_patch16_clip_224", "resnet50_clip"),
    *("convnext_atto", "convnextv2_atto"),
    *("mobilevit_xxs", "mobilevitv2_050"),
)
SIZES = ((256, 128), (128, 64))
CLASSES = torch.tensor([0, 0, 1, 1])
TRAINING = {
    **dict.fromkeys(("checkpoint", "sha256", "pretrained", "fingerprint"), "none"),
    **{"step": 1, "method": {"NAME": "baseline"}, "sources": [], "protocol": {}, "results": [], "norms": []},
    **{"plugins": [], "processes": 1, "average": 0.0},
}
ABOUT = {"interpolation": "bilinear", "crop": 1.0, "flip": False, "pictures": "noise", "bilinear": None}
COLUMNS = "{:32}{:>9}{:>9}{:>12}  {:24}{}"


def pictures(num: int, size: tuple[int, int]) -> Tensor:
    """(num, 3, *size) uint8: coarse squares, each picture of its own colours."""
    coarse = torch.randint(0, 256, (num, 3, size[0] // 16, size[1] // 16), dtype=torch.uint8)
    return coarse.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)


def make(name: str, size: tuple[int, int]) -> Baseline:
    torch.manual_seed(0)
    encoder = Encoder(name, size=size)
    terms = [Term("softmax", Softmax(2, encoder.dim)), Term("triplet", Triplet())]
    return Baseline(encoder, terms)


def step(method: Baseline, size: tuple[int, int], precision: torch.dtype | None) -> str:
    """One of the trainer's on four pictures; "yes" where the gradient and what it moves stay finite, and all that has one moves."""
    zeros = torch.zeros(4, dtype=torch.int64)
    batch = Batch(pictures(4, size), CLASSES, zeros, zeros, torch.arange(4), zeros, zeros, ["noise"] * 4)
    taking = Step(method, optim.optimizer(method.param_groups(), name="adamw", lr=1e-4, weight_decay=0.01))
    before = [p.detach().clone() for group in method.param_groups() for p in group["params"]]
    (phase,) = phases(method.train(), batch, precision)
    norm = taking(torch.stack([*phase.losses.values()]).sum())
    after = [p for group in method.param_groups() for p in group["params"]]
    # What lies before a norm that timm starts at 0 has no gradient in the first step.
    stayed = sum(
        torch.equal(one, p) and p.grad is not None and bool(p.grad.any()) for one, p in zip(before, after, strict=True)
    )
    finite = all(p.isfinite().all() for p in after) and bool(norm.isfinite())
    return "yes" if finite and not stayed else f"{stayed} stayed, {'' if finite else 'not '}finite"


def found(method: Baseline, size: tuple[int, int]) -> str:
    """ "yes" where each of six pictures finds its like, lighter by one grey level, first among six, by vectors of length 1."""
    images = pictures(6, size).clamp(max=254)
    with torch.inference_mode():
        queries, gallery = method.eval().encode_query(images + 1), method.encode_gallery(images)
    first = (queries @ gallery.T).argmax(1)
    unit = (queries.norm(dim=1) - 1).abs().max() < 1e-5
    return "yes" if unit and torch.equal(first, torch.arange(6)) else f"first {first.tolist()}"


def exported(method: Baseline, size: tuple[int, int], formats: Sequence[str]) -> str:
    """Each format's largest difference from torch, where the card has the size."""
    if not formats:
        return "-"
    with tempfile.TemporaryDirectory() as place:
        about = {**ABOUT, "training": {**TRAINING, "backbone": type(method.encoder.backbone).__name__}}
        images = pictures(folder.NUM_PICTURES, size)
        card = folder.write(method, Path(place), formats=formats, pictures=images, about=about)
    assert card["input"]["size"] == list(size)
    return ", ".join(f"{max(graph['differences']):.0e}" for graph in card["graphs"])


def gives(encoder: Encoder, size: tuple[int, int]) -> str:
    with torch.inference_mode():
        return "x".join(map(str, encoder.eval().backbone(torch.zeros(1, 3, *size)).shape[1:]))


def row(name: str, size: tuple[int, int], formats: Sequence[str]) -> str:
    method = make(name, size)
    millions = sum(p.numel() for p in method.encoder.parameters()) / 1e6
    steps = "/".join(step(method, size, precision) for precision in (None, torch.bfloat16))
    cells = [name, "{}x{}".format(*size), f"{millions:.1f} M", gives(method.encoder, size)]
    return COLUMNS.format(*cells, f"{steps}, {found(method, size)}", exported(method, size, formats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", nargs="+", default=NAMES, metavar="NAME", help="only these of timm's networks")
    parser.add_argument("--size", nargs="+", default=["256x128", "128x64"], metavar="HxW", help="of pictures")
    parser.add_argument(
        "--formats", nargs="*", default=["onnx"], help="none, or some of onnx, pt2, openvino, torchscript"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(COLUMNS.format("backbone", "size", "weights", "gives", "step/in bf16, found", "+ ".join(args.formats)))
    for name in args.name:
        for size in args.size:
            height, width = map(int, size.split("x"))
            try:
                print(row(name, (height, width), args.formats), flush=True)
            except (ValueError, RuntimeError) as error:
                print(COLUMNS.format(name, size, "", "", "", str(error).splitlines()[0]), flush=True)


if __name__ == "__main__":
    main()
