"""Mean, spread and 95% interval over the seeds, or the trials, of finished runs; one row for runs that differ by SEED only.

Runs of two protocols are refused: their figures cannot be compared.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs")
    parser.add_argument("--format", choices=("markdown", "csv", "latex"), default="markdown")
    parser.add_argument("--over", choices=("seeds", "trials"), default="seeds", help="what the spread is taken over")
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="R1 mAP unless given")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="a paired t-test of two rows over common seeds")
    args = parser.parse_args()
    from reid.builder import recipes
    from reid.evaluation import tables

    try:
        found = recipes.read(args.runs)
        if args.compare:
            one, other = (recipes.find(found, name) for name in args.compare)
            table = tables.comparison(one, other, args.metrics, fractions=args.format == "csv")
        else:
            make = tables.numbers if args.format == "csv" else tables.table
            table = make(found, args.over, args.metrics)
    except (ValueError, OSError) as error:
        parser.exit(2, f"error: {error}\n")
    print(table.text(args.format))


if __name__ == "__main__":
    main()
