"""Trains an encoder on the sources of a config and scores it, untouched, on its targets."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", "--config-file", required=True, metavar="FILE", help="a .yaml of configs/")
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's last checkpoint")
    parser.add_argument("--eval-only", action="store_true", help="score the run's model_final.pth instead of training")
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="prints the torchrun command for N GPUs")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="such as SOLVER.LR 1e-4 LOSSES.1.MARGIN 0.5")
    args, rest = parser.parse_known_intermixed_args()
    if rest:
        parser.error(f"unknown option {rest[0]}; config keys are given as KEY VALUE, without dashes")
    return args


def main() -> None:
    args = parse()
    if args.num_gpus > 1:
        words = sys.argv[1:]
        at = next(i for i, word in enumerate(words) if word.startswith("--num-gpus"))
        del words[at : at + (1 if "=" in words[at] else 2)]
        print(f"torchrun --nproc-per-node {args.num_gpus} tools/train_net.py {' '.join(words)}")
        return
    from reid import config, runtime
    from reid.builder import runs

    with runtime.errors_in_one_line():
        cfg = config.load(args.config, args.overrides)
        if args.eval_only:
            runs.score(cfg, Path(cfg.OUTPUT_DIR, "model_final.pth"))
        else:
            runs.train(cfg, resume=args.resume)


if __name__ == "__main__":
    main()
