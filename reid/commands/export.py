"""Writes a checkpoint as graphs for other programs, each checked against torch, with a card that says how to use them."""

import argparse
from collections.abc import Sequence

from reid.commands import _overrides


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a checkpoint, such as a run's model_final.pth"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="made where it is missing")
    formats = "onnx (default), pt2 (torch.export), openvino, torchscript (legacy)"
    parser.add_argument("--format", nargs="+", default=["onnx"], metavar="NAME", help=formats)
    kinds = "float (default): the caller normalises; uint8: RGB as decoded, normalised inside"
    parser.add_argument("--input", default="float", metavar="KIND", help=kinds)
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="ONNX version, 18 (default), 17 or later")
    parser.add_argument(
        "--precision", default="fp32", metavar="NAME", help="fp32 (default); of onnx and openvino fp16, int8"
    )
    calibrate = "pictures of the sources that int8 learns ranges on (%(default)s)"
    parser.add_argument("--calibrate", type=int, default=128, metavar="N", help=calibrate)
    parser.add_argument(
        "--score", action="store_true", help="of a lower precision: the targets scored before and after, for the card"
    )
    parser.add_argument("--average", action="store_true", help="the average of the weights that SOLVER.EMA kept")
    args = _overrides.parse(parser, words, such_as="DATASETS.ROOT data")
    if args.score and args.precision == "fp32":
        parser.error(
            "--score compares a lower --precision with float32, which the run has scored; expected fp16 or int8"
        )
    return args


def run(args: argparse.Namespace) -> None:
    from reid.builder import exports

    exports.export(
        args.weights,
        args.output,
        formats=args.format,
        input_kind=args.input,
        opset=args.opset,
        average=args.average,
        bits=args.precision,
        calibrate=args.calibrate,
        score=args.score,
        overrides=args.overrides,
    )
