"""Words of a command that say which vectors: a folder, or a collection of Milvus."""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The words as `parser` reads them, with `vectors` and `index`, one of which is None."""
    parser.add_argument("vectors", metavar="VECTORS", nargs="?", help="a folder that reid embed wrote")
    parser.add_argument("--index", metavar="milvus:URI", help="instead: a collection, milvus:http://HOST:PORT#NAME")
    args = parser.parse_args(words)
    if (args.vectors is None) == (args.index is None):
        parser.error("expected VECTORS, or --index milvus:URI in its place")
    return args
