"""Puts a finished run's model into the package, for whoever makes one: docs/models.md."""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument("name", metavar="NAME", help="by which `reid.load` opens it")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from reid.builder import shipping

    file, digest = shipping.ship(args.run, args.name)
    print(f'{file}: {file.stat().st_size:,} bytes\nin reid/shipped/__init__.py: "{args.name}": "{digest}",')
