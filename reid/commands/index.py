"""Keeps a folder of vectors: builds an index over many, adds others, removes people, tracks and pictures.

Without an index a search is exact. An index finds nearly the same rows sooner; how many of them is measured and printed
when it is built. What is removed is not found again at once, and its rows are gone from the shards; with --compact its codes are
gone from the index as well, which is built anew.
"""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("vectors", metavar="VECTORS", help="a folder that reid embed wrote")
    parser.add_argument("--kind", help="auto (flat up to 200,000 rows, else ivfpq), flat (exact), ivfpq or hnsw")
    parser.add_argument("--add", nargs="+", default=[], metavar="VECTORS", help="copy the rows of others into it first")
    for name in ("person", "track", "picture"):
        text = "paths as search shows them" if name == "picture" else "names as search shows them"
        parser.add_argument(f"--remove-{name}", nargs="+", default=[], metavar="NAME", help=text)
    parser.add_argument("--compact", action="store_true", help="leave nothing in the index of what was removed")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    import logging

    from reid.vectors import edit, index
    from reid.vectors.store import Store

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    store = Store.open(args.vectors)
    for other in args.add:
        print(f"{store.folder}: {edit.add(store, Store.open(other)):,} rows of {other} added")
    removing = (args.remove_person, args.remove_track, args.remove_picture)
    if any(removing):
        removed = edit.remove(store, *removing)
        print(f"{store.folder}: {removed:,} rows removed")
        if index.exists(store) and not args.compact:
            print("the index still holds their codes, which no search gives out; --compact builds it without them")
    if args.compact:
        edit.compact(store)
        print(f"{store.folder}: nothing that was removed is left in any file")
    if args.kind or not (args.add or any(removing) or args.compact):
        about = index.build(store, args.kind or "auto")
        told = "searched exactly, without an index" if about is None else f"{about['kind']} over {about['rows']:,} rows"
        print(f"{store.folder}: {told}")
