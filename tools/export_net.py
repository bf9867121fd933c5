"""Writes a checkpoint as graphs for other programs, each checked against torch, with a card that says how to use them."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever else is installed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a checkpoint, such as a run's model_final.pth"
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="made where it is missing")
    formats = "onnx (default), pt2 (torch.export), openvino, torchscript (legacy)"
    parser.add_argument("--format", nargs="+", default=["onnx"], metavar="NAME", help=formats)
    kinds = "float (default): the caller normalises; uint8: RGB as decoded, normalised inside"
    parser.add_argument("--input", default="float", metavar="KIND", help=kinds)
    parser.add_argument("--opset", type=int, default=18, metavar="N", help="ONNX version, 18 (default) or later")
    return parser.parse_args()


def main() -> None:
    args = parse()
    from reid import runtime
    from reid.builder import exports

    with runtime.errors_in_one_line():
        exports.export(args.weights, args.output, formats=args.format, input_kind=args.input, opset=args.opset)


if __name__ == "__main__":
    main()
