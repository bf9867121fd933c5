"""Checkpoints and run folders of VERSION 1, those of release 0.1.0, in today's words: all that is known of them is here.

They can be scored, exported and used as weights. No run goes on from them.
"""

from __future__ import annotations

from typing import Any

# The keys of INPUT that became INPUT.AUGMENT, and their defaults.
AUGMENT = {"FLIP": 0.5, "PAD": 10, "CROP_SCALE": [], "COLOR_JITTER": [0.0] * 4, "JITTER_PROB": 1.0, "ERASING": 0.0}
# The options that METHOD dimn no longer has. A mapping of other than one matrix is refused by what `state` finds of it.
DIMN = ("IDENTITY", "LABEL_SMOOTHING", "MAPPING_DEPTH", "MAPPING_BIAS", "MAPPING_ACTIVATION", "MAPPING_START")
NAMES = {"classifier.weight": "losses.softmax.weight", "mapping.0.weight": "mapping.outer"}  # of its state
# What every checkpoint tells; the rest is for going on.
KEPT = ("config", "protocol", "notes", "label_map", "num_samples", "model")


def config(dump: dict[str, Any]) -> dict[str, Any]:
    """A config as a run dumped it: of VERSION 1 as the same run, draw for draw, is said today; any other as it is."""
    block = dump.get("INPUT")
    if not isinstance(block, dict) or not AUGMENT.keys() & block.keys():
        return dump
    try:
        return {**dump, "INPUT": _input(block), **_model(dump), **_test(dump), **_dimn(dump)}
    except (AttributeError, TypeError, ValueError) as error:  # a block that is none, a list that is none
        raise ValueError(f"config: of VERSION 1, but it holds what no run of it says: {error}") from None


def content(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds, without what only its run could go on from. Its config's text stays as it is: `config`."""
    kept = {name: checkpoint[name] for name in KEPT if name in checkpoint}
    progress = {
        "epoch": 0,
        "batch": 0,
        "step": 0,
        "best": 0.0,
        "lengths": {},
        "counts": {},
        "skipped": 0,
        "in_a_row": 0,
    }
    own = checkpoint.get("progress")
    progress |= {name: own[name] for name in progress if isinstance(own, dict) and name in own}
    return {**kept, "progress": progress, "plugins": [], "processes": 0}


def state(model: dict[str, Any]) -> dict[str, Any]:
    """A method's state under today's names. Raises ValueError for a mapping that METHOD dimn no longer has."""
    found: dict[str, Any] = {}
    for name, value in model.items():
        if name.startswith("mapping.") and name not in NAMES:
            raise ValueError(
                f"its METHOD dimn has {name}, of a MAPPING_DEPTH above 1 or a MAPPING_BIAS; expected one matrix, which is all "
                "that this release has: score it with what wrote it"
            )
        if name.endswith(".seen"):  # of a bank: what was filled counted as visited
            found |= {name.replace(".seen", ".stored"): value, name.replace(".seen", ".visited"): value.clone()}
        elif name != "unusable":  # a counter of the log
            found[NAMES.get(name, name)] = value
    return found


def _input(block: dict[str, Any]) -> dict[str, Any]:
    flip, pad, scale, jitter, jitter_prob, erasing = (block.get(key, default) for key, default in AUGMENT.items())
    steps: list[dict[str, Any]] = [{"NAME": "resized_crop", "SCALE": scale}] if scale else []
    steps.append({"NAME": "flip", "PROB": flip})
    if pad and not scale:
        steps.append({"NAME": "crop", "PAD": pad})
    if any(jitter):
        strengths = dict(zip(("BRIGHTNESS", "CONTRAST", "SATURATION", "HUE"), jitter, strict=True))
        steps.append({"NAME": "jitter", **strengths, "PROB": jitter_prob})
    if erasing:
        steps.append({"NAME": "erasing", "PROB": erasing})
    return {**{key: value for key, value in block.items() if key not in AUGMENT}, "AUGMENT": steps}


def _model(dump: dict[str, Any]) -> dict[str, Any]:
    """MODEL with INSTANCE_NORM among its norms."""
    block = dict(dump.get("MODEL", {}))
    norm = ["input"] if block.pop("INSTANCE_NORM", False) else []
    return {"MODEL": {**block, "NORM": norm}}


def _test(dump: dict[str, Any]) -> dict[str, Any]:
    """TEST with the keys that FROZEN names where they are now."""
    block = dump.get("TEST", {})
    moved = {**{f"INPUT.{key}": "INPUT.AUGMENT" for key in AUGMENT}, "MODEL.INSTANCE_NORM": "MODEL.NORM"}
    return {"TEST": {**block, "FROZEN": list(dict.fromkeys(moved.get(key, key) for key in block.get("FROZEN", [])))}}


def _dimn(dump: dict[str, Any]) -> dict[str, Any]:
    """METHOD dimn with its identity loss among LOSSES."""
    method = dump.get("METHOD", {})
    if method.get("NAME") != "dimn":
        return {}
    weight, smoothing = method.get("IDENTITY", 1.0), method.get("LABEL_SMOOTHING", 0.0)
    softmax = {"NAME": "softmax", "WEIGHT": weight, "LABEL_SMOOTHING": smoothing}
    kept = {key: value for key, value in method.items() if key not in DIMN}
    return {"METHOD": {**kept, "FIRST_VISIT": "blend"}, "LOSSES": [softmax] if weight else []}
