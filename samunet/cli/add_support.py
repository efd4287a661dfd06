"""samunet_add_support: add support slices to a trained few-shot model, without training it again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import fold
from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_add_support",
        "Add support slices to a trained few-shot model and write it as a new model. Nothing is trained.\n"
        "The dataset must be planned and preprocessed as it was for training.",
        "samunet_add_support -m results/Dataset004_Hippocampus/fewshot__samunetPlans__mini-3 --support more.json -o "
        "wider",
    )
    parser.add_argument("-m", dest="model", type=Path, required=True, metavar="FOLDER",
                        help="folder of the trained model")
    parser.add_argument("-f", dest="fold", type=fold, default="0", metavar="FOLD",
                        help="fold of the model (default: %(default)s)")
    parser.add_argument("--support", type=Path, required=True, metavar="FILE",
                        help="JSON file with the support slices to add (documentation/variants.md)")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder of the new model; pass it to samunet_predict -m")
    parser.add_argument("--encoder", metavar="NAME",
                        help="encoder that the model was trained with: its id, its name, or the current path of its "
                             "file")
    parser.add_argument("-device", default="cpu", metavar="NAME",
                        help="device that encodes the slices: cpu, cuda or mps (default: %(default)s)")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.training.added_support import add_support

    add_support(options.model, options.fold, options.support, options.output, paths_of(options), options.device,
                options.encoder)
    result(f"model with the added support slices: {options.output}")
