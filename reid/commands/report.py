"""Writes the page of a run, run.html, anew; or one page of several runs, side by side and with what they differ by."""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of finished runs, of one protocol")
    parser.add_argument(
        "--output", metavar="FILE.html", help="left out: run.html in the run's folder; of several report.html here"
    )
    text = "show pictures also of sets whose terms forbid it, or are not known: the page is then not for others"
    parser.add_argument("--pictures", action="store_true", help=text)
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from reid.builder import page

    output = args.output or (Path(args.runs[0], page.PAGE) if len(args.runs) == 1 else "report.html")
    page.write(args.runs, output, pictures=args.pictures)
    print(output)
