"""Runs a study: every row of a table with every seed, side by side, going on where it stopped; then prints the table."""

import argparse
import shlex
import sys
from collections.abc import Sequence

from reid.commands import _overrides


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("study", metavar="FILE", help="a .yaml of configs/studies/")
    parser.add_argument(
        "--side-by-side", type=int, default=2, metavar="N", help="runs at a time, sharing the cores (2)"
    )
    parser.add_argument("--list", action="store_true", help="print the command of every run, and run nothing")
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, and run nothing")
    parser.add_argument("--validation", action="store_true", help="figures of what was held out of the sources instead")
    parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="figures of the table, such as R1 mAP")
    return _overrides.parse(parser, words, such_as="DATASETS.ROOT data, for every run")


def run(args: argparse.Namespace) -> None:
    from reid.builder import recipes, study
    from reid.evaluation import tables

    jobs = study.load(args.study, args.overrides)
    if args.list:
        for job in jobs:
            print("reid", shlex.join(job.words))
        return
    failures = [] if args.table else study.run(jobs, side_by_side=args.side_by_side)
    folders = [job.folder for job in jobs if job.finished]
    if folders:
        found = recipes.read(folders, role="source" if args.validation else "target")
        print(tables.table(found, metrics=args.metrics).text("markdown"))
    if failures:
        sys.exit("\n".join(failures))
