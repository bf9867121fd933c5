"""Draws pedestrians, trains a small encoder on four places, scores three it never saw, exports it, shows what it finds."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # this checkout, whatever else is installed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=str(ROOT / "configs" / "demo.yaml"), metavar="FILE", help="another recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="such as SOLVER.EPOCHS 4")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from reid import config, runtime
    from reid.builder import demo

    with runtime.errors_in_one_line():
        demo.run(config.load(args.config, args.overrides))


if __name__ == "__main__":
    main()
