"""samunet_extract_fingerprint: spacings, shapes and CT intensities of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.options import (
    DEFAULT_PLANS_NAME,
    add_datasets,
    add_fingerprint,
    add_paths,
    add_workers,
    command_parser,
    paths_of,
    workers_of,
)
from samunet.cli.steps import Steps
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
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    paths = paths_of(options)
    for dataset in options.datasets:
        steps = Steps.of(
            dataset, paths, DEFAULT_PLANS_NAME, workers_of(options), verify=options.verify_dataset_integrity
        )
        steps.fingerprint(options.clean)
        result(f"fingerprint: {steps.folder / 'dataset_fingerprint.json'}")
