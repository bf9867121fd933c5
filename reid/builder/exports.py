"""From a checkpoint to what others use: an export's folder, or a model in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from reid import checkpoint, config, runtime, shipped
from reid.builder import objects, plugins, registry, runs
from reid.data.loader import read_image
from reid.evaluation import protocol, report
from reid.export import card as cards
from reid.export import folder, precision, trackers
from reid.export.graphs import OPSET
from reid.export.model import Encode, Identity, Model
from reid.methods import Method


@runtime.single_precision()
def export(
    weights: str | Path,
    output: str | Path,
    *,
    formats: Sequence[str] = ("onnx",),
    input_kind: str = "float",
    opset: int = OPSET,
    average: bool = False,
    bits: str = "fp32",
    calibrate: int = precision.USUAL,
    score: bool = False,
    overrides: Sequence[str] = (),
) -> cards.Card:
    """Writes the checkpoint `weights` into the folder `output`, see `reid.export.folder.write`; returns its card.

    average: the running average of the weights, also where TEST.EMA of the run did not ask for it.
    bits: fp32, fp16 or int8, for which so many pictures of the sources `calibrate` the ranges of activations.
    score: scores the targets by the checkpoint and by the export, whose card then has both; of a lower precision only.
    overrides: KEY VALUE ... on top of the checkpoint's config, such as DATASETS.ROOT.
    """
    runtime.start_log(None)
    weights = shipped.find(weights)
    folder.check_request(Path(output), formats, input_kind, opset, bits, calibrate)
    words = [*overrides, *(["TEST.EMA", "true"] if average else [])]
    cfg, method, content = _restore(weights, words)
    num = folder.NUM_PICTURES if bits == "fp32" else folder.NUM_COMPARED
    raw, origin = _pictures(cfg, num)
    learned, calibrated = _calibration(cfg, content, calibrate) if bits == "int8" else ([], None)
    transform = objects.test_transform(cfg)

    def stacked(images: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack([transform(image) for image in images])).permute(0, 3, 1, 2)

    pictures = stacked(raw)
    bilinear = trackers.compare(_neck(method), transform, tuple(cfg.INPUT.SIZE), raw[: folder.NUM_PICTURES])
    lower: cards.Card = {"name": bits, "compared": origin, "calibrated": calibrated, "scores": []}
    about = {
        "interpolation": cfg.INPUT.INTERPOLATION,
        "crop": cfg.INPUT.TEST_CROP,
        "flip": cfg.TEST.FLIP,
        "pictures": origin,
        "bilinear": bilinear,
        "training": _training(cfg, content, weights),
        **({} if bits == "fp32" else {"precision": lower}),
    }
    card = folder.write(
        method,
        Path(output),
        formats=formats,
        input_kind=input_kind,
        opset=opset,
        pictures=pictures,
        about=about,
        bits=bits,
        calibration=stacked(learned) if learned else None,
    )
    _say_bilinear(bilinear)
    runtime.log.info("checked on %s; %s says how to use them", origin, Path(output) / cards.MARKDOWN_NAME)
    if score:
        rows = [*runs.score(None, weights, words), *runs.score(cfg, output)]
        lower["scores"] = [row for row in rows if row["kind"] == "dataset" and "rescoring" not in row]
        card = {**card, "precision": lower}
        cards.write(Path(output), card)
    return card


@runtime.single_precision()
def load(path: str | Path, device: str = "auto") -> Model:
    """Opens a checkpoint as `reid.load` does; device: auto, cpu, cuda or cuda:N."""
    path = shipped.find(path)
    cfg, method, _ = _restore(path)
    place = runtime.device(device)
    method.to(place).eval()

    def side(encode: Callable[[Tensor], Tensor]) -> Encode:
        def run(images: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return encode(torch.from_numpy(images).to(place)).cpu().numpy()

        return run

    query = side(method.encode_query)
    sides = {"query": query, "gallery": side(method.encode_gallery) if method.asymmetric else query}
    dim = query(np.zeros((1, 3, *cfg.INPUT.SIZE), np.uint8)).shape[1]
    about = f"{cfg.METHOD.NAME} on {cfg.MODEL.BACKBONE.NAME} from a checkpoint, {place}"

    def identity() -> Identity:
        return {
            "sha256": cards.sha256(path),
            "about": about,
            "path": str(path.absolute()),
            "preprocessing": {
                "size": list(cfg.INPUT.SIZE),
                "interpolation": cfg.INPUT.INTERPOLATION,
                "crop": cfg.INPUT.TEST_CROP,
                "flip": cfg.TEST.FLIP,
            },
            "terms": [_source(entry) for entry in cfg.DATASETS.SOURCES],
            "calibration": [],
        }

    transform = objects.test_transform(cfg)
    return Model(sides, transform, dim=dim, about=about, encoder=method.encoder, identity=identity)


def _restore(path: str | Path, overrides: Sequence[str] = ()) -> tuple[CfgNode, Method, dict[str, Any]]:
    """A checkpoint's config, method and content; none of its data sets is needed."""
    content = checkpoint.load(path)
    cfg = config.parse(content["config"], overrides)
    num_classes = sum(len(pids) for pids in content["label_map"].values())
    with checkpoint.opening(path):
        method = objects.method(cfg, num_classes=num_classes, num_samples=content["num_samples"], weights="none")
    folder.check_method(method)
    checkpoint.load_state(method, checkpoint.weights(content, path, average=cfg.TEST.EMA), path)
    plugins.say(registry.origins(cfg, without=("DATASETS.SOURCES", "DATASETS.TARGETS", "LOGGERS")), content)
    return cfg, method, content


# ---- what the graphs are checked on


def _say_bilinear(bilinear: dict[str, float]) -> None:
    said = f"cosine to the vectors of trackers, which resize bilinearly: {bilinear['mean']} in the mean, {bilinear['least']} at least"
    if bilinear["least"] >= trackers.ENOUGH:
        runtime.log.info("%s", said)
        return
    runtime.log.warning(
        "warning: %s; expected %s or more: train with INPUT.INTERPOLATION bilinear and TEST_CROP 1, or resize as the card says",
        said,
        trackers.ENOUGH,
    )


def _pictures(cfg: CfgNode, num: int) -> tuple[list[np.ndarray], str]:
    """`num` pictures (H, W, 3) uint8 of the first target found on disk, and what they are; drawn ones where none is."""
    for entry in cfg.DATASETS.TARGETS:
        block = registry.entry(entry, "DATASETS.TARGETS")
        if block["NAME"] == "walkers" and not Path(cfg.DATASETS.WALKERS_ROOT).is_dir():
            continue  # reading it would draw it
        try:
            (dataset,) = objects.datasets(cfg, [block])
            samples = dataset.trials[0].query
            samples = [samples[i * len(samples) // num] for i in range(num)]
            images = [read_image(sample.path) for sample in samples]
        except (OSError, ValueError) as error:
            runtime.log.info("the check cannot use %s: %s", block["NAME"], error)
        else:
            return images, f"{len(samples)} pictures of {dataset.name}"
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (num, 8, 4, 3), dtype=np.uint8)
    drawn = [cv2.resize(colours, tuple(cfg.INPUT.SIZE[::-1])) for colours in coarse]
    return drawn, f"{len(drawn)} drawn patches of colour (no target on disk)"


def _calibration(cfg: CfgNode, content: dict[str, Any], num: int) -> tuple[list[np.ndarray], str]:
    """`num` pictures (H, W, 3) uint8 that the checkpoint was trained on, spread over its sources, and what they are."""
    sets = objects.datasets(cfg, cfg.DATASETS.SOURCES)
    strange = [dataset.name for dataset in sets if dataset.name not in content["label_map"]]
    if strange:
        raise ValueError(
            f"DATASETS.SOURCES: found {', '.join(strange)}, expected sets that the checkpoint was trained on"
        )
    samples = [sample for dataset in sets for sample in dataset.train]
    if len(samples) < num:
        raise ValueError(
            f"--calibrate: found {len(samples)} pictures in the sources, expected {num}; ask for fewer, at least "
            f"{precision.FEWEST}"
        )
    images = [read_image(samples[i * len(samples) // num].path) for i in range(num)]
    return images, f"{num} pictures of the sources {', '.join(dataset.name for dataset in sets)}"


def _neck(method: Method) -> Callable[[np.ndarray], np.ndarray]:
    """The embedding behind the neck, before a method makes a side of it: its cosine tells how alike two pictures are."""

    def embed(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return method.eval().encoder(torch.from_numpy(images))["after"].numpy()

    return embed


# ---- what the card says of the training


def _training(cfg: CfgNode, content: dict[str, Any], weights: Path) -> cards.Card:
    step = content["progress"]["step"]
    return {
        "checkpoint": weights.name,
        "sha256": cards.sha256(weights),
        "step": step,
        "processes": content["processes"],
        "method": dict(cfg.METHOD),
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "norms": [_worded(registry.entry(entry, "MODEL.NORM")) for entry in cfg.MODEL.NORM],
        "average": cfg.SOLVER.EMA if cfg.TEST.EMA else 0.0,
        "pretrained": Path(
            cfg.MODEL.INIT or cfg.MODEL.BACKBONE.WEIGHTS
        ).name,  # the name says enough; where it lay is nobody's business
        "plugins": content.get("plugins", []),
        "sources": [_source(entry) for entry in cfg.DATASETS.SOURCES],
        "protocol": content["protocol"],
        "fingerprint": protocol.fingerprint(content["protocol"]),
        "notes": content["notes"],
        "results": _results(weights.parent / "results.jsonl", step) if "results" not in content else content["results"],
    }


def _source(entry: str | dict[str, Any]) -> cards.Card:
    """Name and terms of a source, from its file's CARD: the pictures need not be here."""
    block = registry.entry(entry, "DATASETS.SOURCES")
    card = registry.card(block["NAME"])
    return {"name": _worded(block), "title": card.title, "terms": card.terms, "page": card.page, "status": card.status}


def _worded(block: dict[str, Any]) -> str:
    """An entry as `NAME OPTION value OPTION value`."""
    return " ".join([block["NAME"], *(f"{key} {value}" for key, value in block.items() if key != "NAME")])


def _results(path: Path, step: int) -> list[cards.Card]:
    """The last rows of each data set, and of their mean, that were scored at `step`."""
    if not path.is_file():
        return []
    rows = [row for row in report.read(path) if row["step"] == step and row["kind"] in ("dataset", "mean")]
    return list({(row["kind"], row["dataset"], row["metric"]): row for row in rows}.values())
