"""Draws how far embeddings moved in runs (drift), what losses do to pairs (losses), or what a run finds (ranked)."""

import argparse
from collections.abc import Sequence

from reid import escape


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
    add = kinds.add_parser("ranked", help="pictures of ranked lists, from what TEST.REPORT left in a run")
    add.add_argument("run", metavar="RUN", help="the folder of a run, or of a scoring")
    add.add_argument("--set", default="", metavar="NAME", help="left out: the first whose pictures may be shown")
    add.add_argument(
        "--lists", type=int, default=2, metavar="N", help="of each kind: worst, random, best (%(default)s)"
    )
    add.add_argument(
        "--pictures", action="store_true", help="also of a set whose terms do not allow it, or are not known"
    )
    add.add_argument("--output", default="ranked.png", metavar="FILE", help=".png or .jpg (%(default)s)")
    args = parser.parse_args(words)
    if args.kind == "ranked" and args.lists < 1:
        parser.error(f"--lists: found {args.lists}, expected 1 or more")
    return args


def run(args: argparse.Namespace) -> None:
    if args.kind == "drift":
        from reid.evaluation import drift

        drift.plot(args.runs, args.output)
        print(args.output)
    elif args.kind == "ranked":
        from reid.builder.page import sheet

        name = sheet.write(args.run, args.output, name=args.set, lists=args.lists, pictures=args.pictures)
        print(f"{args.output}: ranked pictures of {escape.line(name)}")
    else:
        from reid.builder import weighting

        names = weighting.draw(args.output, args.losses)
        print(f"{args.output}: {', '.join(names)}")
