"""samunet_convert_MSD_dataset: a task of the Medical Segmentation Decathlon as a raw dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samunet.cli.figures import whole
from samunet.cli.main import command
from samunet.cli.options import add_paths, add_workers, command_parser, paths_of, workers_of
from samunet.console import result

LARGEST_ID = 999_999


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_convert_MSD_dataset",
        "Write a raw dataset of a task of the Medical Segmentation Decathlon, as it is downloaded and unpacked.\n"
        "Images of several channels become one file a channel. The task's folder is only read.",
        "samunet_convert_MSD_dataset -i Task04_Hippocampus",
    )
    parser.add_argument("-i", dest="input", type=Path, required=True, metavar="FOLDER",
                        help="the task's folder, named TaskXX_NAME")
    parser.add_argument("-overwrite_id", type=whole(0, LARGEST_ID), metavar="ID",
                        help="number of the new dataset (default: the task's)")
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    from samunet.dataset.conversion.msd import convert_msd

    folder = convert_msd(options.input, paths_of(options), options.overwrite_id, workers_of(options))
    result(f"raw dataset: {folder}")
