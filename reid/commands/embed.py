"""Embeds a folder, a list, an archive or a video with boxes into a folder of vectors; goes on where it was broken off.

A picture that cannot be read is passed over and listed with the reason in refused.csv. Started by torchrun, each process
takes its share. A camera, a time, a track or a person is known from a list's columns, or by a pattern from paths:
--pattern '(?P<person>\\d+)_c(?P<camera>\\d)'
"""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("input", metavar="INPUT", help="a folder of any depth, .txt, .csv, .zip, .tar(.gz), or a video")
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="a checkpoint (.pth), an export or a graph in it"
    )
    parser.add_argument(
        "--output", required=True, metavar="VECTORS", help="a folder; one that was begun is gone on with"
    )
    parser.add_argument("--side", default="gallery", help="of a model whose sides differ: gallery (default) or query")
    parser.add_argument("--pattern", metavar="REGEX", help="groups camera, time, track, person, found in each path")
    parser.add_argument("--root", metavar="DIR", help="what the paths of a list are relative to; left out: its folder")
    parser.add_argument("--boxes", metavar="FILE", help="of a video: .csv with frame, x, y, w, h, track; or MOT's text")
    parser.add_argument("--camera", default="", metavar="NAME", help="of a video: its camera")
    parser.add_argument("--start", default="0", metavar="TIME", help="of a video: its first frame's, seconds or a date")
    parser.add_argument(
        "--first-frame", type=int, default=1, metavar="N", help="of a video: its number (1, as MOT counts)"
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="pictures per batch (%(default)s)")
    parser.add_argument("--shard", type=int, default=8192, metavar="N", help="pictures per file (%(default)s)")
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="threads that read and decode (%(default)s)"
    )
    parser.add_argument("--device", default="auto", help="of a checkpoint: auto, cpu, cuda or cuda:N")
    args = parser.parse_args(words)
    if not args.boxes and (args.camera, args.start, args.first_frame) != ("", "0", 1):
        parser.error("--camera, --start and --first-frame are for a video, which needs --boxes")
    if args.boxes and (args.pattern or args.root):
        parser.error("--pattern and --root are not for a video: --boxes says what is known of a crop")
    return args


def run(args: argparse.Namespace) -> None:
    import time

    import reid
    from reid.vectors import rows, sources, video

    if args.boxes:
        start = rows.seconds(args.start)
        source = video.find(args.input, args.boxes, camera=args.camera, start=start, first_frame=args.first_frame)
    else:
        source = sources.find(args.input, pattern=args.pattern, root=args.root)
    model = reid.load(args.model, device=args.device)
    begun = time.monotonic()
    store = model.embed_many(
        source,
        args.output,
        side=args.side,
        batch_size=args.batch,
        workers=args.workers,
        shard=args.shard,
    )
    report(store, time.monotonic() - begun)


def report(store, took: float) -> None:
    """What is there now, in a line or two."""
    from reid import escape
    from reid.vectors.store import REFUSED

    if store.missing():
        print(f"{store.folder}: {len(store.numbers())} of {store.num_shards} shards; other processes make the rest")
        return
    counts = [(len(shard.vectors), len(shard.refused["path"])) for _, shard in store.shards()]
    made, refused = (sum(each) for each in zip(*counts, strict=True))
    print(f"{store.folder}: {made:,} vectors of {store.header['dim']} numbers, in {took:.1f} s")
    if refused:
        print(f"passed over: {refused:,} pictures; {store.folder / REFUSED} says which and why, such as:")
        for _, shard in store.shards():
            if len(shard.refused["path"]):
                print(escape.line(f"  {shard.refused['path'][0]}: {shard.refused['reason'][0]}"))
                break
