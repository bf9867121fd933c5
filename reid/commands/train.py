"""Trains an encoder on the sources of a config and scores it, untouched, on its targets."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from reid.commands import _overrides


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument(
        "--config", "--config-file", required=True, metavar="FILE", help="a .yaml, such as configs/demo.yaml"
    )
    parser.add_argument(
        "--init",
        metavar="MODEL",
        help="start from the encoder of a checkpoint or a shipped model, with its MODEL and INPUT.SIZE in place of the config's",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    parser.add_argument(
        "--resume-anyway",
        action="store_true",
        help="the same on another number of processes, which every row then says",
    )
    parser.add_argument("--eval-only", action="store_true", help="score the run's model_final.pth instead of training")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="prints the torchrun command for N GPUs")
    args = _overrides.parse(parser, words, such_as="SOLVER.LR 1e-4 LOSSES.1.MARGIN 0.5")
    args.words = list(words)
    return args


def run(args: argparse.Namespace) -> None:
    if args.num_gpus > 1:
        at = next(i for i, word in enumerate(args.words) if word.startswith("--num-gpus"))
        del args.words[at : at + (1 if "=" in args.words[at] else 2)]
        print(f"torchrun --nproc-per-node {args.num_gpus} -m reid train {shlex.join(args.words)}")
        return
    from reid import config
    from reid.builder import initial, runs

    between = initial.keys(args.init) if args.init else None
    cfg = config.load(args.config, args.overrides, between=between)
    if args.eval_only:
        runs.score(cfg, Path(cfg.OUTPUT_DIR, "model_final.pth"))
    else:
        runs.train(cfg, resume=args.resume, anyway=args.resume_anyway)
