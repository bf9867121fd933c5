"""Draws how far embeddings moved in one run or several, from what DRIFT.EVERY and a memory left in their metrics.jsonl."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs, finished or not")
    parser.add_argument("--output", default="drift.png", metavar="FILE", help=".png, .svg or .pdf (%(default)s)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from reid import runtime
    from reid.evaluation import drift

    with runtime.errors_in_one_line():
        drift.plot(args.runs, args.output)
        print(args.output)


if __name__ == "__main__":
    main()
