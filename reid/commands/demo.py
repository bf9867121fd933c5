"""Draws pedestrians, trains a small encoder on four places, scores three it never saw, exports it, shows what it finds."""

import argparse
from collections.abc import Sequence

from reid.commands import _overrides


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("--config", default="configs/demo.yaml", metavar="FILE", help="another recipe (%(default)s)")
    return _overrides.parse(parser, words, such_as="SOLVER.EPOCHS 4")


def run(args: argparse.Namespace) -> None:
    from reid import config
    from reid.builder import demo

    demo.run(config.load(args.config, args.overrides))
