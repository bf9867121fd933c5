"""Scores a checkpoint on the targets of a config, or of the checkpoint's own config."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", "--config-file", metavar="FILE", help="a .yaml; left out: the checkpoint's own")
    parser.add_argument("--weights", metavar="FILE", help="a checkpoint; left out: the method before any training")
    parser.add_argument("--output", metavar="DIR", help="folder of the results; left out: test/ beside the checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="such as DATASETS.TARGETS '[market1501]'")
    args, rest = parser.parse_known_intermixed_args()
    if rest:
        parser.error(f"unknown option {rest[0]}; config keys are given as KEY VALUE, without dashes")
    return args


def main() -> None:
    args = parse()
    from reid import config, runtime
    from reid.builder import runs

    with runtime.errors_in_one_line():
        cfg = config.load(args.config, args.overrides) if args.config else None
        runs.score(cfg, args.weights, args.overrides, args.output)


if __name__ == "__main__":
    main()
