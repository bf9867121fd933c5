"""From which score on two pictures are taken for one person: by the false match rate that is wanted, on labelled vectors.

The rate is one of pairs: whoever is looked for among N pictures of others meets about N times the rate of them. With --into
the threshold goes into folders of vectors, for `reid search --fmr`, and into the card of an export.
"""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("vectors", metavar="LABELLED", help="a folder of vectors whose rows have persons")
    parser.add_argument("--query", metavar="VECTORS", help="of a model whose sides differ: the query side of the same")
    parser.add_argument(
        "--fmr", nargs="+", type=float, default=[1e-3], metavar="RATE", help="false match rates (0.001)"
    )
    parser.add_argument(
        "--set", default="", metavar="NAME", help="what it was measured on; left out: the folder's name"
    )
    parser.add_argument(
        "--into", nargs="+", default=[], metavar="FOLDER", help="folders of vectors or of exports, milvus:URI"
    )
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from reid import escape
    from reid.export import calibrated
    from reid.vectors import calibrate
    from reid.vectors.store import Store

    store = Store.open(args.vectors)
    places = [calibrated.place(store, folder) for folder in args.into]  # one that does not fit ends it before the work
    query = Store.open(args.query) if args.query else None
    rows = calibrate.calibrate(store, args.fmr, query=query, name=args.set)
    for row in rows:
        print(escape.line(calibrate.told(row)))
    for write in places:
        print(f"written into {write(rows)}")
