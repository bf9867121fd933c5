"""Finds the pictures in a folder of vectors, or a collection of Milvus, that are most like others."""

import argparse
from collections.abc import Sequence

from reid.commands import _kept


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    queries = "a picture; a folder, list or archive of pictures; or a folder of vectors of the query side"
    parser.add_argument("--query", required=True, metavar="PICTURE|FOLDER", help=queries)
    parser.add_argument("--model", metavar="MODEL", help="left out: the one that made the vectors, from where it lay")
    several = parser.add_mutually_exclusive_group()
    several.add_argument(
        "--together", action="store_true", help="all pictures of QUERY as one: by the mean of their vectors"
    )
    several.add_argument("--tracks", action="store_true", help="the pictures of each track of QUERY as one")
    parser.add_argument("--one-per-track", action="store_true", help="find each track once, by its best row")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many to find (%(default)s)")
    parser.add_argument("--camera", nargs="+", default=[], metavar="NAME", help="search only these cameras")
    parser.add_argument("--track", nargs="+", default=[], metavar="NAME", help="search only these tracks")
    parser.add_argument("--person", nargs="+", default=[], metavar="NAME", help="search only these persons")
    parser.add_argument("--from", dest="start", metavar="TIME", help="search only from then on: seconds or a date")
    parser.add_argument("--to", dest="end", metavar="TIME", help="search only up to then")
    text = "answer `unknown` below the score for this false match rate, see reid calibrate"
    parser.add_argument("--fmr", type=float, metavar="RATE", help=text)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--page", metavar="FILE.html", help="write a page of pictures instead")
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="threads that read and decode (%(default)s)"
    )
    parser.add_argument("--device", default="auto", help="of a checkpoint: auto, cpu, cuda or cuda:N")
    args = _kept.parse(parser, words)
    if args.top < 1:
        parser.error("--top: expected 1 or more")
    if args.fmr is not None and (args.together or args.tracks):
        parser.error("--fmr: is measured on single pictures; expected no --together and no --tracks")
    return args


def run(args: argparse.Namespace) -> None:
    import functools
    import math
    import sys

    import reid
    from reid import escape
    from reid.export import queries
    from reid.vectors import answers, calibrate, milvus, page, rows, search, tracks
    from reid.vectors.store import Store

    store: Store | milvus.Collection
    if args.index:
        store = milvus.Collection.open(args.index)
        found_by = store.find
    else:
        store = Store.open(args.vectors)
        found_by = functools.partial(answers.find, store)
    start = rows.seconds(args.start) if args.start else -math.inf
    end = rows.seconds(args.end) if args.end else math.inf
    keep = search.Filter(args.camera, args.track, start, end, args.person)
    threshold = None
    if args.fmr is not None:
        row = calibrate.of(store, args.fmr)
        threshold = row["threshold"]
        print(escape.line(calibrate.told(row, store.num_rows)), file=sys.stderr)
    vectors, asked = queries.read(
        store, args.query, lambda path: reid.load(args.model or path, device=args.device), workers=args.workers
    )
    counts = [1] * len(asked)
    if args.together or args.tracks:
        vectors, asked, counts = tracks.together(vectors, asked, by_track=args.tracks)
    find = functools.partial(found_by, keep=keep)
    found, hits = tracks.once(find, vectors, args.top) if args.one_per_track else find(vectors, args.top)
    answered = answers.of(asked, found, hits, threshold, pictures=counts, one_per_track=args.one_per_track)
    if args.page:
        page.write(args.page, answered, store.header, threshold)
        print(f"{args.page}: {len(answered):,} queries")
    elif args.json:
        print(answers.to_json(answered, store.header, threshold))
    else:
        print(answers.to_table(answered, threshold))
