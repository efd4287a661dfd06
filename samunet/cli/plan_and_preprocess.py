"""samunet_plan_and_preprocess: everything before training, in one command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from samunet.cli.main import command
from samunet.cli.options import (
    add_datasets,
    add_encoder,
    add_fingerprint,
    add_paths,
    add_planning,
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
        "samunet_plan_and_preprocess",
        "Extract the fingerprint, plan, split, preprocess and encode raw datasets.\n"
        "Existing files that match are reused: run the same command again to continue.",
        "samunet_plan_and_preprocess -d 4 --verify_dataset_integrity",
    )
    add_datasets(parser)
    add_fingerprint(parser)
    add_encoder(parser)
    add_plans_name(parser)
    add_planning(parser)
    add_no_embeddings(parser)
    add_workers(parser)
    add_paths(parser)
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    paths, spec = paths_of(options), encoder_of(options)
    all_steps = [
        Steps.of(name, paths, options.plans_name, workers_of(options), verify=options.verify_dataset_integrity)
        for name in options.datasets
    ]
    for steps in all_steps:
        fingerprint = steps.fingerprint(options.clean)
        plans = steps.plan(fingerprint, spec, options.gpu_memory_target, options.overwrite_target_spacing,
                           options.cache_dtype)
        steps.splits(options.groups)
        steps.preprocess(plans, options.encoder, None if options.no_embeddings else spec)
        result(f"preprocessed: {steps.plans_folder}")
