"""Draws how far embeddings moved in runs (drift), or what losses do to pairs (losses)."""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    add = kinds.add_parser(
        "drift", help="of one run or several, from what DRIFT.EVERY and a memory left in metrics.jsonl"
    )
    add.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, finished or not")
    add.add_argument("--output", default="drift.png", metavar="FILE", help=".png, .svg or .pdf (%(default)s)")
    add = kinds.add_parser("losses", help="the weight of a positive and a negative pair against its similarity")
    add.add_argument("losses", nargs="*", metavar="LOSS", help="such as circle; left out: every pair loss")
    add.add_argument("--output", default="losses.png", metavar="FILE", help=".png, .svg or .pdf (%(default)s)")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    if args.kind == "drift":
        from reid.evaluation import drift

        drift.plot(args.runs, args.output)
        print(args.output)
    else:
        from reid.builder import weighting

        names = weighting.draw(args.output, args.losses)
        print(f"{args.output}: {', '.join(names)}")
