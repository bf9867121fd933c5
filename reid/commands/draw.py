"""Draws pedestrians: the built-in data of any size, or a contact sheet of it."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("domains", nargs="*", metavar="DOMAIN", help="such as harbour; left out: all nine")
    parser.add_argument("--root", default="datasets/walkers", help="where the trees go (%(default)s)")
    parser.add_argument("--ids", type=int, default=0, help="identities of each domain; 0: its own number")
    parser.add_argument("--pictures", type=int, default=0, help="pictures of each identity; 0: the domain's own number")
    parser.add_argument("--size", type=int, nargs=2, default=[128, 64], metavar=("HEIGHT", "WIDTH"), help="px (128 64)")
    parser.add_argument("--test-ids", type=int, default=0, help="of a source: further identities to be searched for")
    parser.add_argument("--edition", type=int, default=0, help="other people and cameras in the same places")
    parser.add_argument("--sheet", metavar="FILE", help="write a contact sheet (.png or .jpg) and no trees")
    parser.add_argument("--floor", action="store_true", help="also score 16x4 pixels, the floor for any encoder")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from reid.data.walkers.domains import DOMAINS

    names = args.domains or list(DOMAINS)
    if args.sheet:
        write_sheet(args, names)
    else:
        draw(args, names)


def write_sheet(args: argparse.Namespace, names: list[str]) -> None:
    import cv2

    from reid.data.walkers.sheet import sheet

    if Path(args.sheet).suffix not in (".png", ".jpg"):
        raise ValueError(f"found --sheet {args.sheet}; expected a name that ends in .png or .jpg")
    image = sheet(names, args.ids or 2, args.pictures or 16, tuple(args.size), args.edition)
    if not cv2.imwrite(args.sheet, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85]):
        raise OSError(f"{args.sheet}: could not be written; does its folder exist?")
    print(f"{args.sheet}: a row per person, {', '.join(names)}")


def draw(args: argparse.Namespace, names: list[str]) -> None:
    from reid.data.datasets import walkers
    from reid.data.walkers.domains import find

    for place in [find(name) for name in names]:  # an unknown name stops before any work
        test_ids = args.test_ids if place.role == "source" or args.domains else 0
        options = {
            "ids": args.ids,
            "pictures": args.pictures,
            "size": args.size,
            "test_ids": test_ids,
            "edition": args.edition,
        }
        dataset = walkers.load(args.root, domain=place.name, **options)
        print(f"{dataset!r} in {dataset.root}")
        if args.floor and dataset.trials:
            print(f"  16x4 pixels: {floor(dataset)}")


def floor(dataset) -> str:
    from reid.data.walkers.floor import pixels
    from reid.evaluation.rank import Ids, score

    (trial,) = dataset.trials
    query, gallery = (pixels(read(sample.path) for sample in side) for side in (trial.query, trial.gallery))
    scores = score(query, gallery, Ids.of(trial.query), Ids.of(trial.gallery))
    return f"Rank-1 {100 * scores.cmc[0]:.1f}, mAP {100 * scores.mAP:.1f}"


def read(path: str):
    import cv2

    image = cv2.imread(path)
    if image is None:
        raise ValueError(f"{path}: found a file that is no picture; delete it and run this again")
    return image[..., ::-1]
