"""Draws what pair losses do: the weight of a positive and a negative pair against its similarity, a panel a loss."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("losses", nargs="*", metavar="LOSS", help="such as circle; left out: every pair loss")
    parser.add_argument("--output", default="docs/losses.png", metavar="FILE", help="%(default)s")
    args = parser.parse_args()
    from reid import runtime
    from reid.builder import weighting

    with runtime.errors_in_one_line():
        names = weighting.draw(args.output, args.losses)
        print(f"{args.output}: {', '.join(names)}")


if __name__ == "__main__":
    main()
