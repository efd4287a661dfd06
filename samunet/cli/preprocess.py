"""samunet_preprocess: arrays and embeddings of a planned dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.options import (
    add_datasets,
    add_encoder,
    add_paths,
    add_plans_name,
    add_workers,
    command_parser,
    encoder_of,
    paths_of,
    workers_of,
)
from samunet.cli.steps import Steps, add_no_embeddings
from samunet.console import result


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_preprocess",
        "Write the preprocessed arrays and the cached embeddings of a planned dataset.\n"
        "Files that match the raw files and the plans are reused: run the same command again to continue.",
        "samunet_preprocess -d 4 -np 2",
    )
    add_datasets(parser)
    add_encoder(parser)
    add_plans_name(parser)
    add_no_embeddings(parser)
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    paths, spec = paths_of(options), None if options.no_embeddings else encoder_of(options)
    for steps in [Steps.of(name, paths, options.plans_name, workers_of(options)) for name in options.datasets]:
        plans = steps.load_plans()
        if spec is not None:
            plans.for_encoder(spec.id)
        steps.preprocess(plans, options.encoder, spec)
        result(f"preprocessed: {steps.plans_folder}")
