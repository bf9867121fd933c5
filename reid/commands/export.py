"""Writes a checkpoint as graphs for other programs, each checked against torch, with a card that says how to use them."""

import argparse
from collections.abc import Sequence


def parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a checkpoint, such as a run's model_final.pth"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="made where it is missing")
    formats = "onnx (default), pt2 (torch.export), openvino, torchscript (legacy)"
    parser.add_argument("--format", nargs="+", default=["onnx"], metavar="NAME", help=formats)
    kinds = "float (default): the caller normalises; uint8: RGB as decoded, normalised inside"
    parser.add_argument("--input", default="float", metavar="KIND", help=kinds)
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="ONNX version, 18 (default) or later")
    parser.add_argument("--average", action="store_true", help="the average of the weights that SOLVER.EMA kept")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> None:
    from reid.builder import exports

    options = {"formats": args.format, "input_kind": args.input, "opset": args.opset, "average": args.average}
    exports.export(args.weights, args.output, **options)
