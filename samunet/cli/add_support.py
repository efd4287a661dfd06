"""samunet_add_support: let more labelled slices ask a trained few-shot model, without training it again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import fold
from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "samunet_add_support",
        "Write a copy of a trained few-shot model that more labelled slices ask; nothing is trained.\n"
        "The dataset must be planned and preprocessed as it was for training.",
        "samunet_add_support -m results/Dataset004_Hippocampus/fewshot__samunetPlans__mini-3 --support more.json -o wider",
    )
    parser.add_argument("-m", dest="model", type=Path, required=True, metavar="FOLDER", help="the trained model's folder")
    parser.add_argument("-f", dest="fold", type=fold, default="0", metavar="FOLD", help="its fold (default: %(default)s)")
    parser.add_argument("--support", type=Path, required=True, metavar="FILE",
                        help="slices of labelled cases to add (documentation/variants.md)")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="the new model's folder, for samunet_predict -m")
    parser.add_argument("--encoder", metavar="NAME",
                        help="the encoder that it was trained with: its id, its name, or its file where that lies now")
    parser.add_argument("-device", default="cpu", metavar="NAME", help="cpu, cuda or mps, to encode with (default: %(default)s)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    from samunet.training.added_support import add_support

    add_support(options.model, options.fold, options.support, options.output, paths_of(options), options.device, options.encoder)
    result(f"asked by more slices: {options.output}")
