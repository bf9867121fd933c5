"""Words of a command that set config keys."""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str], such_as: str) -> argparse.Namespace:
    """The words as `parser` reads them, with `overrides` (KEY VALUE ...) before, between and after its options."""
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help=f"such as {such_as}")
    args, rest = parser.parse_known_intermixed_args(words)
    if rest:
        parser.error(f"unknown option {rest[0]}; config keys are given as KEY VALUE, without dashes")
    return args
