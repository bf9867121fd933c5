"""What is on disk of each data set, what is missing and where it comes from, and which pictures are broken.

Ends with 1 where a named set is not whole; without names every known set is looked at, and absent ones are no failure.
"""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a set, or with options '{NAME: ..., OPTION: ...}'")
    parser.add_argument("--config", "--config-file", metavar="FILE", help="look at the sources and targets of a .yaml")
    parser.add_argument("--root", metavar="DIR", help="where the sets lie; left out: as in training")
    parser.add_argument("--quick", action="store_true", help="decode nothing: lists, counts, first and last bytes")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from reid import config
    from reid.builder import check

    overrides = ["DATASETS.ROOT", args.root] if args.root else []
    if args.names:
        overrides += ["DATASETS.TARGETS", f"[{', '.join(args.names)}]", "DATASETS.SOURCES", "[]"]
    cfg = config.load(args.config, overrides)
    named = [*cfg.DATASETS.SOURCES, *cfg.DATASETS.TARGETS]
    if builds := check.builds_of_faiss():
        print(builds)
    counts = dict.fromkeys((check.WHOLE, check.BROKEN, check.ABSENT), 0)
    for report in check.check(cfg, named or check.known(), decode=not args.quick):
        counts[report.state] += 1
        print(report.brief() if report.state == check.ABSENT and not named else report, flush=True)
    print(", ".join(f"{number} {state}" for state, number in counts.items() if number))
    failed = counts[check.BROKEN] + (counts[check.ABSENT] if named else 0)
    raise SystemExit(1 if failed else 0)
