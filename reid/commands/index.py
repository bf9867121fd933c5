"""Keeps a folder of vectors, or a collection of Milvus: builds an index over many, adds others, removes people, tracks, pictures.

Without an index a search is exact. An index finds nearly the same rows sooner; how many of them is measured and printed
when it is built. What is removed is not found again at once, and its rows are gone from the shards; with --compact its codes are
gone from the index as well, which is built anew. A collection is made by the first folder that is added to it.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from reid.commands import _kept


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument(
        "--kind",
        help="auto (flat up to 200,000 rows, else ivfpq), flat (exact), ivfpq or hnsw; on Milvus auto (flat, else hnsw), flat or hnsw",
    )
    parser.add_argument("--add", nargs="+", default=[], metavar="VECTORS", help="copy the rows of others into it first")
    for name in ("person", "track", "picture"):
        text = "paths as search shows them" if name == "picture" else "names as search shows them"
        parser.add_argument(f"--remove-{name}", nargs="+", default=[], metavar="NAME", help=text)
    parser.add_argument(
        "--compact", action="store_true", help="leave nothing in the index of what was removed; of Milvus this is asked"
    )
    return _kept.parse(parser, words)


def run(args: argparse.Namespace) -> None:
    import functools
    import logging

    from reid.vectors import edit, index, milvus
    from reid.vectors.store import Store

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    others = [Store.open(other) for other in args.add]
    kept: Any
    if args.index:
        kept = milvus.Collection.open(args.index, others[0] if others else None)
        add, remove, compact, build = kept.add, kept.remove, kept.compact, kept.build
    else:
        kept = Store.open(args.vectors)
        on_disk: Any = (edit.add, edit.remove, edit.compact, index.build)
        add, remove, compact, build = (functools.partial(each, kept) for each in on_disk)
    for other in others:
        print(f"{kept}: {add(other):,} rows of {other} added")
    removing = (args.remove_person, args.remove_track, args.remove_picture)
    if any(removing):
        print(f"{kept}: {remove(*removing):,} rows removed")
        if isinstance(kept, Store) and index.exists(kept) and not args.compact:
            print("the index still holds their codes, which no search gives out; --compact builds it without them")
    if args.compact:
        compact()
        left = "nothing that was removed is left in any file"
        print(f"{kept}: {'the server was asked to drop what was removed' if args.index else left}")
    if args.kind or not (args.add or any(removing) or args.compact):
        about = build(args.kind or "auto")
        told = f"{about['kind']} over {kept.num_rows:,} rows" if about else "searched exactly, without an index"
        print(f"{kept}: {told}")
