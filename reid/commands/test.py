"""Scores a checkpoint or an export on the targets of a config, or of the checkpoint's own config."""

import argparse
from collections.abc import Sequence

from reid.commands import _overrides


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("--config", "--config-file", metavar="FILE", help="a .yaml; left out: the checkpoint's own")
    parser.add_argument(
        "--weights", metavar="FILE", help="a checkpoint or an export; left out: the method before any training"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="folder of the results; left out: test/ beside the checkpoint, <export>-test beside an export",
    )
    return _overrides.parse(parser, words, such_as="DATASETS.TARGETS '[market1501]'")


def run(args: argparse.Namespace) -> None:
    from reid import config
    from reid.builder import runs

    cfg = config.load(args.config, args.overrides) if args.config else None
    runs.score(cfg, args.weights, args.overrides, args.output)
