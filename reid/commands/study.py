"""Runs a study: every row of a table with every seed, side by side, going on where it stopped; then prints the table.

With --search the options that have a range in the study are searched first, equally for every row; the same command on
another machine, with one --storage, takes part.
"""

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
    parser.add_argument("--search", type=int, metavar="N", help="finished trials of each row that has a range")
    parser.add_argument(
        "--storage", metavar="URL", default="", help="database of the trials (SQLite in the study's folder)"
    )
    args = _overrides.parse(parser, words, such_as="DATASETS.ROOT data, for every run")
    if args.search is None and args.storage:
        parser.error("--storage is where the trials of --search N are kept; give both")
    if args.search is not None and args.search < 1:
        parser.error(f"--search is {args.search}; expected the number of trials of each row, 1 or more")
    if args.search is not None and args.list:
        parser.error("--list prints what is known before anything runs, which a search does not know; leave one out")
    return args


def run(args: argparse.Namespace) -> None:
    from reid.builder import recipes, study
    from reid.evaluation import tables

    role = "source" if args.validation else "target"
    if args.search is not None:
        _search(args, role)
        return
    jobs = study.load(args.study, args.overrides)
    if args.list:
        for job in jobs:
            print("reid", shlex.join(job.words))
        return
    failures = [] if args.table else study.run(jobs, side_by_side=args.side_by_side)
    folders = [job.folder for job in jobs if job.finished]
    if folders:
        print(tables.table(recipes.read(folders, role), metrics=args.metrics).text("markdown"))
    _end(failures)


def _search(args: argparse.Namespace, role: str) -> None:
    from reid import runtime
    from reid.builder import search, study

    runtime.start_log(None)
    table = study.read(args.study, args.overrides)
    found = search.run(table, args.search, args.storage, side_by_side=args.side_by_side, begin=not args.table)
    jobs = table.jobs({name: (each.tag, each.settings) for name, each in found.items()})
    failures = [] if args.table else study.run(jobs, side_by_side=args.side_by_side)
    if any(job.finished for job in jobs):
        print(search.table(table, jobs, found, args.search, role, args.metrics).text("markdown"))
    _end(failures)


def _end(failures: Sequence[object]) -> None:
    if failures:
        sys.exit("\n".join(map(str, failures)))
