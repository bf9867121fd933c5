"""Every key of a config: its default, its unit, one line each; and `load`, which reads one safely.

yacs keeps the tree, freezes it and reads its values. Around it stands what yacs does not do: only `.yaml` is read (yacs
would execute a `.py`), `_BASE_` names the file a config starts from, overrides reach into lists and free blocks, an int
is fine where a float is the default, a list where a tuple was written, and an unknown key is answered with the nearest.
`configs/...` names a recipe of the package where the working folder has no such file.

A block with a NAME (METHOD, SAMPLER, an entry of LOSSES, AUGMENT, SOURCES or TARGETS) is free: its other keys are the options
of the file it names, and `reid.builder` checks them against that file's constructor. An entry is reached by its number, in a
file (`LOSSES: {1: {MARGIN: 0.5}}`) as in an override (`LOSSES.1.MARGIN 0.5`); the number after the last adds one.
"""

from __future__ import annotations

import ast
import copy
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from reid import version1

# The recipes: reid/configs where the package was installed, configs/ beside reid/ in a checkout.
_HERE = Path(__file__).resolve().parent
RECIPES = next(
    (folder for folder in (_HERE / "configs", _HERE.parent / "configs") if folder.is_dir()), _HERE / "configs"
)

Overrides = Sequence[str] | Mapping[str, Any]  # KEY VALUE KEY VALUE ... as typed, or {KEY: value} as Python has it

FREE_BLOCKS = ("METHOD", "SAMPLER")
# What a stage of SOLVER.STAGES may say, and the key that it stands in for.
STAGE = {
    key: f"SOLVER.{key}" for key in ("EPOCHS", "LR", "SCHEDULE", "STEPS", "GAMMA", "WARMUP_STEPS", "WARMUP_FACTOR")
}
STAGE |= {"SAMPLER": "SAMPLER", "AUGMENT": "INPUT.AUGMENT"}
NAMED_LISTS = "INPUT.VIEWS."  # below it any name is a list
# Keys that went, and what says the same now. Files and overrides with one are refused; `parse` translates them.
MOVED = {
    "INPUT.FLIP": "INPUT.AUGMENT: [{NAME: flip, PROB: 0.5}, ...]",
    "INPUT.PAD": "INPUT.AUGMENT: [..., {NAME: crop, PAD: 10}, ...]; as an override of the default list INPUT.AUGMENT.1.PAD",
    "INPUT.CROP_SCALE": "INPUT.AUGMENT: [{NAME: resized_crop, SCALE: [0.08, 1.0]}, ...]",
    "INPUT.COLOR_JITTER": "INPUT.AUGMENT: [..., {NAME: jitter, BRIGHTNESS: 0.3, CONTRAST: 0.3, SATURATION: 0.3, HUE: 0.1}]",
    "INPUT.JITTER_PROB": "INPUT.AUGMENT: [..., {NAME: jitter, PROB: 0.5}]",
    "INPUT.ERASING": "INPUT.AUGMENT: [..., {NAME: erasing, PROB: 0.5}]",
    "MODEL.INSTANCE_NORM": "MODEL.NORM: [input]",
}
# The same of options of a file, which its constructor no longer takes.
MOVED_OPTIONS = {
    "methods.dimn.IDENTITY": "LOSSES: [{NAME: softmax, WEIGHT: 1.0}, ...]",
    "methods.dimn.LABEL_SMOOTHING": "LOSSES: [{NAME: softmax, LABEL_SMOOTHING: 0.1}, ...]",
    **dict.fromkeys(
        ("methods.dimn.MAPPING_DEPTH", "methods.dimn.MAPPING_BIAS", "methods.dimn.MAPPING_ACTIVATION"),
        "METHOD: {NAME: dimn, MAPPING: linear | residual | low_rank32 | mlp}",
    ),
}
# What may differ between a run and its resumption, or between two runs of one recipe: none of it decides a number.
MOVABLE = frozenset(
    [
        *("OUTPUT_DIR", "DEVICE", "DATASETS.ROOT", "DATASETS.WALKERS_ROOT", "DATALOADER.WORKERS"),
        *("SOLVER.LOG_STEPS", "SOLVER.CHECKPOINT_STEPS", "SOLVER.KEEP", "TEST.BATCH_SIZE", "TEST.BOOTSTRAP"),
        *("TEST.RERANK", "TEST.QUERY_EXPANSION", "TEST.CLUSTERING", "TEST.CACHE"),
    ]
)


def defaults() -> CfgNode:
    """A fresh tree of every key at its default."""
    c = CfgNode()
    c.OUTPUT_DIR = ""  # the run's folder; empty: runs/ + the config's path below configs/
    c.SEED = 0  # of everything random: weights, batches, augmentation
    c.DEVICE = "auto"  # auto | cpu | cuda | cuda:N; auto takes a GPU where there is one

    c.DATASETS = CfgNode()
    c.DATASETS.ROOT = ""  # folders joined by the path separator; empty: $REID_DATASETS, $FASTREID_DATASETS, datasets
    c.DATASETS.WALKERS_ROOT = "datasets/walkers"  # where the built-in data is drawn
    c.DATASETS.SOURCES = []  # sets to train on: NAME or {NAME: ..., OPTION: ...}; AS: the name it goes by
    c.DATASETS.TARGETS = []  # sets to score: the same
    c.DATASETS.CHECK_COUNTS = True  # False: a count that is off becomes a note in the results, not an error
    c.DATASETS.ALLOW_WITHDRAWN = False  # True: sets withdrawn by their authors may be loaded, with a dated notice

    c.INPUT = CfgNode()
    c.INPUT.SIZE = [256, 128]  # height, width in pixels
    c.INPUT.INTERPOLATION = "bilinear"  # bilinear | bicubic | area | nearest
    c.INPUT.AUGMENT = [{"NAME": "flip"}, {"NAME": "crop", "PAD": 10}]  # in this order: files of reid/data/augment
    c.INPUT.VIEWS = CfgNode()  # {strong: [...]}: further views of the same pictures, each a list such as AUGMENT
    c.INPUT.TEST_CROP = 1.0  # below 1: scoring resizes to SIZE / TEST_CROP and takes the centre

    c.DATALOADER = CfgNode()
    c.DATALOADER.BATCH_SIZE = 64  # pictures a step, over all processes
    c.DATALOADER.WORKERS = 2  # loading processes; 0: load in the training process

    c.SAMPLER = CfgNode({"NAME": "identity"})  # free block: a file of reid/data/samplers and its options

    c.MODEL = CfgNode()
    c.MODEL.BACKBONE = CfgNode()
    c.MODEL.BACKBONE.NAME = (
        "mobilenetv2_100"  # `tiny`, `osnet_x0_25` and its like, or timm's name, such as resnet18.a1_in1k
    )
    c.MODEL.BACKBONE.WEIGHTS = "none"  # none | a local file | timm or timm:<tag> (its hub, needs a network)
    c.MODEL.BACKBONE.MEAN = []  # of pixels, RGB in 0..1; empty: what belongs to the weights (none: ImageNet's)
    c.MODEL.BACKBONE.STD = []  # their deviation, the same
    c.MODEL.BACKBONE.LAST_STRIDE = 2  # 1: twice as large a feature map, as strong re-ID baselines use
    c.MODEL.POOLING = "avg"  # avg | max | avg+max | gem | strips4 (horizontal strips, any number); of tokens avg | cls
    c.MODEL.DIM = 0  # embedding size by a linear layer; 0: the backbone's own
    c.MODEL.NECK = True  # batch normalisation between feature and embedding
    c.MODEL.NORM = []  # [input, {NAME: mixstyle, AFTER: [layer1]}]: files of reid/models/norms and their options
    c.MODEL.FREEZE_BN = False  # keep the backbone's batch normalisation at its loaded statistics
    c.MODEL.CHANNELS_LAST = True  # memory layout; faster on CPUs and on tensor cores

    c.METHOD = CfgNode({"NAME": "baseline"})  # free block: a file of reid/methods and its options
    c.LOSSES = []  # [{NAME: softmax, WEIGHT: 1.0, ...}]: files of reid/losses and their options

    c.MEMORY = CfgNode()  # cross-batch memory behind every pair loss
    c.MEMORY.SIZE = 0  # embeddings kept; 0: no memory
    c.MEMORY.START_STEP = 0  # the step from which embeddings are kept and used
    c.MEMORY.WEIGHT = 1.0  # of the memory's term in mode `separate`
    c.MEMORY.MODE = "separate"  # separate: loss(batch) + WEIGHT * loss(batch, memory); joint: one loss over both
    c.MEMORY.MOMENTUM = 0.0  # of the encoder that fills the memory; 0: the trained encoder itself (XBM)

    c.DRIFT = CfgNode()  # how far embeddings move while the encoder learns
    c.DRIFT.EVERY = 0  # steps between two looks at the probe: 10, 100 or 1000; 0: none
    c.DRIFT.SAMPLES = 1024  # training pictures in the probe

    c.SOLVER = CfgNode()
    c.SOLVER.OPTIMIZER = "adam"  # adam | amsgrad | adamw | sgd
    c.SOLVER.LR = 3.5e-4
    c.SOLVER.WEIGHT_DECAY = 5e-4
    c.SOLVER.MOMENTUM = 0.9  # of sgd
    c.SOLVER.EPS = 1e-8  # of all but sgd: added to the root of the second moment
    c.SOLVER.EPOCHS = 60
    c.SOLVER.MAX_STEPS = 0  # stop after so many optimiser steps; 0: after EPOCHS
    c.SOLVER.SCHEDULE = "step"  # step | cosine | constant
    c.SOLVER.STEPS = [40]  # epochs at which `step` multiplies the rate by GAMMA
    c.SOLVER.GAMMA = 0.1
    c.SOLVER.WARMUP_STEPS = 0  # optimiser steps of linear warm-up
    c.SOLVER.WARMUP_FACTOR = 0.01  # share of the rate at step 0
    # Parts of a run, each with its own of EPOCHS to WARMUP_FACTOR above, SAMPLER, AUGMENT, and LEARNS: [parameter groups].
    c.SOLVER.STAGES = []  # [{EPOCHS: 10, LR: 1e-3}, ...]; STEPS and warm-up count from the stage's start
    c.SOLVER.FREEZE = []  # [{PATTERN: "encoder.backbone.*", STEPS: 1000}]: parameters held for the first steps of the run
    c.SOLVER.EMA = 0.0  # decay of a running average of the weights, kept in checkpoints, such as 0.999; 0: none
    c.SOLVER.CLIP_GRAD = 0.0  # largest norm of the gradient; 0: not clipped
    c.SOLVER.AMP = "off"  # off | bf16 | fp16
    c.SOLVER.LOG_STEPS = 20  # a line of metrics.jsonl every so many steps
    c.SOLVER.CHECKPOINT_STEPS = 0  # besides every epoch, a checkpoint every so many steps; 0: none
    c.SOLVER.KEEP = 0  # older checkpoints that stay beside model_last.pth, as model_step<step>.pth

    c.TEST = CfgNode()
    c.TEST.EVERY = 0  # score the targets (source_val: what was held out) every so many epochs; 0: at the end only
    c.TEST.SELECT = "last"  # last | source_val (held-out identities of the sources) | oracle (peeks at the targets)
    c.TEST.HOLD_OUT = 0.1  # share of each source's identities kept apart by source_val
    c.TEST.BATCH_SIZE = 128
    c.TEST.CAMERA_RULE = True  # a gallery picture of the query's own camera is junk; False: it counts like any other
    c.TEST.FROZEN = []  # keys that belong to the protocol, such as [MODEL, INPUT]: rows that differ there share no table
    c.TEST.EMA = False  # score and export the average of the weights that SOLVER.EMA keeps
    c.TEST.FLIP = False  # average the embeddings of a picture and its mirror image
    c.TEST.RERANK = False  # also score with k-reciprocal re-ranking
    c.TEST.QUERY_EXPANSION = 0  # also score with each query averaged with so many pictures it finds first; 0: not
    c.TEST.CLUSTERING = False  # also NMI and AMI of retrieval sets by k-means; slow for many classes
    c.TEST.CACHE = None  # keep embeddings in the run folder; None: test_net does, training does not
    c.TEST.BOOTSTRAP = 0  # resamples of the query persons for 95% intervals; 0: none
    return c


def load(path: str | os.PathLike | None = None, overrides: Overrides = ()) -> CfgNode:
    """The frozen config of `path` (None: the defaults) with `overrides` (KEY VALUE KEY VALUE ..., or {KEY: value}) on top.

    Raises ValueError or FileNotFoundError, in one line, for anything that is not a known key with a value of its type.
    """
    cfg = defaults()
    if path is not None:
        for content in _with_bases(find(path), ()):
            _merge(cfg, content, "")
    _override_all(cfg, overrides)
    if not cfg.OUTPUT_DIR:
        cfg.OUTPUT_DIR = default_output_dir(path)
    if not cfg.DATASETS.ROOT:
        cfg.DATASETS.ROOT = os.environ.get("REID_DATASETS") or os.environ.get("FASTREID_DATASETS") or "datasets"
    cfg.freeze()
    return cfg


def find(path: str | os.PathLike, folder: str | os.PathLike = "") -> Path:
    """The file `path` as seen from `folder`; where there is none, `configs/...` is that recipe of the package.

    Raises FileNotFoundError where neither is there.
    """
    name = Path(path)
    candidates = [Path(folder) / name]
    if name.parts[:1] == ("configs",):
        candidates.append(RECIPES.joinpath(*name.parts[1:]))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"config: no file {' or '.join(map(str, candidates))}; expected the path of a .yaml file such as those in configs/"
    )


def parse(text: str, overrides: Overrides = ()) -> CfgNode:
    """The frozen config of a YAML text, such as the one a checkpoint carries, with `overrides` on top.

    One of before some key MOVED is read as what it says today.
    """
    cfg = defaults()
    _merge(cfg, version1.config(_mapping(text, "the checkpoint's config")), "")
    _override_all(cfg, overrides)
    cfg.freeze()
    return cfg


def stages(cfg: CfgNode) -> list[CfgNode]:
    """The config as each stage of SOLVER.STAGES has it, with what the stage says in place of its own; without stages itself.

    Raises ValueError for what a stage cannot say, and values of another type.
    """
    made = []
    for number, stage in enumerate(cfg.SOLVER.STAGES):
        where = f"SOLVER.STAGES.{number}"
        if not isinstance(stage, dict):
            raise ValueError(f"config: {where} is {stage!r}; expected a block such as {{EPOCHS: 10, LR: 0.001}}")
        said = {key: value for key, value in stage.items() if key != "LEARNS"}
        if unknown := [key for key in said if key not in STAGE]:
            raise ValueError(
                f"config: no key {where}.{unknown[0]}{nearest(str(unknown[0]), list(STAGE))}; "
                f"a stage takes {', '.join(STAGE)} and LEARNS"
            )
        try:
            made.append(parse(dump(cfg), {"SOLVER.STAGES": [], **{STAGE[key]: value for key, value in said.items()}}))
        except ValueError as error:
            raise ValueError(f"{error}, as {where} says") from None
    return made or [cfg]


def dump(cfg: CfgNode) -> str:
    """The whole config as YAML; `parse` reads it back."""
    return yaml.safe_dump(_plain(cfg), sort_keys=True, allow_unicode=True)


def differences(one: CfgNode, other: CfgNode) -> dict[str, tuple[Any, Any]]:
    """{dotted key: (value in one, value in other)} where they differ in more than what is MOVABLE."""
    a, b = _leaves(_plain(one)), _leaves(_plain(other))
    return {k: (a.get(k), b.get(k)) for k in sorted((a.keys() | b.keys()) - MOVABLE) if a.get(k) != b.get(k)}


def values(cfg: CfgNode, keys: Sequence[str]) -> dict[str, Any]:
    """{dotted key: value} of single keys, and of whole blocks what differs from its default; of a path its last part, which
    is the same on every machine.

    Raises ValueError for an unknown key.
    """
    standard = _leaves(_plain(defaults()))
    found: dict[str, Any] = {}
    for key in keys:
        node: Any = cfg
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                raise _unknown(key)
            node = node[name]
        found |= {k: v for k, v in _leaves({key: _plain(node)}).items() if k == key or (k, v) not in standard.items()}
    return {k: v.rpartition("/")[2] if isinstance(v, str) else v for k, v in found.items()}


def coerce(value: Any, default: Any, key: str) -> Any:
    """`value` as the type of `default`, where that loses nothing; else ValueError. A default of None takes anything."""
    if isinstance(value, tuple):
        value = list(value)
    if default is None:
        return value
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, float):
        number = _number(value)
        fits = number is not None
        value = value if number is None else number
    elif isinstance(default, int):
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
        value = int(value) if fits else value
    elif isinstance(default, (list, tuple)):
        fits = isinstance(value, list)
    else:
        fits = isinstance(value, type(default))
    if not fits:
        raise ValueError(f"config: {key} is {value!r} ({type(value).__name__}); expected {_kind(default)}")
    return value


def nearest(word: str, words: Sequence[str]) -> str:
    """`; did you mean X?` for the closest of `words`, or nothing."""
    upper = {w.upper(): w for w in words}
    close = difflib.get_close_matches(word.upper(), upper, n=1, cutoff=0.5)
    return f"; did you mean {upper[close[0]]}?" if close else ""


def _with_bases(path: Path, seen: tuple[Path, ...]) -> list[dict]:
    """The contents of `path` and of the files it starts from, the most basic first."""
    if path.suffix not in {".yaml", ".yml"}:
        raise ValueError(f"config: {path} is not a .yaml file; nothing else is read, and no config is ever executed")
    if path.resolve() in seen:
        raise ValueError(f"config: _BASE_ goes in a circle: {' -> '.join(map(str, (*seen, path.resolve())))}")
    content = _mapping(path.read_text(encoding="utf-8"), str(path))
    bases = content.pop("_BASE_", [])
    contents = []
    for base in [bases] if isinstance(bases, str) else bases:
        contents += _with_bases(find(base, path.parent), (*seen, path.resolve()))
    return [*contents, content]


def _mapping(text: str, where: str) -> dict:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"config: {where} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"config: {where} holds a {type(content).__name__}; expected keys and values")
    return content


def _merge(node: CfgNode, update: dict, where: str) -> None:
    for name, value in ((str(name), value) for name, value in update.items()):
        key = f"{where}{name}"
        if where == NAMED_LISTS:
            node.setdefault(name, [])
        if name not in node:
            raise _unknown(key)
        if key in FREE_BLOCKS:
            if not isinstance(value, dict):
                raise ValueError(f"config: {key} is {value!r}; expected a block such as {{NAME: {node[name].NAME}}}")
            node[name] = CfgNode(_block(node[name], value))
        elif isinstance(node[name], CfgNode):
            if not isinstance(value, dict):
                keys = ", ".join(node[name]) or "a list under each name"
                raise ValueError(f"config: {key} is {value!r}; expected a block with {keys}")
            _merge(node[name], value, f"{key}.")
        elif isinstance(node[name], list) and isinstance(value, dict):
            entries = list(node[name])
            for number, entry in value.items():
                _set_entry(entries, str(number), entry, f"{key}.{number}")
            node[name] = entries
        else:
            node[name] = coerce(value, node[name], key)


def _block(old: Any, new: Any) -> Any:
    """A free block with `new` on top. Another NAME takes other options: what was said of the old one falls away."""
    both = isinstance(old, dict) and isinstance(new, dict)
    return {**old, **new} if both and new.get("NAME", old.get("NAME")) == old.get("NAME") else new


def _set_entry(entries: list, name: str, value: Any, key: str) -> None:
    """Writes on top of entry `name` of a list, or behind the last."""
    if name == str(len(entries)):
        entries.append(value)
    else:
        index = _index(entries, name, key)
        entries[index] = _block(_named(entries[index]), value)


def _named(entry: Any) -> Any:
    """An entry `NAME` as the block that it stands for."""
    return {"NAME": entry} if isinstance(entry, str) else entry


def _override_all(cfg: CfgNode, overrides: Overrides) -> None:
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            value = os.fspath(value) if isinstance(value, os.PathLike) else copy.deepcopy(value)
            _override(cfg, key, value, value)
        return
    if len(overrides) % 2:
        raise ValueError(f"config: overrides come in pairs KEY VALUE; found {len(overrides)} words: {list(overrides)}")
    for key, text in zip(overrides[::2], overrides[1::2], strict=True):
        _override(cfg, key, text, _value(text))


def _override(cfg: CfgNode, key: str, text: Any, value: Any) -> None:
    """Sets `key` to `value`, or to the `text` it was read from where a text is wanted."""
    *parents, last = key.split(".")
    where = "".join(f"{part}." for part in parents)
    node: Any = cfg
    for depth, name in enumerate(parents):
        node = _child(node, name, ".".join(parents[: depth + 1]), key)
    free = parents and (parents[0] in FREE_BLOCKS or any(part.isdigit() for part in parents))  # entries of lists too
    if isinstance(node, list):
        _set_entry(node, last, value, key)
    elif free:
        node[last] = value
    else:  # a folder named 2024 stays a name
        _merge(node, {last: text if isinstance(node.get(last), str) else value}, where)


def _child(node: Any, name: str, path: str, key: str) -> Any:
    if isinstance(node, list):
        index = _index(node, name, key)
        child = node[index] = _named(node[index])
    elif isinstance(node, dict) and name in node:
        child = node[name]
    else:
        raise _unknown(key)
    if not isinstance(child, (dict, list)):
        raise ValueError(f"config: {key} reaches into {path}, which is {child!r} and has no parts")
    return child


def _index(items: list, name: str, key: str) -> int:
    if not name.isdigit() or int(name) >= len(items):
        raise ValueError(f"config: {key}: no entry {name}; the list has {len(items)} entries, numbered from 0")
    return int(name)


def _value(text: str) -> Any:
    """A command line's word as Python (tuples as FastReID writes them) or, failing that, as YAML (lists of blocks)."""
    for read in (ast.literal_eval, yaml.safe_load):
        try:
            value = read(text)
        except (ValueError, SyntaxError, yaml.YAMLError):
            continue
        return list(value) if isinstance(value, tuple) else value
    return text


def _unknown(key: str) -> ValueError:
    if key in MOVED:
        return ValueError(f"config: {key} has moved; write {MOVED[key]}")
    known = [*_leaves(_plain(defaults())), NAMED_LISTS.removesuffix(".")]
    same_name = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    hint = f"; did you mean {same_name[0]}?" if same_name else nearest(key, known)
    return ValueError(f"config: no key {key}{hint or '; reid/config.py lists them all'}")


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items()}
    return [_plain(v) for v in node] if isinstance(node, (list, tuple)) else node


def _leaves(tree: dict, where: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{where}{name}.") if isinstance(value, dict) else {f"{where}{name}": value}
    return leaves


def _number(value: Any) -> float | None:
    """The number `value` is, or says: YAML 1.1 reads 1e-4, without a dot, as a text."""
    try:
        return None if isinstance(value, (bool, list, dict)) else float(value)
    except (ValueError, TypeError):
        return None


def _kind(default: Any) -> str:
    names = {
        bool: "True or False",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        tuple: "a list",
    }
    return f"{names.get(type(default), type(default).__name__)}, such as {default!r}"


def default_output_dir(path: str | os.PathLike | None) -> str:
    """runs/ + the path below configs/, without its ending."""
    if path is None:
        return "runs/default"
    stem = Path(path).with_suffix("")
    parts = stem.parts[stem.parts.index("configs") + 1 :] if "configs" in stem.parts else (stem.name,)
    return str(Path("runs", *parts))
