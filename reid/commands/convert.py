"""Turns what a set's makers give out into what is read here; goes on where it was broken off."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    add = kinds.add_parser("cuhk_sysu", help="cut the people out of the person search release")
    add.add_argument("release", help="the folder with annotation/Person.mat and Image/SSM/")
    add.add_argument("output", help="such as datasets/cuhksysu; the pictures go to cropped_image/ in it")
    add = kinds.add_parser("cuhk03", help="take the pictures out of cuhk-03.mat")
    add.add_argument("release", help="cuhk-03.mat, or the folder it lies in")
    add.add_argument(
        "output", help="such as datasets/cuhk03; the pictures go to images_detected/ and images_labeled/ in it"
    )
    add.add_argument("--boxes", nargs="+", choices=("detected", "labelled"), default=["detected", "labelled"])
    add = kinds.add_parser("list", help="write any set's lists as one CSV file for `folder`")
    _add_set(add)
    add.add_argument("--trial", type=int, default=0, metavar="N", help="which of several, from 1")
    add = kinds.add_parser("split", help="write a class-disjoint validation split of any set's training part")
    _add_set(add)
    add.add_argument("--fraction", type=float, default=0.1, help="of the training classes to keep apart (%(default)s)")
    add.add_argument("--seed", type=int, default=0, help="which classes (%(default)s)")
    return parser.parse_args(words)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", metavar="NAME", help="a set, or with options '{NAME: ..., OPTION: ...}'")
    parser.add_argument(
        "output", metavar="FILE.csv", help="in a folder above the pictures, as paths are relative to it"
    )
    parser.add_argument("--root", metavar="DIR", help="where the sets lie; left out: as in training")


def run(args: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print("\n".join(map(str, _write(args))))


def _write(args: argparse.Namespace) -> list[Path]:
    """What was written."""
    if args.kind == "cuhk_sysu":
        from reid.data.converters import cuhk_sysu

        return [cuhk_sysu.convert(args.release, args.output)]
    if args.kind == "cuhk03":
        from reid.data.converters import cuhk03

        return cuhk03.convert(args.release, args.output, args.boxes)
    from reid import config
    from reid.builder import registry
    from reid.data import records
    from reid.data.converters import lists, split

    root = ["DATASETS.ROOT", args.root] if args.root else []
    cfg = config.load(None, ["DATASETS.TARGETS", f"[{args.set}]", *root])
    dataset = registry.dataset(cfg, cfg.DATASETS.TARGETS[0], check_counts=True)()
    records.refuse_withdrawn(dataset.name, dataset.card, allow=False)
    if args.kind == "list":
        return [lists.convert(dataset, args.output, args.trial)]
    return [split.convert(dataset, args.output, args.fraction, args.seed)]
