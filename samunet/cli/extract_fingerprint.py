"""samunet_extract_fingerprint: spacings, shapes and CT intensities of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.nnunet_flags import add_progress, show_progress
from samunet.cli.options import (
    add_datasets,
    add_fingerprint,
    add_paths,
    add_workers,
    command_parser,
)
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_extract_fingerprint",
        "Read every case of a dataset and write its dataset_fingerprint.json.",
        "samunet_extract_fingerprint -d 4 --verify_dataset_integrity",
    )
    add_datasets(parser)
    add_fingerprint(parser)
    add_workers(parser)
    add_progress(parser, "--no_pbar")
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    show_progress(options)
    from samunet.api.preparation import extract_fingerprint

    for dataset in options.datasets:
        file = extract_fingerprint(dataset, verify=options.verify_dataset_integrity, clean=options.clean,
                                   workers=options.workers, raw=options.raw, preprocessed=options.preprocessed)
        result(f"fingerprint: {file}")
