"""samunet_convert_old_nnUNet_dataset: a raw dataset of nnU-Net v1 as one of version 2."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.main import command
from samunet.cli.options import add_paths, command_parser, paths_of
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_convert_old_nnUNet_dataset",
        "Write a raw dataset in nnU-Net v2's format from one of version 1. The old folder is only read.",
        "samunet_convert_old_nnUNet_dataset nnUNet_raw_data/Task004_Hippocampus Dataset004_Hippocampus",
    )
    parser.add_argument("input", type=Path, metavar="INPUT_FOLDER", help="folder of the old task, with imagesTr in it")
    parser.add_argument("name", metavar="OUTPUT_NAME", help="name of the new dataset, DatasetXXX_NAME")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.dataset.conversion.old_nnunet import convert_old_nnunet

    result(f"raw dataset: {convert_old_nnunet(options.input, options.name, paths_of(options))}")
