"""samunet_ensemble: average the probabilities of several models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import Distinct
from samunet.cli.main import command
from samunet.cli.options import add_workers, command_parser, workers_of
from samunet.console import result

EXAMPLES = """\
samunet_ensemble -i predictions_hybrid predictions_unet -o ensemble
samunet_ensemble -i predictions_hybrid predictions_nnunet -o ensemble --save_npz"""


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_ensemble",
        "Average the probabilities that samunet_predict or nnUNetv2_predict wrote with --save_probabilities,\n"
        "and write the labels. All folders must hold the same cases, with the same labels and on the same grids.",
        EXAMPLES,
    )
    parser.add_argument("-i", dest="folders", type=Path, nargs="+", action=Distinct, required=True, metavar="FOLDER",
                        help="folders of predictions with probabilities, samunet's and nnU-Net's, also mixed")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER",
                        help="folder that receives the segmentations")
    parser.add_argument("--save_npz", action="store_true", help="also save the averaged probabilities")
    add_workers(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.selection.ensemble import ensemble_folders

    count = ensemble_folders(options.folders, options.output, workers_of(options), save_probabilities=options.save_npz)
    result(f"{count} case{'' if count == 1 else 's'} averaged: {options.output}")
