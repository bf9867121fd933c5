"""The teacher of a run: another run's checkpoint, opened to be learned from."""

from __future__ import annotations

from yacs.config import CfgNode

from reid import checkpoint, config
from reid.builder import objects, registry
from reid.data.sources import TrainSet
from reid.methods import Method


def load(cfg: CfgNode, train_set: TrainSet) -> Method | None:
    """What METHOD's TEACHER names, held as it is; None for a method without, or where it is not named.

    Raises FileNotFoundError, or ValueError for a file that cannot be read, for pictures of another size and, where its scores
    are wanted, for other classes.
    """
    if "TEACHER" not in registry.options("methods", cfg.METHOD.NAME) or "TEACHER" not in cfg.METHOD:
        return None
    path = str(cfg.METHOD.TEACHER)
    content = checkpoint.load(path)
    own = config.parse(content["config"])
    where = f"methods.{cfg.METHOD.NAME}: TEACHER {path}"
    if own.INPUT.SIZE != cfg.INPUT.SIZE:
        raise ValueError(
            f"{where} was trained on pictures of {own.INPUT.SIZE}, INPUT.SIZE here is {cfg.INPUT.SIZE}; expected one size"
        )
    if cfg.METHOD.get("SCORES", 1.0):
        try:
            train_set.check_label_map(content["label_map"])
        except ValueError as error:
            raise ValueError(f"{where} knows other classes: {error}; or set SCORES 0") from None
    num_classes = sum(len(pids) for pids in content["label_map"].values())
    made = objects.method(own, num_classes=num_classes, num_samples=content["num_samples"], weights="none")
    checkpoint.load_state(made, checkpoint.weights(content, path, average=own.TEST.EMA), path)
    return made.eval().requires_grad_(False)
