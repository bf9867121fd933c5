"""Runs a study: every row of a table with every seed, side by side, going on where it stopped; then prints the table."""

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", metavar="FILE", help="a .yaml of configs/studies/")
    parser.add_argument(
        "--side-by-side", type=int, default=2, metavar="N", help="runs at a time, sharing the cores (2)"
    )
    parser.add_argument("--list", action="store_true", help="print the command of every run, and run nothing")
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, and run nothing")
    parser.add_argument("--validation", action="store_true", help="figures of what was held out of the sources instead")
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="figures of the table, such as R1 mAP")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="for every run, such as DATASETS.ROOT data")
    return parser.parse_intermixed_args()


def main() -> None:
    args = parse()
    from reid import runtime
    from reid.builder import recipes, study
    from reid.evaluation import tables

    with runtime.errors_in_one_line():
        jobs = study.load(args.study, args.overrides)
        if args.list:
            for job in jobs:
                print("python", shlex.join([f"tools/{job.words[0]}", *job.words[1:]]))
            return
        failures = [] if args.table else study.run(jobs, side_by_side=args.side_by_side)
        folders = [job.folder for job in jobs if job.finished]
        if folders:
            found = recipes.read(folders, role="source" if args.validation else "target")
            print(tables.table(found, metrics=args.metrics).text("markdown"))
        if failures:
            sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
