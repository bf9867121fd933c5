"""Mean, spread and 95% interval over the seeds, or the trials, of finished runs; one row for runs that differ by SEED only.

Runs of two protocols are refused: their figures cannot be compared.
"""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    parser.add_argument("--format", choices=("markdown", "csv", "latex"), default="markdown")
    parser.add_argument("--over", choices=("seeds", "trials"), default="seeds", help="what the spread is taken over")
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="R1 mAP unless given")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="a paired t-test of two rows over common seeds")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from reid.builder import recipes
    from reid.evaluation import tables

    found = recipes.read(args.runs)
    if args.compare:
        one, other = (recipes.find(found, name) for name in args.compare)
        table = tables.comparison(one, other, args.metrics, fractions=args.format == "csv")
    else:
        make = tables.numbers if args.format == "csv" else tables.table
        table = make(found, args.over, args.metrics)
    print(table.text(args.format))
